"""Which crops an epoch of pairs takes: in turns from the videos, in shares from the kinds of sources."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.transform_draws import is_share
from training.datasets.pair_order import PairTable
from training.tools.config import Pairs

ROWS = ["video", "file", "label", "original", "frame"]


def table(rows):
    return pd.DataFrame(rows, columns=ROWS)


def crops(video, count, original=None):
    """A video of so many crops; of an original, if it is a fake."""
    return [(video, f"{10 * i}_0.png", int(original is not None), original or video, 10 * i) for i in range(count)]


@pytest.fixture(scope="module")
def rows():
    """Two videos with fakes, of 30 and 10 crops, three without, of 20, and fifty stills."""
    rows = crops("a", 30) + crops("fa1", 30, "a") + crops("fa2", 12, "a") + crops("b", 10) + crops("fb", 10, "b")
    rows += [row for i in range(3) for row in crops(f"c{i}", 20)]
    rows += [row for i in range(50) for row in crops(f"s{i}", 1)]
    return table(rows).sample(frac=1, random_state=1).reset_index(drop=True)


def everywhere(rows):
    return np.ones(len(rows), bool)


def pairs_of(rows, blendable=None, blended=0.5, seed=0, **pairs):
    """Each pair as two rows."""
    plan = PairTable(rows, everywhere(rows) if blendable is None else blendable)
    order = plan.order(Pairs(**pairs), blended, np.random.default_rng(seed))
    records = list(rows.itertuples())
    return [(records[real], records[fake]) for real, fake in order.reshape(-1, 2)]


def kind(row):
    return {"a": "with_fakes", "b": "with_fakes", "c": "without_fakes", "s": "stills"}[row.video[0]]


def test_a_pair_is_a_real_crop_and_itself_or_a_fake_of_the_same_crop(rows):
    pairs = pairs_of(rows, per_epoch=80)
    for real, other in pairs:
        assert real.label == 0 and (other == real or (other.label == 1 and other.original == real.video))
        assert other.file == real.file
    assert len(pairs) == 80 and len({real.Index for real, _ in pairs}) == 80


def test_kinds_of_sources_have_their_shares(rows):
    pairs = pairs_of(rows, per_epoch=60, with_fakes=3, without_fakes=2, stills=1)
    assert Counter(kind(real) for real, _ in pairs) == {"with_fakes": 30, "without_fakes": 20, "stills": 10}


def test_a_kind_that_has_not_enough_gives_all_it_has(rows):
    count = Counter(kind(real) for real, _ in pairs_of(rows, per_epoch=400))
    assert count == {"with_fakes": 40, "without_fakes": 60, "stills": 50}


def test_shares_are_of_the_kinds_that_there_are(rows):
    some = rows[~rows["video"].str.startswith("s")].reset_index(drop=True)
    count = Counter(kind(real) for real, _ in pairs_of(some, per_epoch=60, with_fakes=1, without_fakes=2, stills=3))
    assert count == {"with_fakes": 20, "without_fakes": 40}


def test_kinds_without_weight_are_left_out(rows):
    assert {kind(real) for real, _ in pairs_of(rows, stills=0, without_fakes=0)} == {"with_fakes"}


def test_videos_of_a_kind_take_turns(rows):
    count = Counter(real.video for real, _ in pairs_of(rows, per_epoch=60))
    assert (count["a"], count["b"]) == (20, 10) and {count[f"c{i}"] for i in range(3)} == {5}
    assert max(count[f"s{i}"] for i in range(50)) == 1


def test_a_video_of_one_frame_with_two_faces_is_a_still():
    rows = table([*crops("c", 5), ("two", "0_0.png", 0, "two", 0), ("two", "0_1.png", 0, "two", 0)])
    assert {real.video for real, _ in pairs_of(rows, without_fakes=0)} == {"two"}


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_blends_have_their_share_where_both_are_possible(rows, share):
    pairs = [pair for seed in range(20) for pair in pairs_of(rows, blended=share, seed=seed, per_epoch=80)]
    possible = [real == other for real, other in pairs if kind(real) == "with_fakes"]
    assert is_share(sum(possible), len(possible), share)
    assert all(real == other for real, other in pairs if kind(real) != "with_fakes")


def test_crops_that_cannot_be_blended_take_a_fake_of_the_table_and_those_without_any_are_left_out(rows):
    blendable = ~rows["video"].isin(["a", "c0", "s7"]).to_numpy()
    pairs = pairs_of(rows, blendable, blended=1, per_epoch=1000)
    assert all(other.label == 1 for real, other in pairs if real.video == "a")
    assert not {"c0", "s7"} & {real.video for real, _ in pairs}
    assert PairTable(rows, blendable).left_out == 21


def test_each_fake_of_a_crop_is_as_likely(rows):
    pairs = [pair for seed in range(40) for pair in pairs_of(rows, blended=0, seed=seed)]
    drawn = Counter(other.video for real, other in pairs if real.video == "a" and real.frame < 120)
    assert is_share(drawn["fa1"], drawn.total(), 0.5) and set(drawn) == {"fa1", "fa2"}


def test_draws_decide_and_epochs_see_other_stills(rows):
    one, same, other = (pairs_of(rows, per_epoch=40, seed=seed) for seed in (1, 1, 2))
    assert one == same and one != other
    assert {real.video for real, _ in one if kind(real) == "stills"} != {
        real.video for real, _ in other if kind(real) == "stills"
    }


def test_a_table_without_any_pair_gives_an_empty_order(rows):
    real = rows[rows["label"] == 0].reset_index(drop=True)
    plan = PairTable(real, ~everywhere(real))
    assert len(plan.order(Pairs(), 0.5, np.random.default_rng(0))) == 0 and plan.left_out == len(real)
