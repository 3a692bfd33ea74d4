"""Losses against formulas written out, a number at a time."""

import math

import pytest
import torch

from training.losses import BinaryCrossentropy, FocalLoss, WeightedLosses, sided_loss

LOGITS = [2.0, -1.0, 0.5, -3.0, 1.5]
LABELS = [1.0, 1.0, 0.0, 0.0, 0.0]
SMOOTHED = [0.99, 0.99, 0.01, 0.01, 0.01]


def column(values):
    return torch.tensor(values)[:, None]


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def entropy(logit, label):
    p = sigmoid(logit)
    return -label * math.log(p) - (1 - label) * math.log(1 - p)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("labels", [LABELS, SMOOTHED], ids=["hard labels", "smoothed labels"])
def test_a_batch_loses_the_average_of_its_sides_means(labels):
    loss, fake_loss, real_loss = sided_loss(BinaryCrossentropy(), column(LOGITS), column(labels))
    pairs = list(zip(LOGITS, labels, strict=True))
    fake, real = (mean(entropy(x, y) for x, y in side) for side in (pairs[:2], pairs[2:]))
    assert fake_loss.item() == pytest.approx(fake, rel=1e-6)
    assert real_loss.item() == pytest.approx(real, rel=1e-6)
    assert loss.item() == pytest.approx((fake + real) / 2, rel=1e-6)
    assert loss.shape == fake_loss.shape == real_loss.shape == ()


@pytest.mark.parametrize(("label", "there"), [(1.0, 1), (0.0, 2), (0.99, 1), (0.01, 2)])
def test_an_absent_side_counts_zero(label, there):
    losses = sided_loss(BinaryCrossentropy(), column(LOGITS), column([label] * 5))
    expected = mean(entropy(x, label) for x in LOGITS)
    assert losses[there].item() == pytest.approx(expected, rel=1e-6)
    assert losses[3 - there].item() == 0
    assert losses[0].item() == pytest.approx(expected / 2, rel=1e-6)


@pytest.mark.parametrize("count", [0, 3])
def test_a_batch_without_a_side_or_without_items_still_has_gradients(count):
    logits = torch.randn(count, 1, requires_grad=True)
    losses = sided_loss(BinaryCrossentropy(), logits, torch.ones(count, 1))
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        assert gradient.shape == (count, 1) and gradient.isfinite().all()
    assert count or losses[0].item() == 0


def test_hard_example_mining_averages_the_largest_of_each_side():
    loss, fake_loss, real_loss = sided_loss(BinaryCrossentropy(), column(LOGITS), column(LABELS), ohem_samples=1)
    assert fake_loss.item() == pytest.approx(entropy(-1.0, 1), rel=1e-6)
    assert real_loss.item() == pytest.approx(entropy(1.5, 0), rel=1e-6)
    assert loss.item() == pytest.approx((entropy(-1.0, 1) + entropy(1.5, 0)) / 2, rel=1e-6)
    _, fake_loss, real_loss = sided_loss(BinaryCrossentropy(), column(LOGITS), column(LABELS), ohem_samples=2)
    assert fake_loss.item() == pytest.approx(mean([entropy(2.0, 1), entropy(-1.0, 1)]), rel=1e-6)
    assert real_loss.item() == pytest.approx(mean([entropy(1.5, 0), entropy(0.5, 0)]), rel=1e-6)


def test_hard_example_mining_takes_a_smaller_side_whole():
    few = sided_loss(BinaryCrossentropy(), column(LOGITS), column(LABELS), ohem_samples=100)
    assert torch.equal(torch.stack(few), torch.stack(sided_loss(BinaryCrossentropy(), column(LOGITS), column(LABELS))))


def test_focal_loss_weighs_by_the_distance_from_right():
    losses = FocalLoss()(column(LOGITS), column(LABELS))
    for logit, label, loss in zip(LOGITS, LABELS, losses.flatten().tolist(), strict=True):
        right = sigmoid(logit) if label else 1 - sigmoid(logit)
        assert loss == pytest.approx(-((1 - right) ** 3) * math.log(right), rel=1e-5)


def test_focal_loss_of_gamma_0_is_cross_entropy():
    focal = FocalLoss(gamma=0)(column(LOGITS), column(SMOOTHED))
    assert torch.allclose(focal, BinaryCrossentropy()(column(LOGITS), column(SMOOTHED)))


@pytest.mark.parametrize("loss", [BinaryCrossentropy(), FocalLoss()])
def test_extreme_logits_have_finite_losses_and_gradients(loss):
    logits = column([200.0, -200.0]).requires_grad_()
    losses = loss(logits, column([0.0, 1.0]))
    assert losses.flatten().tolist() == pytest.approx([200, 200])
    losses.sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([1, -1])


def test_losses_add_up_by_their_weights():
    both = WeightedLosses({"BinaryCrossentropy": 0.5, "FocalLoss": 2.0})(column(LOGITS), column(LABELS))
    expected = 0.5 * BinaryCrossentropy()(column(LOGITS), column(LABELS))
    expected += 2.0 * FocalLoss()(column(LOGITS), column(LABELS))
    assert both.shape == (5, 1) and torch.allclose(both, expected)


def test_mining_ranks_by_the_weighted_sum():
    criterion = WeightedLosses({"BinaryCrossentropy": 3.0})
    assert sided_loss(criterion, column(LOGITS), column(LABELS), 1)[2].item() == pytest.approx(3 * entropy(1.5, 0))
