"""folds.csv: reading it, splitting it, and the published order of an epoch."""

import numpy as np
import pytest

from common.errors import UserError
from tests.generated_crops import write_table
from training.datasets.folds import (
    COLUMNS,
    read_folds,
    read_video_list,
    split_by_fold,
    split_by_videos,
    training_order,
    validation_order,
)

HEADER = ",".join(COLUMNS)


@pytest.fixture(scope="module")
def golden_rows(samples):
    return read_folds(samples.parent / "golden" / "folds.csv")


@pytest.fixture
def table(tmp_path):
    """Three originals and their fakes, the first with two; frames 0, 10, 20, 30; folds 0, 1, 1."""
    families = {"004": ["aa", "ab"], "519": ["ba"], "xyz": ["ca"]}
    rows = [
        (video, f"{frame}_0.png", int(video != original), original, frame, min(fold, 1))
        for fold, (original, fakes) in enumerate(families.items())
        for video in (original, *fakes)
        for frame in (0, 10, 20, 30)
    ]
    return write_table(tmp_path / "folds.csv", rows)


def videos(rows):
    return set(rows["video"].astype(str))


def names(rows, order):
    rows = rows.iloc[order]
    return [f"{row.video}/{row.file}:{row.label}" for row in rows.itertuples()]


@pytest.mark.parametrize("video", ["004", "519", "1e5", "NA", "nan", "True", "0x10", " a"])
def test_ids_are_strings_whatever_they_look_like(tmp_path, video):
    rows = write_table(tmp_path / "folds.csv", [(video, "0_0.png", 0, video, 0, 0)])
    assert (rows["video"].iloc[0], rows["original"].iloc[0]) == (video, video)


def test_columns_may_come_in_any_order_and_others_beside_them(tmp_path):
    (tmp_path / "folds.csv").write_text("fold,note,frame,label,file,original,video\n3,good,20,1,20_0.png,004,abc\n")
    rows = read_folds(tmp_path / "folds.csv")
    assert tuple(rows.columns) == COLUMNS
    assert rows.to_dict("records") == [
        {"video": "abc", "file": "20_0.png", "label": 1, "original": "004", "frame": 20, "fold": 3}
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a readable table"),
        (f"{HEADER}\n", "has no rows"),
        ("video,file,label,frame\na,0_0.png,0,0\n", "has no column original, fold; generate_folds writes video,file,"),
        (f"{HEADER}\na,0_0.png,0,a,0,0\na,0_0.png,2,a,0,0\n", "line 3: label is '2'"),
        (f"{HEADER}\na,0_0.png,,a,0,0\n", "line 2: label is ''"),
        (f"{HEADER}\na,0_0.png,REAL,a,0,0\n", "line 2: label is 'REAL'"),
        (f"{HEADER}\na,0_0.png,0,a,-10,0\n", "line 2: frame is '-10'"),
        (f"{HEADER}\na,0_0.png,0,a,0,0.5\n", "line 2: fold is '0.5'"),
        (f"{HEADER}\na,0_0.png,0\n", "line 2: frame is ''"),
        (f"{HEADER}\na,0_0.png,0,a,0,0,0\n", "line 2: "),
        (f"{HEADER}\na,0_0.png,0,a,0,0\na,0_0.png,0,a,0,0,0\n", "not a readable table: "),
        (f"{HEADER}\n../a,0_0.png,0,a,0,0\n", "line 2: video '../a' is not a plain name"),
        (f"{HEADER}\na,/etc/0_0.png,0,a,0,0\n", "line 2: file '/etc/0_0.png' is not a plain name"),
        (f"{HEADER}\na,b\\0_0.png,0,a,0,0\n", r"line 2: file 'b\\0_0.png' is not a plain name"),
        (f"{HEADER}\na,0_0.png,0,a,0,0\nb,0_0.png,0,..,0,0\n", "line 3: original '..' is not a plain name"),
        (f"{HEADER}\n,0_0.png,0,a,0,0\n", "line 2: video '' is not a plain name"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, reason):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(UserError) as error:
        read_folds(tmp_path / "table.csv")
    assert str(error.value).startswith(f"{tmp_path / 'table.csv'}: {reason}")
    assert "\n" not in str(error.value)


def test_missing_table_is_refused_with_what_writes_it(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file; preprocess_data\.sh writes it"):
        read_folds(tmp_path / "none.csv")


def test_large_fold_numbers_are_read(tmp_path):
    rows = write_table(tmp_path / "folds.csv", [("a", "0_0.png", 0, "a", 0, 99999)])
    assert rows["fold"].iloc[0] == 99999


def test_fold_is_held_out_and_every_twentieth_frame_of_it_validates(table):
    training, validation = split_by_fold(table, 0)
    assert videos(training) == {"519", "ba", "xyz", "ca"} and videos(validation) == {"004", "aa", "ab"}
    assert set(training["frame"]) == {0, 10, 20, 30} and set(validation["frame"]) == {0, 20}
    assert len(training) == 16 and len(validation) == 6


@pytest.mark.parametrize(("fold", "empty"), [(7, "validation"), (0, "training")])
def test_empty_side_is_refused_with_the_folds_there(table, fold, empty):
    if empty == "training":
        table = table[table["fold"] == 0]
    with pytest.raises(UserError, match=rf"fold {fold} held out there is nothing for {empty}; .*: 0 \(12 crops\)"):
        split_by_fold(table, fold)


def test_fold_without_a_twentieth_frame_does_not_validate(table):
    with pytest.raises(UserError, match="nothing for validation"):
        split_by_fold(table[table["frame"] % 20 == 10], 0)


@pytest.mark.parametrize(
    ("listed", "left", "validating"),
    [
        (["aa"], {"519", "ba", "xyz", "ca"}, {"aa"}),
        (["004", "aa"], {"519", "ba", "xyz", "ca"}, {"004", "aa"}),
        (["519", "ca"], {"004", "aa", "ab"}, {"519", "ca"}),
    ],
)
def test_what_shares_an_original_with_a_held_out_video_is_on_neither_side(table, listed, left, validating):
    training, validation, unknown = split_by_videos(table, listed)
    assert (videos(training), videos(validation), unknown) == (left, validating, [])
    assert set(validation["frame"]) == {0, 20} and len(training) == 4 * len(left)


def test_ids_without_crops_are_told(table):
    assert split_by_videos(table, ["aa", "zz", "none"])[2] == ["none", "zz"]


@pytest.mark.parametrize(
    ("listed", "empty"), [(["zz"], "validation"), (["004", "519", "xyz"], "training"), ([], "validation")]
)
def test_list_that_leaves_a_side_empty_is_refused(table, listed, empty):
    message = rf"{len(listed)} videos held out there is nothing for {empty}; .*: 0 \(12 crops\), 1 \(16 crops\)"
    with pytest.raises(UserError, match=message):
        split_by_videos(table, listed)


def test_video_list_takes_ids_and_file_names(tmp_path):
    (tmp_path / "list.txt").write_text("# held out\n\n004\n abc.mp4 \nx.y.mp4\n#519\n")
    assert read_video_list(tmp_path / "list.txt") == ["004", "abc", "x.y"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe", None])
def test_list_without_videos_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"list\.txt: "):
        read_video_list(tmp_path / "list.txt")


@pytest.mark.parametrize("seed", [111, 555])
@pytest.mark.parametrize("epoch", [0, 1])
def test_training_order_is_the_published_one(golden, golden_rows, seed, epoch):
    length, *first = golden("dataset.json")[f"train fold=0 seed={seed} epoch={epoch}"]
    rows, _ = split_by_fold(golden_rows, 0)
    order = training_order(rows["label"].to_numpy(), epoch, seed)
    assert len(order) == length and len(first) == 12
    assert names(rows, order[:12]) == first


def test_validation_order_is_the_published_one(golden, golden_rows):
    length, *first = golden("dataset.json")["val fold=0 seed=111 epoch=1"]
    _, rows = split_by_fold(golden_rows, 0)
    order = validation_order(len(rows), 111)
    assert len(order) == length and len(first) == 12
    assert names(rows, order[:12]) == first


def labels(reals, fakes):
    return np.array([0] * reals + [1] * fakes, np.int8)


def test_epoch_takes_every_real_and_as_many_fakes():
    order = training_order(labels(5, 20), epoch=0, seed=3)
    assert sorted(order[order < 5]) == list(range(5))
    assert len(order) == len(set(order)) == 10


@pytest.mark.parametrize("seed", [0, 3])
def test_epochs_draw_other_fakes_in_another_order(seed):
    first, second = (training_order(labels(5, 200), epoch, seed) for epoch in (0, 1))
    assert set(first) != set(second)
    assert not np.array_equal(first, training_order(labels(5, 200), 0, seed=4))
    assert np.array_equal(first, training_order(labels(5, 200), 0, seed))


def test_fewer_fakes_than_reals_are_all_taken():
    assert sorted(training_order(labels(9, 4), epoch=0, seed=3)) == list(range(13))


def test_without_oversampling_all_fakes_are_taken():
    order = training_order(labels(4, 9), epoch=0, seed=3, oversample=False)
    assert sorted(order) == list(range(13)) and list(order) != list(range(13))


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**40])
def test_any_seed_will_do(seed):
    assert len(training_order(labels(4, 9), epoch=39, seed=seed)) == 8
    assert sorted(validation_order(7, seed)) == list(range(7))


def test_order_leaves_the_global_random_state_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    training_order(labels(4, 9), epoch=0, seed=3)
    validation_order(7, 3)
    assert np.array_equal(np.random.get_state()[1], before)
