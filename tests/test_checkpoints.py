"""Checkpoint files: what loads, what is refused and with which words."""

import os

import numpy as np
import pytest
import torch

from tests.golden_weights import fill
from training.tools.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from training.tools.config import NetworkConfig, Normalize
from training.zoo.classifiers import DeepFakeClassifier, create_network

CONFIG = NetworkConfig(encoder="mobilenetv3_small_050", size=64, normalize=Normalize(mean=(0.5,) * 3, std=(0.5,) * 3))


@pytest.fixture
def network():
    return create_network(CONFIG.network, CONFIG.encoder)


def write(path, **changes):
    """A checkpoint of CONFIG with some of its entries exchanged (None: left out)."""
    content = {
        "state_dict": create_network(CONFIG.network, CONFIG.encoder).state_dict(),
        "epoch": 3,
        "bce_best": 0.25,
        "config": CONFIG.model_dump(mode="json"),
        **changes,
    }
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    return path


def test_own_checkpoint_comes_back_whole(tmp_path, network):
    save_checkpoint(tmp_path / "net", network, CONFIG, epoch=7, bce_best=0.5)
    loaded = load_checkpoint(tmp_path / "net")
    assert (loaded.name, loaded.epoch, loaded.bce_best, loaded.config) == ("net", 7, 0.5, CONFIG)
    assert not loaded.network.training
    state_dict = loaded.network.state_dict()
    assert all(torch.equal(state_dict[key], value) for key, value in network.state_dict().items())


def test_description_names_encoder_epoch_and_hash(tmp_path, network):
    save_checkpoint(tmp_path / "net", network, CONFIG, epoch=7)
    loaded = load_checkpoint(tmp_path / "net")
    assert loaded.describe() == (
        f"loaded net: DeepFakeClassifier with mobilenetv3_small_050, 7 epochs, sha256 {loaded.sha256[:12]}"
    )
    assert len(loaded.sha256) == 64


def test_distributed_prefix_is_taken_off(tmp_path, network):
    state_dict = {f"module.{key}": value for key, value in network.state_dict().items()}
    loaded = load_checkpoint(write(tmp_path / "net", state_dict=state_dict))
    assert torch.equal(loaded.network.fc.weight, network.fc.weight)


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip format", "format of 2020"])
def test_released_files_load_without_a_config(tmp_path, zip_format):
    b7 = fill(DeepFakeClassifier("tf_efficientnet_b7_ns"))
    content = {
        "state_dict": {f"module.{key}": value for key, value in b7.state_dict().items()},
        "epoch": 37,
        "bce_best": np.float64(0.21),
    }
    path = tmp_path / "final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_37"
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    loaded = load_checkpoint(path)
    assert (loaded.epoch, loaded.bce_best) == (37, 0.21)
    assert loaded.config == NetworkConfig() and loaded.config.size == 380
    assert torch.equal(loaded.network.encoder.conv_head.weight, b7.encoder.conv_head.weight)


@pytest.mark.parametrize("scalar", [np.float64(0.5), np.float32(0.5), torch.tensor(0.5)])
def test_numbers_of_any_kind_are_read(tmp_path, scalar):
    assert load_checkpoint(write(tmp_path / "net", bce_best=scalar)).bce_best == 0.5


@pytest.mark.parametrize("value", [float("nan"), torch.tensor([1.0, 2.0]), "many", None, [3]])
def test_what_is_no_epoch_is_an_unknown_one(tmp_path, value):
    assert load_checkpoint(write(tmp_path / "net", epoch=value)).epoch is None


def test_numpy_scalars_pickled_by_numpy_1_are_read(tmp_path):
    content = torch.load(write(tmp_path / "new"), weights_only=True) | {"bce_best": np.float64(0.5)}
    path = tmp_path / "net"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    assert load_checkpoint(path).bce_best == 0.5


class Malice:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zip_format", [True, False])
def test_code_is_refused_and_not_run(tmp_path, zip_format):
    torch.save({"state_dict": Malice(tmp_path / "ran")}, tmp_path / "net", _use_new_zipfile_serialization=zip_format)
    with pytest.raises(CheckpointError, match=r"net: refused, it carries code .*mkdir"):
        load_checkpoint(tmp_path / "net")
    assert not (tmp_path / "ran").exists()


def test_pickled_network_is_refused(tmp_path, network):
    torch.save(network, tmp_path / "net")
    with pytest.raises(CheckpointError, match="carries code or objects"):
        load_checkpoint(tmp_path / "net")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_refused_by_name(tmp_path, share):
    content = write(tmp_path / "whole").read_bytes()
    (tmp_path / "net").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="net: is truncated or not a checkpoint"):
        load_checkpoint(tmp_path / "net")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        load_checkpoint(tmp_path / "net")


def test_other_keys_are_refused_with_the_first_that_differ(tmp_path, network):
    state_dict = network.state_dict()
    state_dict["head.extra"] = state_dict.pop("fc.weight")
    with pytest.raises(CheckpointError, match=r"1 missing: fc\.weight; 1 unexpected: head\.extra"):
        load_checkpoint(write(tmp_path / "net", state_dict=state_dict))


def test_other_shapes_are_refused(tmp_path, network):
    state_dict = network.state_dict() | {"fc.weight": torch.zeros(2, 3)}
    with pytest.raises(CheckpointError, match=r"1 other shape: fc\.weight \[2, 3\] instead of \[1, \d+\]"):
        load_checkpoint(write(tmp_path / "net", state_dict=state_dict))


def test_own_checkpoint_without_its_config_does_not_pass_for_a_released_one(tmp_path):
    with pytest.raises(CheckpointError, match="does not fit DeepFakeClassifier with tf_efficientnet_b7_ns"):
        load_checkpoint(write(tmp_path / "net", config=None))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state_dict": None}, r"has no state_dict \(it holds epoch, bce_best, config\)"),
        ({"state_dict": {"fc.weight": 3}}, "fc.weight in its state_dict is not a tensor"),
        ({"config": {"encoder": "nope"}}, "unknown encoder 'nope'"),
        ({"config": {"network": "nope"}}, "unknown network 'nope'"),
        ({"config": {"size": "wide"}}, "config is not valid: size"),
        ({"config": {"normalize": {"mean": [0, 0, 0], "std": [1, 1, 0]}}}, "config is not valid: normalize.std.2"),
        ({"config": [1]}, "config is not valid"),
    ],
)
def test_unfit_contents_are_refused(tmp_path, changes, reason):
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(write(tmp_path / "net", **changes))


def test_failed_save_leaves_the_old_file(tmp_path, network):
    save_checkpoint(tmp_path / "net", network, CONFIG, epoch=1)
    network.state_dict = lambda: {"broken": lambda: None}  # a local function cannot be pickled
    with pytest.raises((AttributeError, TypeError)):
        save_checkpoint(tmp_path / "net", network, CONFIG, epoch=2)
    assert load_checkpoint(tmp_path / "net").epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_loading_asks_no_hub(tmp_path, network, monkeypatch):
    import socket

    save_checkpoint(tmp_path / "net", network, CONFIG)

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert load_checkpoint(tmp_path / "net").epoch == 0


@pytest.mark.parametrize(
    ("change", "kind"),
    [(lambda t: t.to(torch.int8), "int8"), (lambda t: t.to_sparse(), "float32"), (lambda t: t * 1j, "complex64")],
)
def test_tensors_of_another_kind_are_refused(tmp_path, network, change, kind):
    state_dict = network.state_dict()
    state_dict["fc.weight"] = change(state_dict["fc.weight"])
    path = write(tmp_path / "net", state_dict=state_dict)
    with pytest.raises(CheckpointError, match=f"1 of another kind: fc.weight {kind}"):
        load_checkpoint(path)
