"""Network inputs, batches, and what happens when the device's memory runs out."""

import numpy as np
import pytest
import torch
from torch import nn

from common.batching import in_batches
from common.errors import UserError
from inference.devices import choose_device, choose_precision
from inference.ensemble import Ensemble, Member
from inference.readings import network_input
from tests.sightings import sighted
from training.tools.checkpoints import load_checkpoint
from training.tools.config import NetworkConfig

CPU = torch.device("cpu")


@pytest.fixture
def crops():
    random = np.random.RandomState(0)
    return [random.randint(0, 256, (int(h), int(w), 3), dtype=np.uint8) for h, w in random.randint(40, 160, (7, 2))]


def members(weights, *names):
    return [Member.from_checkpoint(load_checkpoint(weights / name)) for name in names]


def test_input_is_resized_and_centred(crops):
    square = network_input(crops[0], 96)
    assert square.shape == (96, 96, 3) and square.dtype == np.uint8


def test_compression_changes_pixels_a_little():
    smooth = np.tile(np.linspace(0, 255, 96, dtype=np.uint8)[:, None, None], (1, 96, 3))
    compressed = network_input(smooth, 96, apply_compression=True)
    difference = np.abs(compressed.astype(int) - smooth)
    assert 0 < difference.max() < 20


def test_probabilities_are_those_of_each_network_alone(weights, crops):
    rows = Ensemble(members(weights, "small", "other"), CPU).probabilities(sighted(crops))
    assert rows.shape == (2, 7)
    for row, name in zip(rows, ("small", "other"), strict=True):
        member = members(weights, name)[0]
        for p, crop in zip(row, crops, strict=True):
            x = torch.from_numpy(network_input(crop, member.config.size)).permute(2, 0, 1)[None].float() / 255
            x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
                3, 1, 1
            )
            with torch.no_grad():
                assert p == pytest.approx(torch.sigmoid(member.network(x)).item(), abs=1e-5)


def test_batch_size_hardly_matters(weights, crops):
    ensembles = [Ensemble(members(weights, "small"), CPU, batch_size=size) for size in (1, 3, 32)]
    rows = [ensemble.probabilities(sighted(crops)) for ensemble in ensembles]
    assert np.allclose(rows[0], rows[1], atol=1e-5) and np.allclose(rows[0], rows[2], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_stay_near_fp32_where_the_outputs_spread(weights, crops, dtype):
    rows = []
    for chosen in (torch.float32, dtype):
        (member,) = members(weights, "small")
        with torch.no_grad():
            member.network.fc.weight *= 100
            member.network.fc.bias.zero_()
        rows.append(Ensemble([member], CPU, chosen).probabilities(sighted(crops)))
    assert np.ptp(rows[0]) > 0.02
    assert 0 < np.abs(rows[0] - rows[1]).max() < 0.2 * np.ptp(rows[0])


class Greedy(nn.Module):
    """A network that fits only so many images into memory, and notes the batches it managed."""

    def __init__(self, fits: int):
        super().__init__()
        self.fc = nn.Linear(3, 1)
        self.fits = fits
        self.batches = []

    def forward(self, x):
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("out of memory")
        self.batches.append(len(x))
        return self.fc(x.mean(dim=(2, 3)))


def test_batch_is_halved_when_memory_runs_out_and_a_line_says_so(crops, capsys):
    greedy = Greedy(fits=2)
    ensemble = Ensemble([Member("greedy", greedy, NetworkConfig(size=32))], CPU, batch_size=8)
    rows = ensemble.probabilities(sighted(crops))
    assert rows.shape == (1, 7) and greedy.batches == [1] * 7
    plenty = Greedy(fits=99)
    plenty.load_state_dict(greedy.state_dict())
    assert np.allclose(rows, Ensemble([Member("p", plenty, NetworkConfig(size=32))], CPU).probabilities(sighted(crops)))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"classification: out of device memory, batch reduced to {size}" for size in (3, 1)]
    assert ensemble.batch_sizes["frame"] == 1


def test_a_single_item_that_does_not_fit_is_an_error():
    def run(batch):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(run, [1], 4, "test")


def test_batches_are_consecutive():
    seen = []
    results, size = in_batches(lambda batch: seen.append(list(batch)) or [x * 2 for x in batch], range(5), 2, "test")
    assert (seen, results, size) == ([[0, 1], [2, 3], [4]], [0, 2, 4, 6, 8], 2)


def test_batches_of_constant_size_are_filled_up_even_when_they_shrink(capsys):
    seen = []

    def run(batch):
        if len(batch) > 3:
            raise torch.OutOfMemoryError("out of memory")
        seen.append(list(batch))
        return [x * 2 for x in batch]

    assert in_batches(run, range(5), 6, "test", constant=True) == ([0, 2, 4, 6, 8], 3)
    assert seen == [[0, 1, 2], [3, 4, 4]]
    assert in_batches(run, [], 6, "test", constant=True) == ([], 6)


def test_cpu_is_always_there():
    device, line = choose_device("cpu")
    assert device.type == "cpu" and line.startswith("device: cpu")
    assert choose_precision("auto", device) == torch.float32
    assert choose_precision("bf16", device) == torch.bfloat16
    assert choose_precision("auto", torch.device("cuda")) == torch.float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3", "cuda:128", "cuda:256"])
def test_missing_cuda_gives_the_cpu_and_says_so(name):
    device, line = choose_device(name)
    assert device.type == "cpu" and f"{name} was asked for" in line


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "mps:1", "xla", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match="not one of auto, cpu, cuda"):
        choose_device(name)


def test_networks_without_finite_outputs_are_named(weights, crops):
    (good, broken) = members(weights, "small", "other")
    with torch.no_grad():
        broken.network.fc.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="no finite output of other; try"):
        Ensemble([good, broken], CPU).probabilities(sighted(crops))
