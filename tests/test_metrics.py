"""Judging crops by video: means, log losses, the area under the curve, and what is missing."""

import math
import warnings

import numpy as np
import pytest

from training.tools.metrics import CLIP, FaceCount, count_faces, judge, roc_points

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


# By number of faces

FACED = [  # video, P(fake) of its files, label, faces
    ("a", [0.9], 1, 1),
    ("b", [0.5001], 1, 1),
    ("c", [0.5], 1, 1),
    ("d", [0.7], 0, 1),
    ("e", [0.2], 0, 1),
    ("f", [0.1], 0, 1),
    ("g", [0.3], 0, 1),
    ("h", [0.1, 0.8], 1, 2),
    ("i", [0.1, 0.6], 0, 2),
    ("j", [0.2, 0.4], 0, 2),
]
FACES = {video: faces for video, *_, faces in FACED}


def files_of(faced):
    return [(video, f"0_{k}.png", p, label) for video, values, label, _ in faced for k, p in enumerate(values)]


def test_videos_of_each_number_of_faces_are_told_apart_by_themselves():
    """Of seven videos with one face: a and b are rightly fake, c is missed, d wrongly fake; e, f and g rightly real."""
    assert judge(files_of(FACED), "max", FACES).by_faces == (
        FaceCount(1, 7, tn=3, fp=1, fn=1, tp=2, accuracy=5 / 7, precision=2 / 3, recall=2 / 3),
        FaceCount(2, 3, tn=1, fp=1, fn=0, tp=1, accuracy=2 / 3, precision=1 / 2, recall=1.0),
    )


def test_videos_are_told_apart_by_what_the_aggregate_makes_of_them():
    *_, two = judge(files_of(FACED), "mean", FACES).by_faces  # h 0.45, i 0.35, j 0.3: none is taken for a fake
    assert (two.tn, two.fp, two.fn, two.tp, two.recall) == (2, 0, 1, 0, 0.0)


@pytest.mark.parametrize(
    ("label", "probability", "numbers", "accuracy", "precision", "recall"),
    [
        (0, 0.1, (1, 0, 0, 0), 1, None, None),
        (0, 0.9, (0, 1, 0, 0), 0, 0, None),
        (1, 0.1, (0, 0, 1, 0), 0, None, 0),
        (1, 0.9, (0, 0, 0, 1), 1, 1, 1),
    ],
)
def test_division_by_zero_is_not_a_number_and_no_warning(label, probability, numbers, accuracy, precision, recall):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (three,) = judge([("v", "0_0.png", probability, label)], "max", {"v": 3}).by_faces
    assert (three.faces, three.videos, three.tn, three.fp, three.fn, three.tp) == (3, 1, *numbers)
    for share, expected in ((three.accuracy, accuracy), (three.precision, precision), (three.recall, recall)):
        assert math.isnan(share) if expected is None else share == expected


def test_video_without_a_score_is_taken_for_neither():
    lost = [("x", [math.nan], 0, 1), ("y", [math.nan], 1, 3)]
    assert judge(files_of(FACED + lost), "max", FACES | {"x": 1, "y": 3}).by_faces == (
        judge(files_of(FACED), "max", FACES).by_faces
    )


def test_nothing_is_told_by_faces_that_were_not_counted():
    assert judge(CROPS).by_faces == judge(CROPS, faces={}).by_faces == ()


def test_faces_of_a_video_are_its_sequences():
    files = [("a", "0_0.png"), ("b", "0_1.png"), ("b", "0_0.png"), ("c", "0_2.png"), ("c", "0_0.png"), ("c", "0_1.png")]
    assert count_faces(files) == {"a": 1, "b": 2, "c": 3}


def test_faces_of_a_video_are_the_most_clips_of_one_chunk():
    a, b = ["0_0.mkv", "150_0.mkv", "300_0.mkv"], ["0_0.mkv", "150_1.mkv", "150_0.mkv", "1500_0.mkv"]
    assert count_faces([("a", file) for file in a] + [("b", file) for file in b]) == {"a": 1, "b": 2}
    assert count_faces([("c", "150_1.mkv"), ("c", "150_1.mkv")]) == {"c": 1}  # track 0 may have no frames
