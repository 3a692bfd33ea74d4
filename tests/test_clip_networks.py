"""The clip system's networks: keys, golden logits, padding, sizes, folding, names of weights."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tests.golden_weights import fill, golden_input
from training.zoo.clips import (
    CLIP_NETWORKS,
    TORCHVISION_WEIGHTS,
    create_clip_network,
    fold_batchnorms,
)
from training.zoo.i3d import I3D, SameConv3d, SameMaxPool3d
from training.zoo.resnet3d import ResNet10_3D, ResNet34_3D, add_type_a_shortcut

GOLDEN_NAMES = {"I3D": "i3d", "ResNet34_3D": "resnet34_3d", "mc3_18": "mc3_18", "r2plus1d_18": "r2plus1d_18"}
SMALL_INPUTS = {"I3D": (1, 3, 9, 193, 193)}
SMALL_CLIP = (1, 3, 5, 36, 40)  # for the others, which take any size


@pytest.fixture(scope="module")
def filled():
    """Networks by name, with the golden weights, in train mode; made once."""
    networks = {}

    def network(name: str) -> nn.Module:
        if name not in networks:
            networks[name] = fill(create_clip_network(name))
        return networks[name].train()

    return network


@pytest.mark.parametrize("name", ["I3D", "ResNet34_3D"])
def test_keys_and_shapes_are_those_of_the_public_weights(name, filled, golden):
    expected = golden("models.json")[f"{GOLDEN_NAMES[name]} keys"]
    assert {key: list(value.shape) for key, value in filled(name).state_dict().items()} == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("I3D", [2, 3, 32, 224, 224]),
        ("I3D", [2, 3, 64, 224, 224]),
        ("ResNet34_3D", [2, 3, 32, 224, 224]),
        ("mc3_18", [2, 3, 32, 112, 112]),
        ("r2plus1d_18", [2, 3, 32, 112, 112]),
    ],
)
@torch.no_grad()
def test_golden_logits(name, shape, filled, golden):
    expected = golden("models.json")[f"{GOLDEN_NAMES[name]} logits input={json.dumps(shape, separators=(',', ':'))}"]
    assert np.allclose(filled(name)(golden_input(shape)).numpy(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", CLIP_NETWORKS)
@torch.no_grad()
def test_folding_keeps_the_logits_and_leaves_no_batch_norm(name, filled):
    network, x = filled(name).eval(), golden_input(list(SMALL_INPUTS.get(name, SMALL_CLIP)))
    expected = network(x)
    folded = fold_batchnorms(network)
    assert expected.shape == (len(x), 2)
    assert torch.allclose(folded(x), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in folded.modules())
    assert not folded.training and not any(weights.requires_grad for weights in folded.parameters())
    assert torch.equal(network(x), expected), "the network itself stays as it was"


def test_a_batch_norm_without_a_convolution_before_it_is_not_folded():
    pre_activation = nn.Sequential(nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 4, 1))
    with pytest.raises(ValueError, match="cannot fold 0: no convolution to 4 channels"):
        fold_batchnorms(pre_activation)


@pytest.mark.parametrize("size", [(16, 14, 20), (9, 15, 13), (8, 13, 10)])
@pytest.mark.parametrize(("kernel", "stride"), [((7, 7, 7), (2, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((1, 1, 1), (1, 1, 1))])
def test_convolutions_pad_as_tensorflow_does(size, kernel, stride):
    conv = SameConv3d(2, 3, kernel, stride)
    x = torch.randn(1, 2, *size)
    with torch.no_grad():
        assert torch.allclose(conv(x), F.conv3d(_padded(x, kernel, stride), conv.weight, conv.bias, stride), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 14, 20), (9, 15, 13), (8, 13, 10)])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
def test_pooling_pads_as_tensorflow_does(size, kernel, stride):
    x = torch.randn(1, 2, *size).relu()
    assert torch.equal(SameMaxPool3d(kernel, stride)(x), F.max_pool3d(_padded(x, kernel, stride), kernel, stride))


def _padded(x, kernel, stride):
    """Zeros for ceil(size / stride) windows, shared between the two ends; an odd one goes to the end."""
    pads = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((int(np.ceil(size / s)) - 1) * s + k - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads)


@pytest.mark.parametrize("shape", [(1, 3, 8, 193, 193), (1, 3, 9, 192, 193), (1, 3, 9, 193, 100), (3, 9, 193, 193)])
def test_i3d_says_what_clips_it_takes(shape):
    with pytest.raises(ValueError, match=r"at least 9 frames of 193x193 pixels, not \("):
        I3D()(torch.zeros(shape))


@torch.no_grad()
def test_i3d_pools_larger_clips_over_space_as_well(filled):
    assert filled("I3D").eval()(torch.zeros(1, 3, 10, 230, 193)).shape == (1, 2)


def test_dropout_acts_only_in_i3d():
    networks = {name: create().modules() for name, create in CLIP_NETWORKS.items()}
    rates = {name: [m.p for m in modules if isinstance(m, nn.Dropout)] for name, modules in networks.items()}
    assert rates == {"I3D": [0.5], "ResNet10_3D": [], "ResNet34_3D": [], "mc3_18": [], "r2plus1d_18": []}
    assert I3D(num_classes=5, dropout=0.1).dropout.p == 0.1


@pytest.mark.parametrize("size", [(4, 6, 8), (5, 7, 3), (1, 1, 1)])
def test_type_a_shortcuts_are_a_strided_average_of_kernel_1_and_channels_of_zeros(size):
    x = torch.randn(2, 3, *size)
    average = F.avg_pool3d(x, kernel_size=1, stride=2)
    y = torch.randn(2, 5, *average.shape[2:])
    expected = y + torch.cat([average, torch.zeros(2, 2, *average.shape[2:])], dim=1)
    add_type_a_shortcut(y, x, stride=2)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("network", [ResNet10_3D, ResNet34_3D, I3D])
def test_gradients_reach_every_weight(network):
    network = network()
    x = torch.randn(2, 3, *((9, 193, 193) if isinstance(network, I3D) else (9, 40, 40)))
    network(x).square().sum().backward()
    assert all(weights.grad.abs().max() > 0 for weights in network.parameters())


def test_the_layers_of_the_small_network_are_among_those_of_the_large_one():
    small, large = ResNet10_3D().state_dict(), ResNet34_3D().state_dict()
    assert all(large[key].shape == value.shape for key, value in small.items())
    assert sum(isinstance(module, nn.Conv3d | nn.Linear) for module in ResNet10_3D().modules()) == 10


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown clip network 'nope': one of I3D, ResNet10_3D, ResNet34_3D, mc3_18, r2plus1d_18"
    ):
        create_clip_network("nope")


def test_torchvision_knows_the_initial_weights():
    assert set(TORCHVISION_WEIGHTS) == {"mc3_18", "r2plus1d_18"}
    for name, weights in TORCHVISION_WEIGHTS.items():
        assert torchvision.models.get_weight(weights) in torchvision.models.get_model_weights(name)
