"""CUDA graphs: when a pass is replayed, what is kept where, and, on a GPU, that the numbers stay the same."""

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from inference.cuda_graphs import PASSES, ROUNDS, Graphs, Replayed, Tally, choose_pass
from inference.ensemble import Ensemble, Member
from predict_folder import predict_folder
from tests.sightings import sighted
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def twice(x):
    return 2 * x


@pytest.fixture
def captured():
    """A stand-in for a capture: as a graph does, it reads one piece of memory and writes another."""
    replays = []

    def capture(network, buffer):
        output = network(buffer)

        def replay():
            replays.append(buffer.clone())
            return output.copy_(network(buffer))

        return Replayed(network, buffer, replay)

    capture.replays = replays
    return capture


def chosen(capture, mode="on", times=None, x=None):
    """The pass, and what is told of it; `times` are milliseconds of the network and of the replayed one."""
    tally, asked = Tally(), []

    def milliseconds(each, x):
        asked.append(each)
        return times[isinstance(each, Replayed)]

    x = torch.zeros(2, 3) if x is None else x
    return choose_pass(twice, "b7", x, mode, capture, milliseconds, tally), tally, asked


def test_inputs_of_the_captured_shape_are_replayed(captured):
    each, tally, _ = chosen(captured)
    x = torch.arange(6.0).view(2, 3)
    assert torch.equal(each(x), 2 * x) and len(captured.replays) == 1
    assert str(tally) == "CUDA graphs: 1 of 1 networks"


@pytest.mark.parametrize("x", [torch.ones(1, 3), torch.ones(2, 3, dtype=torch.float64)])
def test_others_are_computed(captured, x):
    each, _, _ = chosen(captured)
    assert torch.equal(each(x), 2 * x) and not captured.replays


def test_outputs_outlive_the_next_pass(captured):
    each, _, _ = chosen(captured)
    first, second = each(torch.ones(2, 3)), each(torch.zeros(2, 3))
    assert (first == 2).all() and (second == 0).all()


def test_inputs_are_copied_into_memory_of_the_same_layout(captured):
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    each, _, _ = chosen(captured, x=x)
    assert each.buffer is not x and each.buffer.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(each.buffer, x)


def test_auto_keeps_what_is_faster(captured):
    faster, tally, asked = chosen(captured, "auto", times=(3.0, 2.0))
    assert isinstance(faster, Replayed)
    assert str(tally) == "CUDA graphs: 1 of 1 networks; a batch takes 3.0 ms without them and 2.0 with them"
    assert len(asked) == 2 * (ROUNDS + 1) and asked[0] is twice and isinstance(asked[1], Replayed)
    slower, tally, _ = chosen(captured, "auto", times=(2.0, 2.0))
    assert slower is twice and str(tally).startswith("CUDA graphs: 0 of 1 networks; a batch takes 2.0")


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nwhen capturing"), torch.OutOfMemoryError()])
def test_failing_capture_leaves_the_network_and_says_why(error):
    def capture(network, buffer):
        raise error

    each, tally, _ = chosen(capture, "on")
    assert each is twice and tally.replayed == 0
    assert str(tally).startswith(f"CUDA graphs: 0 of 1 networks; b7: {type(error).__name__}") and "\n" not in str(tally)


def test_ensemble_on_a_cpu_has_none():
    network = network_of(NetworkConfig(encoder="mobilenetv3_small_050", size=64)).eval()
    ensemble = Ensemble([Member("n", network, NetworkConfig(size=64))], CPU)
    assert ensemble.use_cuda_graphs("on") is None and not ensemble.replayed


def test_graphs_without_a_gpu_are_refused_if_asked_for(folder, weights):
    with pytest.raises(UserError, match="--cuda-graphs on: the device is cpu"):
        predict_folder(folder, ["small"], weights_dir=weights, device="cpu", cuda_graphs="on", say=lambda line: None)
    with pytest.raises(UserError, match="cuda_graphs: 'yes' is not one of auto, on, off"):
        predict_folder(folder, ["small"], weights_dir=weights, cuda_graphs="yes", say=lambda line: None)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_probabilities_are_the_same_with_and_without_graphs(dtype):
    device = torch.device("cuda:0")
    torch.manual_seed(3)
    config = NetworkConfig(encoder="tf_efficientnet_b0_ns", size=96)
    networks = [network_of(config).eval() for _ in range(2)]
    rng = np.random.default_rng(0)
    found = sighted([(rng.random((90, 80, 3)) * 255 * k / 19).astype(np.uint8) for k in range(19)])

    def ensemble():
        return Ensemble([Member(str(k), n, config) for k, n in enumerate(networks)], device, dtype, batch_size=8)

    plain, replayed = ensemble(), ensemble()
    assert replayed.use_cuda_graphs("on") == "CUDA graphs: 2 of 2 networks"
    expected = plain.probabilities(found)
    for _ in range(3):  # networks that share memory write over each other's
        assert np.abs(replayed.probabilities(found) - expected).max() < 1e-3
    replayed.batch_sizes["frame"] = 4
    assert np.abs(replayed.probabilities(found) - expected).max() < 1e-3


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("devices", ["cuda:0", "cuda:0,cuda:0"])
def test_labels_are_those_of_a_cpu(folder, weights, labels, devices):
    options = {"weights_dir": weights, "frames": 6, "cuda_graphs": "on", "device": devices, "say": lambda line: None}
    found = predict_folder(folder, ["small"], **options).labels
    assert found.keys() == labels.keys()
    assert all(abs(found[name] - labels[name]) < 0.005 for name in labels)


class Hesitating(nn.Module):
    """A network that waits for the GPU, which a graph cannot."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 1)

    def forward(self, x):
        return self.fc(x) if x.sum().item() > -1 else x


@needs_gpu
@pytest.mark.gpu
def test_network_that_cannot_be_captured_is_computed_as_ever():
    device = torch.device("cuda:0")
    network, x, tally = Hesitating().to(device).eval(), torch.ones(4, 3, device=device), Tally()
    graphs, before = Graphs(device), torch.cuda.current_stream()
    each = choose_pass(network, "n", x, "on", graphs.capture, graphs.milliseconds, tally)
    assert each is network and len(tally.failures) == 1
    assert torch.cuda.current_stream() == before
    with torch.inference_mode():
        assert each(x).shape == (4, 1)
        after = choose_pass(nn.Linear(3, 1).to(device), "m", x, "auto", graphs.capture, graphs.milliseconds, tally)
        assert after(x).shape == (4, 1) and PASSES > 1
