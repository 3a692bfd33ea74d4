"""Filters in bfloat16: every coefficient next to what it was, sums as they were, where a network is converted."""

import numpy as np
import pytest
import torch

from common.openvino import core
from inference.bfloat16_weights import rounded_together
from inference.openvino_engine import converted
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of


def nearest(values):
    return torch.from_numpy(values.copy()).bfloat16().float().numpy()


@pytest.fixture
def filters():
    """Filters of nine coefficients that all but cancel out, and of one, as (n, 9) and (n, 1)."""
    values = np.random.default_rng(0).normal(size=(500, 9)).astype(np.float32)
    return values - values.mean(axis=1, keepdims=True) * 0.99


def test_every_coefficient_is_one_of_its_two_neighbours_in_bfloat16(filters):
    rounded = rounded_together(filters)
    assert np.array_equal(rounded, nearest(rounded)) and not np.array_equal(rounded, nearest(filters))
    below, above = (
        torch.nextafter(torch.from_numpy(rounded).bfloat16(), torch.tensor(end).bfloat16()).float().numpy()
        for end in (-torch.inf, torch.inf)
    )
    assert ((below < filters) & (filters < above)).all()


def test_sums_stay_and_errors_hardly_grow(filters):
    rounded, plain = rounded_together(filters), nearest(filters)
    of_sums, of_plain_sums = (np.abs((values - filters).sum(axis=1)) for values in (rounded, plain))
    assert (of_sums <= of_plain_sums + 1e-6).all() and of_sums.mean() < of_plain_sums.mean() / 5
    assert np.square(rounded - filters).sum() < 2 * np.square(plain - filters).sum()


def test_filters_that_bfloat16_holds_stay_as_they_are(filters):
    assert np.array_equal(rounded_together(nearest(filters)), nearest(filters))
    single = filters[:, :1]
    assert np.array_equal(rounded_together(single), nearest(single))


@pytest.mark.skipif(core() is None, reason="OpenVINO is not installed")
def test_a_converted_network_has_such_filters_with_its_batch_norms_in_them():
    torch.manual_seed(0)
    config = NetworkConfig(encoder="mobilenetv3_small_050", size=64)
    network = network_of(config).eval()

    def depthwise(dtype):
        model = converted(network, config, dtype)
        kinds = [node.get_type_name() for node in model.get_ordered_ops()]
        nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "GroupConvolution"]
        return kinds, [node.input_value(1).get_node() for node in nodes]

    kinds, weights = depthwise(torch.bfloat16)
    assert "BatchNormInference" not in kinds and len(weights) > 5
    assert all(np.array_equal(node.data, nearest(node.data)) for node in weights)
    assert "BatchNormInference" in depthwise(torch.float32)[0]
