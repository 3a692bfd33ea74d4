"""Judging crops by video: means, log losses, the area under the curve, and what is missing."""

import math

import numpy as np
import pytest

from training.tools.metrics import CLIP, judge, roc_points

CROPS = [
    ("real_1", "0_0.png", 0.1, 0),
    ("fake_1", "0_0.png", 0.9, 1),
    ("real_1", "20_0.png", 0.2, 0),
    ("real_1", "40_0.png", 0.6, 0),
    ("fake_2", "0_0.png", 0.25, 1),
    ("fake_1", "20_0.png", 0.5, 1),
    ("real_2", "0_0.png", 0.1, 0),
]


def test_a_video_is_the_mean_of_its_crops():
    verdict = judge(CROPS)
    assert verdict.scores == pytest.approx({"real_1": 0.3, "fake_1": 0.7, "fake_2": 0.25, "real_2": 0.1})
    assert verdict.targets == {"real_1": 0, "fake_1": 1, "fake_2": 1, "real_2": 0}
    assert verdict.probabilities["fake_1"] == [0.9, 0.5]


def test_losses_are_over_the_videos_of_each_class_and_bce_is_their_mean():
    verdict = judge(CROPS)
    fake_loss = -(math.log(0.7) + math.log(0.25)) / 2
    real_loss = -(math.log(1 - 0.3) + math.log(1 - 0.1)) / 2
    assert verdict.fake_loss == pytest.approx(fake_loss)
    assert verdict.real_loss == pytest.approx(real_loss)
    assert verdict.bce == pytest.approx((fake_loss + real_loss) / 2)


def test_classes_weigh_the_same_whatever_their_number():
    more = judge([*CROPS, *((f"real_{i}", "0_0.png", 0.3, 0) for i in range(3, 9))])
    assert more.bce == pytest.approx((more.fake_loss + more.real_loss) / 2)


def test_area_under_the_curve_is_the_share_of_pairs_in_order():
    assert judge(CROPS).auc == pytest.approx(3 / 4)  # fake_2 (0.25) is below real_1 (0.3)


def test_order_of_the_crops_does_not_matter():
    assert judge(CROPS) == judge(CROPS[::-1])


@pytest.mark.parametrize(("label", "there", "missing"), [(1, "fake_loss", "real_loss"), (0, "real_loss", "fake_loss")])
def test_a_missing_class_has_no_loss_and_leaves_bce_to_the_other(label, there, missing):
    verdict = judge([crop for crop in CROPS if crop[3] == label])
    assert verdict.bce == getattr(verdict, there) == pytest.approx(getattr(judge(CROPS), there))
    assert math.isnan(getattr(verdict, missing)) and math.isnan(verdict.auc)


def test_no_crops_give_no_numbers():
    verdict = judge([])
    assert all(map(math.isnan, (verdict.fake_loss, verdict.real_loss, verdict.bce, verdict.auc)))
    assert verdict.scores == {}


def test_a_probability_that_is_none_spoils_its_class_and_the_mean():
    verdict = judge([*CROPS, ("fake_3", "0_0.png", math.nan, 1)])
    assert math.isnan(verdict.fake_loss) and math.isnan(verdict.bce) and math.isnan(verdict.auc)
    assert verdict.real_loss == judge(CROPS).real_loss


@pytest.mark.parametrize(("probability", "label"), [(0.0, 1), (1.0, 0)])
def test_being_wholly_wrong_costs_much_but_not_everything(probability, label):
    verdict = judge([("a", "0_0.png", probability, label), ("b", "0_0.png", 0.5, 1 - label)])
    assert max(verdict.fake_loss, verdict.real_loss) == pytest.approx(-math.log(CLIP), rel=1e-3)
    assert math.isfinite(verdict.bce)


def test_the_curve_goes_from_nothing_to_everything():
    verdict = judge(CROPS)
    false_rate, true_rate = roc_points(verdict.targets, verdict.scores)
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(verdict.auc)
