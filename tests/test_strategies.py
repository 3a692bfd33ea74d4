"""From the probabilities of faces to the label of a video."""

import numpy as np
import pytest

from inference.strategies import STRATEGIES, confident_strategy


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


def test_no_faces_have_no_score():
    for strategy in STRATEGIES.values():
        with pytest.raises(ValueError, match="no probabilities"):
            strategy([])
