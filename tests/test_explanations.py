"""The label of a video in words: the branch that decided, its numbers, and always the label it really has."""

import re

import numpy as np
import pytest

from inference.explanations import explain, explain_tracks, shown
from inference.strategies import STRATEGIES, aggregated, confident_strategy


def named_label(text):
    """The label at the end of an explanation, and how many digits it has."""
    digits = re.search(r"(\d\.(\d+))$", text)
    return float(digits[1]), len(digits[2])


def test_every_golden_case_is_explained_with_its_published_label(golden):
    for case in golden("confident_strategy.json"):
        label, digits = named_label(explain("confident", case["pred"]))
        assert label == pytest.approx(case["out"], abs=0.5001 * 10**-digits)


def test_every_golden_case_names_a_branch_that_gives_its_label(golden):
    branches = set()
    for case in golden("confident_strategy.json"):
        pred, text = np.array(case["pred"]), explain("confident", case["pred"])
        if "above 0.8: mean of those" in text:
            branch, values = "fakes", pred[pred > 0.8]
        elif "under 0.2: mean of those" in text:
            branch, values = "reals", pred[pred < 0.2]
        else:
            assert "mean of all" in text or "only one" in text
            branch, values = "all", pred
        branches.add(branch)
        assert values.mean() == pytest.approx(case["out"], abs=1e-6)
    assert branches == {"fakes", "reals", "all"}


def test_branch_of_fakes_says_how_many_of_how_many():
    assert explain("confident", [0.94] * 19 + [0.5] * 13) == "19 of 32 faces above 0.8: mean of those, 0.94"


def test_branch_of_reals_says_how_many_of_how_many():
    assert explain("confident", [0.04] * 31 + [0.9]) == "31 of 32 faces under 0.2: mean of those, 0.04"


def test_mean_of_all_says_what_was_missing():
    text = explain("confident", [0.9] * 12 + [0.1] * 20)
    assert text == ("12 of 32 faces above 0.8 (13 would decide), 20 under 0.2 (29 would decide): mean of all, 0.40")


@pytest.mark.parametrize("n", [*range(2, 48), 127])
def test_counts_said_to_decide_do_and_one_less_does_not(n):
    fakes, reals = map(int, re.findall(r"\((\d+) would", explain("confident", [0.5] * n)))
    if fakes <= n:
        assert confident_strategy([0.9] * fakes + [0.5] * (n - fakes)) == pytest.approx(0.9)
        assert fakes == n or "mean of all" in explain("confident", [0.9] * (fakes - 1) + [0.5] * (n - fakes + 1))
    else:
        assert "mean of all" in explain("confident", [0.9] * n)
    assert confident_strategy([0.1] * reals + [0.5] * (n - reals)) == pytest.approx(0.1)
    assert "mean of all" in explain("confident", [0.1] * (reals - 1) + [0.5] * (n - reals + 1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_ends_with_its_own_label(strategy):
    rng = np.random.default_rng(5)
    for n in (1, 2, 5, 12, 32, 127):
        for pred in (rng.random(n), rng.beta(0.2, 0.2, n), rng.beta(9, 1, n), rng.beta(1, 30, n)):
            assert explain(strategy, pred).endswith(f", {shown(STRATEGIES[strategy](pred))}")


def test_only_face_decides_alone():
    assert explain("confident", [0.87]) == "the only one of the faces decides, 0.87"


def test_near_certainty_keeps_its_digits():
    assert [shown(p) for p in (0.0, 0.0004, 0.01, 0.5, 0.9899, 0.9988, 1.0)] == [
        "0.0000", "0.0004", "0.01", "0.50", "0.99", "0.9988", "1.0000",
    ]  # fmt: skip


TRACKS = {0: [0.9] * 20, 1: [0.1] * 20, None: [0.5]}


@pytest.mark.parametrize(
    ("aggregate", "label", "first"),
    [
        ("pooled", 0.9, "20 of 41 faces above 0.8: mean of those, 0.90"),
        ("mean", 0.5, "mean of 3 tracks, 0.50"),
        ("max", 0.9, "the most fake of 3 tracks, 0.90"),
    ],
)
def test_tracks_are_pooled_averaged_or_the_most_fake_counts(aggregate, label, first):
    assert aggregated(confident_strategy, aggregate, TRACKS) == pytest.approx(label)
    lines = explain_tracks("confident", aggregate, TRACKS)
    assert lines[0] == first
    if aggregate != "pooled":
        assert lines[1:] == [f"track {track}: {explain('confident', values)}" for track, values in TRACKS.items()]


def test_single_track_is_explained_in_one_line():
    assert explain_tracks("confident", "max", {3: [0.9] * 2}, "clips") == [
        "one track: 2 of 2 clips above 0.8 (12 would be needed), 0 under 0.2 (2 would decide): mean of all, 0.90"
    ]


def test_nothing_seen_has_no_explanation():
    for aggregate in ("pooled", "mean", "max"):
        with pytest.raises(ValueError, match="no probabilities"):
            explain_tracks("confident", aggregate, {})
