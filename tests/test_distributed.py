"""Processes that train together: their place, their votes, the same gradients as one process with all of the batch."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from common.errors import UserError
from tests.generated_crops import make_crops
from tests.two_processes import take_step
from training.tools.apex_backend import with_sync_batchnorm
from training.tools.distributed import Group, join_group
from training.tools.precision import TorchPrecision
from training.zoo.classifiers import create_network

ENCODER = "tf_efficientnet_b0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repository):
    """Where two processes have left their results."""
    folder = tmp_path_factory.mktemp("two_processes")
    make_crops(folder / "crops")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", "tests.two_processes", str(folder)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return [torch.load(folder / str(rank), weights_only=True) for rank in (0, 1)]


def test_each_process_has_its_place(results):
    assert [result["place"] for result in results] == [(0, 2, True), (1, 2, False)]


def test_one_vote_is_enough_and_all_hear_it(results):
    assert [result["votes"] for result in results] == [[True, True, False, True]] * 2


def test_all_get_what_each_has_by_rank(results):
    expected = [{"rank": 0, "names": []}, {"rank": 1, "names": ["a"]}]
    assert [result["gathered"] for result in results] == [expected, expected]


def test_gradients_are_those_of_one_process_with_the_doubled_batch(results):
    alone = take_step(Group())
    assert max(gradient.abs().max() for gradient in alone["gradients"].values()) > 1e-2
    for result in results:
        gradients = result["step"]["gradients"]
        for name, gradient in alone["gradients"].items():
            assert torch.allclose(gradients[name], gradient, rtol=0, atol=1e-5), name
        unused = gradients.keys() - alone["gradients"].keys()  # timm's own classifier
        assert not any(gradients[name].any() for name in unused)
        for name, weight in alone["weights"].items():
            assert torch.allclose(result["step"]["weights"][name], weight, rtol=0, atol=1e-5), name


def test_processes_start_from_the_main_ones_weights_and_stay_equal(results):
    first, second = (result["training"] for result in results)
    assert not torch.equal(first["before"]["fc.weight"], second["before"]["fc.weight"])
    assert all(torch.equal(second["weights"][name], weight) for name, weight in first["weights"].items())


def test_encoder_is_frozen_in_all_processes_and_learns_afterwards(results, folder):
    before, after = (results[0]["training"][when] for when in ("before", "weights"))
    frozen = torch.load(folder / "net_0", weights_only=True)["state_dict"]
    assert all(torch.equal(frozen[name], before[name]) for name in before if name.startswith("encoder."))
    assert not torch.equal(frozen["fc.weight"], before["fc.weight"])
    assert not torch.equal(after["encoder.bn1.weight"], before["encoder.bn1.weight"])


def test_epochs_are_shared_without_overlap(results):
    shares = [result["training"]["items"] for result in results]
    for epoch in (0, 1):
        items = [item for share in shares for item in share[12 * epoch : 12 * epoch + 12]]
        assert len(items) == len(set(items)) == 24


def test_main_process_judges_every_crop_once(results):
    probabilities = results[0]["training"]["probabilities"]
    assert {video: len(crops) for video, crops in probabilities.items()} == dict.fromkeys(
        ("004", "004_fake", "519", "519_fake"), 6
    )
    assert results[1]["training"]["probabilities"] is None


def test_state_has_the_random_numbers_of_all_processes(folder):
    state = torch.load(folder / "net_last", weights_only=True)["training"]
    assert len(state["random"]) == 2 and state["order"]["world"] == 2


def test_one_process_is_a_group_of_its_own():
    group = Group()
    assert (group.is_main, group.any(True), group.any(False), group.gather(3)) == (True, True, False, [3])
    group.close()


@pytest.mark.parametrize(
    ("gpu", "distributed", "message"),
    [
        ("first", False, "--gpu first: is neither the number of a GPU nor cpu"),
        ("-1", False, "--gpu -1: is neither"),
        ("cpu", True, "--distributed: start it with torchrun"),
    ],
)
def test_wrong_places_are_refused(monkeypatch, gpu, distributed, message):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=f"^{message}"):
        join_group(gpu, 0, distributed)


def test_restart_in_which_processes_would_wait_for_dead_ones_is_refused(monkeypatch):
    places = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in {**places, "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="only with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        join_group("cpu", 0, distributed=True)


def test_missing_gpu_is_told(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="GPU 2 was asked for, but there are 2"):
        join_group("2", 0, distributed=False)


class StandIn(nn.modules.batchnorm._BatchNorm):
    """As apex's SyncBatchNorm is built, without its kernels."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, process_group=None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def _check_input_dim(self, input):
        pass


def torch_sync(network):
    return TorchPrecision(torch.device("cpu"), "O0", torch.bfloat16).synchronize_batchnorm(network)


def apex_sync(network):
    return with_sync_batchnorm(network, StandIn)


@pytest.fixture
def network():
    """An EfficientNet whose batch norms have learned something."""
    torch.manual_seed(3)
    network = create_network("DeepFakeClassifier", ENCODER)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def norms(network, kind):
    return {name: module for name, module in network.named_modules() if isinstance(module, kind)}


@pytest.mark.parametrize(("convert", "kind"), [(torch_sync, nn.SyncBatchNorm), (apex_sync, StandIn)])
def test_every_batch_norm_is_exchanged_with_its_settings_and_activation(network, convert, kind):
    before = {
        name: (m.eps, m.momentum, type(m.act), type(m.drop)) for name, m in norms(network, nn.BatchNorm2d).items()
    }
    assert len(before) > 40 and {kind for *_, kind, _ in before.values()} == {nn.SiLU, nn.Identity}
    converted = convert(network)
    assert not norms(converted, nn.BatchNorm2d)
    after = {name: (m.eps, m.momentum, type(m.act), type(m.drop)) for name, m in norms(converted, kind).items()}
    assert after == before


@pytest.mark.parametrize("convert", [torch_sync, apex_sync])
def test_exchanged_batch_norms_keep_keys_weights_and_outputs(network, convert):
    images = torch.randn(2, 3, 64, 64)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        expected = network(images)
        converted = convert(network).eval()
        assert torch.allclose(converted(images), expected, atol=1e-6) and expected.abs().min() > 1e-4
    assert list(converted.state_dict()) == list(state)
    assert all(torch.equal(converted.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("convert", [torch_sync, apex_sync])
def test_exchanged_batch_norms_keep_the_parameters_that_the_optimizer_has(network, convert):
    before = {name: id(parameter) for name, parameter in network.named_parameters()}
    assert {name: id(parameter) for name, parameter in convert(network).named_parameters()} == before


def test_batch_norms_without_activation_are_exchanged_too():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    images = torch.randn(2, 3, 8, 8)
    expected = plain(images)
    assert torch.allclose(apex_sync(plain).eval()(images), expected) and isinstance(plain[1], StandIn)
