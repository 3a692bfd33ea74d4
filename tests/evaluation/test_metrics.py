"""Metrics against numbers worked out by hand, and their bootstrap against scikit-learn on the drawn videos."""

import warnings

import numpy as np
import pytest

from evaluation import bootstrap
from evaluation.bootstrap import intervals, metrics_of_draws
from evaluation.metrics import LABELS, OF_BOTH_CLASSES, at_threshold, best_threshold, candidate_thresholds, metrics


def videos(fakes, reals):
    """Labels and scores of videos from the scores of the fake and of the real ones."""
    return np.array([True] * len(fakes) + [False] * len(reals)), np.array([*fakes, *reals], dtype=float)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


TIED = videos([0.9, 0.6, 0.6], [0.6, 0.4, 0.1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # Fakes: -ln 0.9 = 0.105361, twice -ln 0.6 = 0.510826. Reals: -ln 0.4 = 0.916291, -ln 0.6, -ln 0.9.
        ("log_loss_fake", (0.105361 + 2 * 0.510826) / 3),
        ("log_loss_real", (0.916291 + 0.510826 + 0.105361) / 3),
        ("log_loss", 0.443248),
        # Of 9 pairs, 0.9 wins 3; each 0.6 wins 2 and ties with the real 0.6: 3 + 2 * 2.5 = 8.
        ("auc", 8 / 9),
        # Above 0.6: recall 1/3 at precision 1. From 0.6 on: recall 1 at precision 3/4. 1/3 + 2/3 * 3/4.
        ("average_precision", 5 / 6),
        # From (false alarms 0, hits 1/3) to (1/3, 1) misses fall from 2/3 to 0; they meet after 2/3 of the way.
        ("eer", 2 / 9),
        # 0.01 + 0.16 + 0.16 + 0.36 + 0.16 + 0.01 over 6
        ("brier", 0.86 / 6),
        # Bins of 1/15: 0.9 alone is 0.1 too low; three 0.6 say 1.8 fakes, 2 are; 0.4 and 0.1 are that much too high.
        ("ece", (0.1 + 0.2 + 0.4 + 0.1) / 6),
        # Above 0.5 are all three fakes and one real.
        ("accuracy", 5 / 6),
        ("balanced_accuracy", (3 / 3 + 2 / 3) / 2),
        ("precision", 3 / 4),
        ("recall", 1.0),
        ("f1", 6 / 7),
        # Above 0.75: a third of the fakes, no real: 2/3. Above 0.25: all fakes, two reals: 2/3. So 0.5 it is.
        ("best_threshold", 0.5),
        ("best_accuracy", 5 / 6),
        ("best_balanced_accuracy", 5 / 6),
    ],
)
def test_metrics_with_ties_equal_those_worked_out_by_hand(key, value):
    assert metrics(*TIED)[key] == pytest.approx(value, abs=1e-6)


def test_confusion_counts_videos_by_label_and_call():
    confusion = at_threshold(*videos([0.9, 0.8, 0.2], [0.7, 0.3, 0.1, 0.0]))["confusion"]
    assert confusion == {"real_as_real": 3, "real_as_fake": 1, "fake_as_real": 1, "fake_as_fake": 2}


def test_score_of_exactly_one_half_is_not_called_fake():
    fake, scores = videos([0.5, 0.50001], [0.5])
    assert at_threshold(fake, scores)["confusion"]["fake_as_fake"] == 1
    assert metrics_of_draws(fake, scores, np.ones((1, 3)))["accuracy"] == pytest.approx(2 / 3)


def test_log_loss_is_clipped_as_told():
    sure_and_wrong = videos([0.0, 1.0], [0.5])
    # -ln 1e-15 = 34.538776, -ln(1 - 1e-15) = 0; -ln 0.01 = 4.605170, -ln 0.99 = 0.010050
    assert metrics(*sure_and_wrong)["log_loss_fake"] == pytest.approx(34.538776 / 2)
    assert metrics(*sure_and_wrong, clip=0.01)["log_loss_fake"] == pytest.approx((4.605170 + 0.010050) / 2, abs=1e-6)


def test_equal_scores_tell_nothing():
    result = metrics(*videos([0.7, 0.7], [0.7, 0.7]))
    for key in ("auc", "average_precision", "eer", "balanced_accuracy", "best_balanced_accuracy", "best_threshold"):
        assert result[key] == 0.5, key
    # All are called fake; 2.8 fakes expected, 2 there.
    assert (result["precision"], result["recall"], result["ece"]) == (0.5, 1.0, pytest.approx(0.8 / 4))


@pytest.mark.parametrize("fakes", [[0.9, 0.4], []])
def test_one_class_leaves_undefined_what_compares_classes(fakes):
    fake, scores = videos(fakes, [] if fakes else [0.1, 0.6])
    result = metrics(fake, scores)
    assert [result[key] for key in OF_BOTH_CLASSES] == [None] * len(OF_BOTH_CLASSES)
    # -ln 0.9 and -ln 0.4, whether the videos are fake with 0.9 and 0.4 or real with 0.1 and 0.6
    assert result["log_loss"] == pytest.approx((0.105361 + 0.916291) / 2, abs=1e-6)
    assert result["log_loss_real" if fakes else "log_loss_fake"] is None
    assert result["accuracy"] == 0.5
    assert (result["recall"], result["precision"]) == ((0.5, 1.0) if fakes else (None, 0.0))
    found = intervals(fake, scores, count=20)
    assert [found[key] for key in OF_BOTH_CLASSES] == [None] * len(OF_BOTH_CLASSES)
    assert found["log_loss"] is not None


def test_calibration_error_is_over_fifteen_bins_that_hold_both_ends():
    # 0.62 is in the tenth bin (9/15 to 10/15), 0.68 in the next; in one bin the two would offset each other.
    assert metrics(*videos([0.62], [0.68]))["ece"] == pytest.approx((0.38 + 0.68) / 2)
    # 0.95 and 1 share the last bin: 1.95 fakes expected, one there. 0 and 0.05 share the first.
    assert metrics(*videos([0.95], [1.0]))["ece"] == pytest.approx(0.95 / 2)
    assert metrics(*videos([0.0], [0.05]))["ece"] == pytest.approx(0.95 / 2)


def test_precision_is_undefined_where_nothing_is_called_fake():
    result = metrics(*videos([0.3], [0.1]))
    assert (result["precision"], result["recall"], result["f1"]) == (None, 0.0, 0.0)


def test_best_threshold_separates_what_can_be_separated():
    result = metrics(*videos([0.7, 0.8], [0.55, 0.6]))
    assert result["best_threshold"] == pytest.approx(0.65)
    assert (result["accuracy"], result["best_accuracy"], result["best_balanced_accuracy"]) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("fakes", "reals", "threshold"),
    [
        ([0.2, 0.9], [0.1, 0.7], 0.8),  # 0.15 is as good, but further from 0.5
        ([0.3, 0.8], [0.2, 0.7], 0.75),  # 0.25 is as good and as near: the higher accuses fewer
        ([0.6], [0.2], 0.5),  # not 0.4, the middle
        ([0.1, 0.2], [0.8, 0.9], 1.0),  # worse than calling nothing fake, wherever the line is drawn
    ],
)
def test_of_thresholds_as_good_the_one_nearest_to_one_half_is_best(fakes, reals, threshold):
    fake, scores = videos(fakes, reals)
    assert best_threshold(fake, scores) == pytest.approx(threshold)
    assert metrics_of_draws(fake, scores, np.ones((1, len(fake))))["best_threshold"][0] == pytest.approx(threshold)


def test_best_threshold_weighs_classes_alike():
    # One fake among many reals: above 0.3 it is found with two of nine reals, above 0.8 nothing is.
    fake, scores = videos([0.35], [0.8, 0.75, *[0.1] * 7])
    assert metrics(fake, scores)["best_balanced_accuracy"] == pytest.approx((1 + 7 / 9) / 2)
    assert best_threshold(fake, scores) == pytest.approx((0.1 + 0.35) / 2)


def test_candidates_begin_at_one_half():
    assert candidate_thresholds(np.array([0.2, 0.4, 0.4])).tolist() == pytest.approx([0.5, 0.3, 1, 0])


# Intervals


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("count", [3, 12, 150])
def test_draws_are_judged_as_scikit_learn_judges_the_drawn_videos(decimals, count):
    random = np.random.default_rng(count + decimals)
    fake = np.arange(count) % 3 == 0
    scores = np.round(random.random(count) * 0.7 + 0.3 * fake, decimals)
    draws = np.vstack([np.ones(count), random.multinomial(count, np.full(count, 1 / count), size=20)])
    found = metrics_of_draws(fake, scores, draws)
    for i, draw in enumerate(draws.astype(int)):
        expected = metrics(np.repeat(fake, draw), np.repeat(scores, draw))
        # Which of several equally good thresholds is taken depends on which videos lie between them.
        for key in LABELS.keys() - {"ece"} - (set() if i == 0 else {"best_threshold", "best_accuracy"}):
            value = np.nan if expected[key] is None else expected[key]
            assert found[key][i] == pytest.approx(value, abs=1e-9, nan_ok=True), (key, draw)


def test_interval_is_the_middle_95_percent_of_the_draws():
    # One of two videos is called rightly. Of the draws a quarter is all wrong, a quarter all right.
    assert intervals(*videos([0.9], [0.9]), count=400)["accuracy"] == (0.0, 1.0)
    # 100 videos, 80 right: the standard deviation of the mean is sqrt(0.8 * 0.2 / 100) = 0.04.
    low, high = intervals(*videos([0.9] * 80 + [0.1] * 20, []), count=2000)["accuracy"]
    assert (low, high) == pytest.approx((0.8 - 1.96 * 0.04, 0.8 + 1.96 * 0.04), abs=0.015)


def test_calibration_error_has_no_interval():
    # Perfectly calibrated: the error is 0, and that of nearly every draw is above.
    fake, scores = videos([0.5] * 10, [0.5] * 10)
    found = intervals(fake, scores, count=60)
    assert found["ece"] is None and found["brier"] is not None and found.keys() == LABELS.keys()


def test_intervals_are_the_same_every_time_and_however_many_draws_fit_into_memory(monkeypatch):
    fake, scores = videos([0.9, 0.6, 0.4], [0.6, 0.2, 0.1])
    first = intervals(fake, scores, count=60)
    assert intervals(fake, scores, count=60) == first
    monkeypatch.setattr(bootstrap, "CELLS", 42)  # seven draws of six videos
    assert intervals(fake, scores, count=60) == first


def test_draws_of_one_class_are_left_out_of_the_auc():
    found = intervals(*videos([0.9], [0.1]), count=50)
    assert found["auc"] == (1.0, 1.0) and found["best_accuracy"] == (1.0, 1.0)
