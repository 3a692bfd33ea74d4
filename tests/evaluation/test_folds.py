"""AUCs of held-out folds: by fold, seed and method, their spread over seeds, and their interval over identities."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.folds import FoldScores, as_data, as_markdown, spread, summarize

METHODS = ("Deepfakes", "FaceSwap")


def run(fold, seed, scores, identities=("a", "b")):
    """Scores of a real, a Deepfake and a FaceSwap for each identity, in this order."""
    fake = np.tile([False, True, True], len(identities))
    kinds = np.tile([-1, 0, 1], len(identities))
    methods = [(name, (kinds == number) | ~fake) for number, name in enumerate(METHODS)]
    owners = [f"{fold}{identity}" for identity in identities for _ in range(3)]
    return FoldScores(fold, seed, fake, owners, methods, {"label": np.array(scores, dtype=float)})


PERFECT = [0.1, 0.9, 0.8, 0.2, 0.7, 0.9]
# Of the eight pairs of a real and a fake: 0.5 is above three of the four fakes, 0.2 above none.
HALF_BLIND = [0.5, 0.4, 0.9, 0.2, 0.3, 0.4]


@pytest.fixture
def runs():
    return [run(0, 1, PERFECT), run(0, 2, PERFECT), run(2, 1, HALF_BLIND), run(2, 2, PERFECT)]


def test_auc_of_every_fold_and_seed_and_their_means(runs):
    summary = summarize(runs, "label")
    assert summary.aucs == {(0, 1): 1, (0, 2): 1, (2, 1): pytest.approx(5 / 8), (2, 2): 1}
    assert summary.means == pytest.approx([13 / 16, 1]) and summary.mean == pytest.approx(29 / 32)
    data = as_data(summary)
    assert data["folds"][2]["mean"] == pytest.approx(13 / 16)
    assert data["folds"][2]["spread"] == pytest.approx(3 / 8 / np.sqrt(2)) and data["folds"][0]["spread"] == 0


def test_methods_are_judged_against_all_real_videos_of_their_fold(runs):
    methods = summarize(runs, "label").methods
    assert methods["FaceSwap"] == {0: 1, 2: pytest.approx((3 / 4 + 1) / 2)}
    assert methods["Deepfakes"] == {0: 1, 2: pytest.approx((2 / 4 + 1) / 2)}


def test_interval_is_the_spread_of_what_other_identities_would_give():
    """One identity is told from its fakes and one never: of two drawn, four cases in a quarter of the draws each."""
    blind = [0.9, 0.5, 0.5]
    runs = [run(0, 1, [0.1, 0.9, 0.9, *blind])]
    summary = summarize(runs, "label", count=4000)
    # Both the good one, AUC 1; both the bad one, 0; one of each, twice: reals 0.1 and 0.9 against 0.9 0.9 0.5 0.5.
    assert summary.aucs[0, 1] == pytest.approx((4 + 1) / 8)
    assert summary.interval == (0, 1) and summary.identities == 2


def test_drawing_seeds_is_no_part_of_the_interval():
    """Whatever seeds differ by: identities that are all alike leave nothing to draw."""
    runs = [run(0, 1, [0.1, 0.9, 0.9] * 2), run(0, 2, [0.9, 0.1, 0.1] * 2)]
    assert summarize(runs, "label").interval == (0.5, 0.5)


def test_fold_of_which_nobody_is_drawn_is_left_out_of_that_draw():
    runs = [run(0, 1, [0.1, 0.9, 0.9], "a"), run(1, 1, [0.9, 0.1, 0.1], "a")]
    assert summarize(runs, "label", count=4000).interval == (0, 1)  # in a quarter of the draws each fold is alone


def test_same_videos_give_the_same_interval(runs):
    assert summarize(runs, "label").interval == summarize(runs, "label").interval
    assert summarize(runs, "label", count=0).interval is None


def test_table_has_a_row_for_each_fold_and_each_method(runs):
    lines = as_markdown(summarize(runs, "label")).splitlines()
    assert lines[0] == "| AUC           | seed 1 | seed 2 | mean   | spread |"
    assert lines[3] == "| fold 2        | 0.6250 | 1.0000 | 0.8125 | 0.2652 |"
    assert lines[4] == "| mean of folds | 0.8125 | 1.0000 | 0.9062 | 0.1326 |"
    assert lines[6].startswith("0.9062 [") and lines[6].endswith("] over 4 identities (95 %, bootstrap)")
    assert lines[8] == "| by method | fold 0 | fold 2 | mean   |"
    assert lines[10] == "| Deepfakes | 1.0000 | 0.7500 | 0.8750 |"


def test_method_that_metadata_names_stays_in_its_cell(runs):
    summary = replace(summarize(runs, "label"), methods={"<b>a|b\n![x](y)\x1b": {0: 1.0, 2: 1.0}})
    assert as_markdown(summary).splitlines()[10].startswith(r"| \<b\>a\|b !\[x\](y)\\x1b | 1.0000 |")


def test_single_seed_has_no_spread():
    assert spread([0.7]) is None
    assert "| 1.0000 | 1.0000 | -      |" in as_markdown(summarize([run(0, 1, PERFECT)], "label"))


def test_few_people_get_no_interval():
    few = [run(0, 1, PERFECT[:3], "a"), run(2, 1, PERFECT[:3], "b")]
    summary = summarize(few, "label")
    assert "1.0000; 2 identities are too few for an interval" in as_markdown(summary)
    assert as_data(summary)["interval"] is None
