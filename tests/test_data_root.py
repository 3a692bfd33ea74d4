"""The index of a data root: what is usable, and what is said about the rest."""

import json

import pytest

from common.errors import UserError
from preprocessing.data_root import part_number, read_data_root


def write_part(root, name, entries, missing=()):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(entries) if not isinstance(entries, str) else entries)
    if isinstance(entries, dict):
        for video in entries:
            if video not in missing and "/" not in video and "\\" not in video:
                (folder / video).write_bytes(b"x")
    return root


REAL = {"label": "REAL", "split": "train"}


def fake(original):
    return {"label": "FAKE", "split": "train", "original": original}


def reasons(root):
    return {problem.item: problem.reason for problem in root.problems}


def test_pairs_parts_and_ids(tmp_path):
    write_part(tmp_path, "dfdc_train_part_10", {"004.mp4": REAL})
    write_part(tmp_path, "dfdc_train_part_2", {"519_004.mp4": fake("004.mp4"), "abc.mp4": REAL})
    root = read_data_root(tmp_path)
    assert root.parts == ["dfdc_train_part_2", "dfdc_train_part_10"]
    assert [video.id for video in root.reals] == ["abc", "004"]
    assert [(video.id, video.original, video.source) for video in root.fakes] == [("519_004", "004", "004")]
    assert root.videos["004"].source == "004" and not root.problems


def test_kaggles_sample_folder_is_a_part(tmp_path):
    write_part(tmp_path, "train_sample_videos", {"a.mp4": REAL})
    assert read_data_root(tmp_path).parts == ["train_sample_videos"]
    assert part_number("train_sample_videos") is None
    assert part_number("dfdc_train_part_07") == 7


def test_originals_that_are_not_there_are_named(tmp_path):
    entries = {"a.mp4": fake("gone.mp4"), "b.mp4": fake("c.mp4"), "c.mp4": fake("r.mp4"), "r.mp4": REAL}
    root = read_data_root(write_part(tmp_path, "dfdc_train_part_0", entries))
    assert set(root.videos) == {"c", "r"}
    assert reasons(root) == {
        "dfdc_train_part_0/a.mp4": "its original gone is missing or unusable",
        "dfdc_train_part_0/b.mp4": "its original c is a fake itself",
    }


def test_missing_files_and_their_fakes_are_named(tmp_path):
    entries = {"r.mp4": REAL, "f.mp4": fake("r.mp4")}
    root = read_data_root(write_part(tmp_path, "dfdc_train_part_0", entries, missing=("r.mp4",)))
    assert not root.videos
    assert reasons(root)["dfdc_train_part_0/r.mp4"] == "the file is missing"


def test_ids_that_stand_in_two_parts_are_taken_once(tmp_path):
    write_part(tmp_path, "dfdc_train_part_0", {"a.mp4": REAL})
    write_part(tmp_path, "dfdc_train_part_1", {"a.mp4": REAL})
    root = read_data_root(tmp_path)
    assert root.videos["a"].part == "dfdc_train_part_0"
    assert "stands in dfdc_train_part_0 already" in reasons(root)["dfdc_train_part_1/a.mp4"]


@pytest.mark.parametrize(
    "name", ["../up.mp4", "/etc/passwd.mp4", "..", "sub/a.mp4", "back\\slash.mp4", ".hidden.mp4", ""]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    root = read_data_root(write_part(tmp_path, "dfdc_train_part_0", {name: REAL, "r.mp4": REAL}, missing=(name,)))
    assert set(root.videos) == {"r"} and len(root.problems) == 1


@pytest.mark.parametrize("name", ["a\rb.mp4", "a\x1b[2Jb.mp4", "\udcff.mp4"])
def test_names_that_no_table_can_hold_are_refused(tmp_path, name):
    root = tmp_path / "root"
    write_part(root, "dfdc_train_part_0", {name: REAL}, missing=[name])
    (root / "dfdc_train_part_0" / name).write_bytes(b"x")
    assert list(reasons(read_data_root(root)).values()) == ["its name is not a plain file name; refused"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"label": "real"}, "neither REAL nor FAKE"),
        ({}, "its label is None"),
        ("REAL", "not an object"),
        ({"label": "FAKE"}, "its original is None"),
        (fake("../r.mp4"), "not the name of a video"),
        (fake(["r.mp4"]), "not the name of a video"),
    ],
)
def test_odd_entries_are_named(tmp_path, entry, reason):
    root = read_data_root(write_part(tmp_path, "dfdc_train_part_0", {"a.mp4": entry, "r.mp4": REAL}))
    assert set(root.videos) == {"r"}
    assert reason in reasons(root)["dfdc_train_part_0/a.mp4"]


@pytest.mark.parametrize("content", ["not json", "[1, 2]", "3", "\ufeff", "[" * 100_000])
def test_metadata_that_cannot_be_read_is_a_problem_of_its_part_alone(tmp_path, content):
    write_part(tmp_path, "dfdc_train_part_0", content)
    write_part(tmp_path, "dfdc_train_part_1", {"r.mp4": REAL})
    root = read_data_root(tmp_path)
    assert set(root.videos) == {"r"}
    assert "dfdc_train_part_0/metadata.json" in reasons(root)


def test_part_without_metadata_is_named(tmp_path):
    (tmp_path / "dfdc_train_part_0").mkdir()
    write_part(tmp_path, "dfdc_train_part_1", {"r.mp4": REAL})
    assert reasons(read_data_root(tmp_path)) == {"dfdc_train_part_0": "has no metadata.json"}


def test_roots_without_parts_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        read_data_root(tmp_path / "nothing")
    with pytest.raises(UserError, match="no part in it"):
        read_data_root(tmp_path)
    write_part(tmp_path, "dfdc_train_part_0", {"r.mp4": REAL})
    with pytest.raises(UserError, match="is a part itself"):
        read_data_root(tmp_path / "dfdc_train_part_0")
