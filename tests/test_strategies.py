"""From the probabilities of faces to the label of a video."""

import numpy as np
import pytest

from inference.strategies import PUBLISHED, STRATEGIES, Rule, confident_strategy


def test_every_golden_case_is_reproduced(golden):
    cases = golden("confident_strategy.json")
    assert len(cases) == 96
    for case in cases:
        assert confident_strategy(case["pred"]) == pytest.approx(case["out"], abs=1e-6)


def test_one_face_scores_itself():
    for value in (0.03, 0.5, 0.97):
        assert all(strategy([value]) == pytest.approx(value) for strategy in STRATEGIES.values())


def test_twelve_confident_fakes_outweigh_the_rest_and_eleven_do_not():
    assert confident_strategy([0.9] * 12 + [0.3] * 15) == pytest.approx(0.9)
    assert confident_strategy([0.9] * 11 + [0.3] * 9) == pytest.approx((0.9 * 11 + 0.3 * 9) / 20)


def test_confident_fakes_must_exceed_the_floor_of_n_over_two_and_a_half():
    # 31 // 2.5 is 12: twelve are not more than that, thirteen are.
    assert confident_strategy([0.9] * 12 + [0.5] * 19) == pytest.approx((0.9 * 12 + 0.5 * 19) / 31)
    assert confident_strategy([0.9] * 13 + [0.5] * 18) == pytest.approx(0.9)


def test_more_than_nine_tenths_of_confident_reals_decide():
    assert confident_strategy([0.1] * 19 + [0.7]) == pytest.approx(0.1)
    assert confident_strategy([0.1] * 18 + [0.7] * 2) == pytest.approx((0.1 * 18 + 0.7 * 2) / 20)


def test_threshold_of_fakes_can_be_moved():
    pred = [0.75] * 20 + [0.1] * 5
    assert confident_strategy(pred, t=0.7) == pytest.approx(0.75)
    assert confident_strategy(pred) == pytest.approx(np.mean(pred))


def test_mean_median_and_max():
    pred = [0.1, 0.2, 0.9]
    assert STRATEGIES["mean"](pred) == pytest.approx(0.4)
    assert STRATEGIES["median"](pred) == pytest.approx(0.2)
    assert STRATEGIES["max"](pred) == pytest.approx(0.9)


def test_strategies_of_ones_own_are_given_an_array():
    rule = Rule(lambda p: p[p > 0.5].mean())
    assert rule.network_label([0.2, 0.6, 0.8], [0, 0, 1], "frame") == pytest.approx(0.7)
    # In the order of the frames, whoever is in them.
    assert Rule(lambda p: p[1]).network_label([0.2, 0.6, 0.8], [0, 1, 0], "frame") == 0.6


def test_no_faces_have_no_score():
    for strategy in STRATEGIES.values():
        with pytest.raises(ValueError, match="no probabilities"):
            strategy([])


# Two people: one rather fake in both faces, one rather real.
PROBABILITIES, PEOPLE = [0.9, 0.1, 0.7, 0.3], [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("aggregate", "strategy", "expected"),
    [("pooled", "mean", 0.5), ("pooled", "max", 0.9), ("mean", "max", 0.6), ("max", "mean", 0.8), ("max", "max", 0.9)],
)
def test_people_are_pooled_or_have_labels_of_their_own(aggregate, strategy, expected):
    rule = Rule(STRATEGIES[strategy], aggregate)
    for kind in PUBLISHED:
        assert rule.network_label(PROBABILITIES, PEOPLE, kind) == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "expected"), [("frame", 0.5), ("tracked", 0.5), ("clip", 0.5), ("sequence", 0.8)])
def test_each_system_has_its_published_aggregate(kind, expected):
    assert Rule(STRATEGIES["mean"]).network_label(PROBABILITIES, PEOPLE, kind) == pytest.approx(expected)


def test_frames_are_pooled_so_that_a_person_counts_by_the_faces_seen():
    rule = Rule(STRATEGIES["mean"])
    assert rule.network_label([0.9, 0.9, 0.0], [0, 0, 1], "frame") == pytest.approx(0.6)
    assert rule.network_label([0.9, 0.9, 0.0], [0, 0, 1], "clip") == pytest.approx(0.45)


def test_label_of_a_video_is_the_mean_kept_off_the_ends():
    labels = {"a": 1.0, "b": 0.9998}
    assert Rule(confident_strategy).video_label(labels) == pytest.approx(0.9999)
    assert Rule(confident_strategy, clip=0.001).video_label(labels) == pytest.approx(0.999)
    assert Rule(confident_strategy, clip=0.001).video_label({"a": 0.0}) == pytest.approx(0.001)
