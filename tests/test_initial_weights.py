"""What a network starts from: chance, a file, or timm's weights; and what is said where they cannot be had."""

import hashlib
import os
import pickle
import socket

import pytest
import requests
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torchvision.models import get_weight

from common.errors import UserError
from common.files import sha256_of
from training.tools.checkpoints import save_checkpoint
from training.tools.config import NetworkConfig
from training.zoo.classifiers import create_encoder, create_network
from training.zoo.clips import TORCHVISION_WEIGHTS, create_clip_network
from training.zoo.i3d import I3D
from training.zoo.initial_weights import initialize
from training.zoo.resnet3d import ResNet34_3D

ENCODER = "mobilenetv3_small_050"
REPOSITORY = "timm/mobilenetv3_small_050.lamb_in1k"
PUBLISHED = "tf_efficientnet_b2_ns"
OPTIONS = "; --initial-weights FILE takes a file you fetched elsewhere, --initial-weights none trains from random ones"


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def network():
    return create_network("DeepFakeClassifier", ENCODER)


@pytest.fixture
def other():
    """A network of the same kind with other weights."""
    return create_network("DeepFakeClassifier", ENCODER)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and a hub at a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


def refusal(network, encoder, source):
    """The message with which initial weights are refused, the network being left as it was."""
    before = state_of(network)
    with pytest.raises(UserError) as error:
        initialize(network, NetworkConfig(encoder=encoder), str(source))
    assert equal(state_of(network), before) and "\n" not in str(error.value)
    return str(error.value)


def test_none_leaves_what_was_drawn(network):
    before = state_of(network)
    assert initialize(network, NetworkConfig(encoder=ENCODER), "none") == "initial weights: random"
    assert equal(state_of(network), before)


@pytest.mark.parametrize("form", ["pth", "safetensors", "distributed", "checkpoint of the encoder"])
def test_file_of_an_encoder(network, other, tmp_path, form):
    path = tmp_path / ("encoder.safetensors" if form == "safetensors" else "encoder.pth")
    state = other.encoder.state_dict()
    if form == "safetensors":
        save_file(state, path)
    elif form == "distributed":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state if form == "pth" else {"state_dict": state}, path)
    fc = state_of(network.fc)
    assert initialize(network, NetworkConfig(encoder=ENCODER), str(path)) == f"initial weights: the encoder from {path}"
    assert equal(network.encoder.state_dict(), state) and equal(state_of(network.fc), fc)


@pytest.mark.parametrize("form", ["own checkpoint", "released checkpoint", "safetensors"])
def test_file_of_a_whole_network(network, other, tmp_path, form):
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net")
    state = other.state_dict()
    if form == "own checkpoint":
        save_checkpoint(path, other, NetworkConfig(encoder=ENCODER), epoch=3)
    elif form == "released checkpoint":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    else:
        save_file(state, path)
    assert initialize(network, NetworkConfig(encoder=ENCODER), str(path)) == f"initial weights: the network from {path}"
    assert equal(network.state_dict(), state)


@pytest.mark.parametrize(("whole", "what"), [(True, "the network"), (False, "the encoder")])
def test_file_of_another_encoder_does_not_fit(network, tmp_path, whole, what):
    other = create_network("DeepFakeClassifier", "mobilenetv3_small_075")
    torch.save((other if whole else other.encoder).state_dict(), tmp_path / "other.pth")
    message = refusal(network, ENCODER, tmp_path / "other.pth")
    assert message.startswith(f"{tmp_path / 'other.pth'}: does not fit {what}: ") and "other shape: " in message


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"no weights", b"", None])
def test_file_without_weights_is_refused(network, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert refusal(network, ENCODER, tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_file_of_something_else_is_refused(network, tmp_path):
    torch.save({"weights": torch.ones(3), "epoch": 3}, tmp_path / "net.pth")
    assert refusal(network, ENCODER, tmp_path / "net.pth").startswith(f"{tmp_path / 'net.pth'}: ")


@pytest.mark.parametrize(
    ("encoder", "name"), [(PUBLISHED, "tf_efficientnet_b2.ns_jft_in1k"), (ENCODER, "mobilenetv3_small_050")]
)
def test_no_connection_is_one_line_with_the_options(hub, encoder, name):
    message = refusal(create_network("DeepFakeClassifier", encoder), encoder, "imagenet")
    assert message.startswith(
        f"ImageNet weights of {name} are not in the cache and cannot be fetched (no connection to "
    )
    assert message.endswith(OPTIONS)


def test_offline_mode_is_respected(hub, network, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: pytest.fail("asked the hub"))
    message = refusal(network, ENCODER, "imagenet")
    assert "cannot be fetched (HF_HUB_OFFLINE is set)" in message and message.endswith(OPTIONS)


def test_old_name_of_timm_stands_for_the_weights_of_the_new_one(hub):
    with pytest.warns(UserWarning, match="deprecated"):
        network = create_network("DeepFakeClassifier", "tf_efficientnet_b0_ns")
    assert "ImageNet weights of tf_efficientnet_b0.ns_jft_in1k are not in" in refusal(
        network, "tf_efficientnet_b0_ns", "imagenet"
    )


def test_encoder_without_published_weights_is_told(hub):
    network = create_network("DeepFakeClassifier", "mobilenetv3_large_075")
    message = refusal(network, "mobilenetv3_large_075", "imagenet")
    assert (
        message
        == "timm has no ImageNet weights for mobilenetv3_large_075; --initial-weights none trains from random ones"
    )


def cache(folder, repository, state):
    """Put weights into the hub's cache as if they had been fetched."""
    entry = folder / f"models--{repository.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("abc")
    snapshot = entry / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    save_file(state, snapshot / "model.safetensors")


def test_published_names_start_from_the_noisy_student_in_the_cache(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pretrained = create_encoder(PUBLISHED)
    cache(hub, "timm/tf_efficientnet_b2.ns_jft_in1k", pretrained.state_dict())
    network = create_network("DeepFakeClassifier", PUBLISHED)
    fc = state_of(network.fc)
    said = initialize(network, NetworkConfig(encoder=PUBLISHED), "imagenet")
    assert said == "initial weights: tf_efficientnet_b2.ns_jft_in1k of timm"
    assert equal(network.encoder.state_dict(), pretrained.state_dict()) and equal(state_of(network.fc), fc)


def test_spoilt_cache_is_one_line_with_the_options(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache(hub, "timm/tf_efficientnet_b2.ns_jft_in1k", {"conv_stem.weight": torch.ones(3)})
    message = refusal(create_network("DeepFakeClassifier", PUBLISHED), PUBLISHED, "imagenet")
    assert "could not be loaded" in message and message.endswith(OPTIONS)


@pytest.mark.parametrize("flipped", [False, True], ids=["as published", "one byte flipped"])
def test_cached_weights_must_have_the_sum_that_the_hub_announced(hub, monkeypatch, network, other, flipped):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache(hub, REPOSITORY, other.encoder.state_dict())
    file = next(hub.rglob("model.safetensors"))
    content = file.read_bytes()
    blob = file.parents[2] / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir()
    # The last byte is the highest of a weight: another number, not another format.
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ flipped]))
    file.unlink()
    file.symlink_to(blob)
    if flipped:
        message = refusal(network, ENCODER, "imagenet")
        assert message.startswith(f"{file}: is not the file that the model hub published; delete it")
        assert message.endswith(OPTIONS)
    else:
        assert initialize(network, NetworkConfig(encoder=ENCODER), "imagenet").endswith(f"{ENCODER} of timm")
        assert equal(network.encoder.state_dict(), other.encoder.state_dict())


def test_hub_that_needs_a_password_is_named_without_it(hub, monkeypatch, network):
    port = constants.ENDPOINT.rpartition(":")[2]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://me:hush@127.0.0.1:{port}")
    message = refusal(network, ENCODER, "imagenet")
    assert f"no connection to http://***@127.0.0.1:{port}: " in message and "hush" not in message


@pytest.mark.parametrize("prefix", ["", "module."])
def test_file_of_a_clip_network_with_other_classes_gives_all_but_the_last_layer(tmp_path, prefix):
    kinetics, network = I3D(num_classes=400), I3D(num_classes=2)
    torch.save({prefix + key: value for key, value in kinetics.state_dict().items()}, tmp_path / "rgb.pt")
    own = state_of(network)
    assert "I3D from" in initialize(network, NetworkConfig(input="clip", network="I3D"), str(tmp_path / "rgb.pt"))
    for key, value in network.state_dict().items():
        assert torch.equal(value, own[key] if key.startswith("logits.") else kinetics.state_dict()[key])


def test_file_of_another_clip_network_does_not_fit(tmp_path):
    torch.save(ResNet34_3D().state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"does not fit I3D: \d+ missing"):
        initialize(I3D(), NetworkConfig(input="clip", network="I3D"), str(tmp_path / "other.pt"))


def kinetics(folder, monkeypatch):
    """Where torchvision's cache has the file of MC3-18, which would be asked for at a port where nobody listens."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    url = get_weight(TORCHVISION_WEIGHTS["mc3_18"]).url
    (folder / "checkpoints").mkdir()
    return folder / "checkpoints" / url.rpartition("/")[2]


@pytest.mark.parametrize("content", [b"", b"<html>", pickle.dumps(os.getcwd)], ids=["empty", "a page", "code"])
def test_file_in_torchvisions_cache_that_is_another_is_not_opened(tmp_path, monkeypatch, content):
    kinetics(tmp_path, monkeypatch).write_bytes(content)
    network = create_clip_network("mc3_18")
    with pytest.raises(UserError, match="is not the file that torchvision published; delete it"):
        initialize(network, NetworkConfig(network="mc3_18", input="clip"), "imagenet")


def test_weights_in_torchvisions_cache_keep_our_last_layer(tmp_path, monkeypatch):
    network, other = create_clip_network("mc3_18"), create_clip_network("mc3_18")
    path = kinetics(tmp_path, monkeypatch)
    state = other.state_dict()
    last = list(state)[-1].rpartition(".")[0]
    classes = {f"{last}.weight": torch.zeros(400, 512), f"{last}.bias": torch.zeros(400)}
    torch.save(state | classes, path)
    # Such a file as torchvision publishes, under the name that its content gives it.
    named = path.with_name(f"{path.stem.rpartition('-')[0]}-{sha256_of(path)[:8]}.pth")
    path.rename(named)
    published = get_weight(TORCHVISION_WEIGHTS["mc3_18"]).value
    monkeypatch.setattr(published, "url", f"http://127.0.0.1:1/{named.name}")
    before = state_of(network)
    initialize(network, NetworkConfig(network="mc3_18", input="clip"), "imagenet")
    after = state_of(network)
    assert all(torch.equal(after[k], before[k] if k.startswith(f"{last}.") else state[k]) for k in after)
