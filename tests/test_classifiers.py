"""The networks: keys, logits, variants, encoder names."""

import numpy as np
import pytest
import torch

from tests.golden_weights import fill, golden_input
from training.zoo.classifiers import (
    ENCODERS,
    DeepFakeClassifier,
    DeepFakeClassifierSRM,
    GlobalWeightedAvgPool2d,
    create_encoder,
    create_network,
    srm_convolution,
)

TINY = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def b7():
    return DeepFakeClassifier("tf_efficientnet_b7_ns")


def test_b7_has_the_keys_and_shapes_of_the_released_checkpoints(b7, golden):
    expected = golden("b7_released_checkpoint_keys.json")
    assert len(expected) == 1202
    assert {key: list(value.shape) for key, value in b7.state_dict().items()} == expected


def test_b7_gives_the_golden_logits(b7, golden):
    expected = golden("models.json")["DeepFakeClassifier tf_efficientnet_b7_ns logits input=[2,3,380,380]"]
    with torch.no_grad():
        logits = fill(b7)(golden_input([2, 3, 380, 380]))
    assert np.allclose(logits.numpy(), expected, rtol=1e-3)


@pytest.mark.parametrize("network", ["DeepFakeClassifier", "DeepFakeClassifierSRM", "DeepFakeClassifierGWAP"])
def test_every_network_gives_one_logit_per_image(network):
    with torch.no_grad():
        logits = create_network(network, TINY).eval()(torch.randn(3, 3, 64, 64))
    assert logits.shape == (3, 1)


def test_dropout_is_off_in_the_plain_network_and_half_in_the_variants():
    rates = {n: create_network(n, TINY).dropout.p for n in ("DeepFakeClassifier", "DeepFakeClassifierSRM")}
    assert rates == {"DeepFakeClassifier": 0.0, "DeepFakeClassifierSRM": 0.5}


def test_weighted_pooling_is_the_mean_for_equal_weights_and_leans_to_heavier_places():
    x = torch.randn(2, 5, 4, 4)
    pool = GlobalWeightedAvgPool2d(5)
    torch.nn.init.zeros_(pool.conv.weight)
    assert torch.allclose(pool(x), x.mean(dim=(2, 3), keepdim=True), atol=1e-6)
    torch.nn.init.ones_(pool.conv.weight)
    weights = torch.exp(torch.sigmoid(pool.conv(x)))
    assert torch.allclose(pool(x), (x * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True))
    assert pool(x).shape == (2, 5, 1, 1)


def test_srm_residuals_vanish_on_flat_images_and_keep_the_size():
    conv = srm_convolution(3)
    assert conv.weight.shape == (3, 3, 5, 5) and not conv.weight.requires_grad
    flat = conv(torch.full((1, 3, 20, 24), 0.7))
    assert flat.shape == (1, 3, 20, 24)
    assert flat[:, :, 2:-2, 2:-2].abs().max() < 1e-5


def test_srm_kernels_have_the_published_values():
    kernels = srm_convolution(3).weight
    assert torch.equal(kernels[:, 0], kernels[:, 2])
    assert kernels[0, 0, 2].tolist() == [0, 0.5, -1, 0.5, 0]
    assert kernels[1, 0, 1].tolist() == [0, -0.25, 0.5, -0.25, 0]
    assert torch.allclose(kernels[2, 0, 2] * 12, torch.tensor([-2.0, 8, -12, 8, -2]))


def test_srm_network_sees_noise_only():
    network = DeepFakeClassifierSRM(TINY).eval()
    network.encoder.forward_features = lambda x: network.seen.append(x) or torch.zeros(1, network.fc.in_features, 1, 1)
    network.seen = []
    network(torch.ones(1, 3, 32, 32))
    assert network.seen[0][:, :, 4:-4, 4:-4].abs().max() < 1e-5


@pytest.mark.parametrize(
    "encoder", ["resnet10t", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_any_timm_network_is_an_encoder(encoder):
    with torch.no_grad():
        assert create_network("DeepFakeClassifier", encoder).eval()(torch.randn(1, 3, 224, 224)).shape == (1, 1)


@pytest.mark.parametrize(("name", "rate"), [("tf_efficientnet_b2_ns", 0.2), ("tf_efficientnet_b4_ns_03d", 0.3)])
def test_published_encoder_names_carry_their_drop_path_rate(name, rate):
    rates = [module.drop_prob for module in create_encoder(name).modules() if hasattr(module, "drop_prob")]
    # timm raises the rate linearly over the blocks, up to just under the nominal one in the last.
    assert 0.9 * rate < max(rates) < rate


def test_every_published_encoder_has_a_timm_network():
    import timm

    assert all(timm.is_model(timm_name) for timm_name, _ in ENCODERS.values())
    assert {f"tf_efficientnet_b{n}_ns" for n in range(2, 8)} <= ENCODERS.keys()


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown network 'Nope': one of DeepFakeClassifier"):
        create_network("Nope", TINY)
    with pytest.raises(ValueError, match="unknown encoder 'nope'"):
        create_network("DeepFakeClassifier", "nope")
