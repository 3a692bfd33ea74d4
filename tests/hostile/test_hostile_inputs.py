"""Hostile files other than videos: each is refused in one line, or read without harm."""

import csv
import io
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError, exit_on_user_error, one_line
from common.spreadsheets import FORMULA_BEGINS, as_text, from_text
from evaluation.predictions import read_predictions
from inference.results import Results
from inference.stream import Video, VideoScore
from preprocessing.data_root import read_data_root
from preprocessing.extract_clips import read_tracks
from preprocessing.extract_crops import read_boxes
from preprocessing.generate_landmarks import read_png
from preprocessing.runner import StageError
from tests.hostile.mutations import flip_anywhere
from training.datasets.classifier_dataset import _read_points
from training.datasets.epoch_dataset import UnreadableCropError, read_image
from training.datasets.folds import read_folds
from training.tools.checkpoints import CheckpointError, load_checkpoint, read_checkpoint
from training.tools.config import NetworkConfig, read_config

# Files are written anew for every example into the one folder of the test.
examples = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
numbers = st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3)


@examples
@given(
    st.dictionaries(
        st.text(max_size=260).map(lambda name: f"{name}.mp4"),
        anything
        | st.fixed_dictionaries(
            {"label": st.sampled_from(["REAL", "FAKE"]) | anything, "original": st.text() | anything}
        ),
        max_size=4,
    )
    | anything
)
def test_any_metadata_leaves_the_videos_of_other_parts(tmp_path, content):
    for part in ("dfdc_train_part_0", "dfdc_train_part_1"):
        (tmp_path / part).mkdir(exist_ok=True)
    (tmp_path / "dfdc_train_part_0" / "metadata.json").write_text(json.dumps(content))
    (tmp_path / "dfdc_train_part_1" / "r.mp4").touch()
    (tmp_path / "dfdc_train_part_1" / "metadata.json").write_text(json.dumps({"r.mp4": {"label": "REAL"}}))
    root = read_data_root(tmp_path)
    assert list(root.videos) == ["r"]
    assert len(root.problems) == (len(content) if isinstance(content, dict) else 1)


def test_name_that_no_file_can_have_is_a_missing_file(tmp_path):
    (tmp_path / "dfdc_train_part_0").mkdir()
    name = "影" * 150 + ".mp4"  # over 255 bytes
    (tmp_path / "dfdc_train_part_0" / "metadata.json").write_text(json.dumps({name: {"label": "REAL"}}))
    (problem,) = read_data_root(tmp_path).problems
    assert problem.reason == "the file is missing (File name too long)"


@examples
@given(
    anything | st.dictionaries(st.integers(-10, 10**9).map(str), st.lists(st.lists(numbers, max_size=5)), max_size=3)
)
def test_any_boxes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    with suppress(StageError):
        boxes = read_boxes(path)
        assert all(frame >= 0 and found.shape[1:] == (4,) for frame, found in boxes.items())


track = st.fixed_dictionaries({"first": numbers, "last": numbers, "box": st.lists(numbers, min_size=3, max_size=5)})
sequence = st.fixed_dictionaries({"frames": st.lists(numbers, max_size=2), "boxes": st.lists(st.lists(numbers))})


@examples
@given(
    anything
    | st.fixed_dictionaries(
        {"clips": st.dictionaries(st.text(max_size=5), st.lists(track, max_size=2)), "sequences": st.lists(sequence)}
    )
)
def test_any_tracks_are_read_or_refused(tmp_path, content):
    path = tmp_path / "tracks.json"
    path.write_text(json.dumps(content))
    with suppress(StageError):
        read = read_tracks(path)
        assert all(start.isdecimal() for start in read["clips"])


@pytest.mark.parametrize("start", ["../../up", "/etc/x", "", "1/2", "-1"])
def test_tracks_that_would_name_a_clip_elsewhere_are_refused(tmp_path, start):
    good = {"first": 0, "last": 30, "box": [1, 2, 3, 4]}
    (tmp_path / "t.json").write_text(json.dumps({"clips": {"0": [good]}, "sequences": []}))
    assert read_tracks(tmp_path / "t.json")["clips"]["0"][0]["last"] == 30
    (tmp_path / "t.json").write_text(json.dumps({"clips": {start: [good]}, "sequences": []}))
    with pytest.raises(StageError, match="is not a file of tracks"):
        read_tracks(tmp_path / "t.json")


@pytest.mark.parametrize("last", [10**12, -1])
def test_tracks_of_countless_frames_are_refused(tmp_path, last):
    track = {"first": 0, "last": last, "box": [1, 2, 3, 4]}
    (tmp_path / "t.json").write_text(json.dumps({"clips": {"0": [track]}, "sequences": []}))
    with pytest.raises(StageError, match="is not a file of tracks"):
        read_tracks(tmp_path / "t.json")


@examples
@given(st.text() | st.lists(st.lists(st.text(max_size=6), max_size=7), max_size=5))
def test_any_table_of_folds_is_read_or_refused(tmp_path, content):
    text = io.StringIO()
    csv.writer(text).writerow(("video", "file", "label", "original", "frame", "fold"))
    if isinstance(content, str):
        text = io.StringIO(content)
    else:
        csv.writer(text).writerows(content)
    path = tmp_path / "folds.csv"
    path.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")
    with suppress(UserError):
        read_folds(path)


@examples
@given(anything | st.dictionaries(st.sampled_from(["size", "network", "optimizer", "encoder", "frames"]), anything))
def test_any_config_is_read_or_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with suppress(UserError):
        read_config(path)


@examples
@given(st.randoms(use_true_random=False))
def test_damaged_crops_and_points_are_read_or_refused(tmp_path, rng):
    np.save(tmp_path / "points.npy", np.zeros((5, 2), np.int16))
    cv2.imwrite(str(tmp_path / "crop.png"), np.zeros((20, 20, 3), np.uint8))
    for name in ("points.npy", "crop.png"):
        (tmp_path / name).write_bytes(flip_anywhere((tmp_path / name).read_bytes(), rng))
    for read in (
        lambda: _read_points(tmp_path / "points.npy", 5, "landmarks"),
        lambda: read_image(tmp_path / "crop.png", cv2.IMREAD_COLOR),
        lambda: read_png(tmp_path / "crop.png", cv2.IMREAD_COLOR),
    ):
        with suppress(UnreadableCropError, StageError):
            read()


def test_crop_that_announces_billions_of_pixels_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "crop.png"), np.zeros((20, 20, 3), np.uint8))
    content = bytearray((tmp_path / "crop.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "crop.png").write_bytes(content)
    with pytest.raises(UnreadableCropError, match="not a readable image"):
        read_image(tmp_path / "crop.png", cv2.IMREAD_COLOR)
    with pytest.raises(StageError, match="not a readable image"):
        read_png(tmp_path / "crop.png", cv2.IMREAD_COLOR)


def test_points_that_announce_terabytes_are_refused(tmp_path):
    with (tmp_path / "points.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (1 << 42, 2)})
    with pytest.raises(UnreadableCropError, match="not a readable array"):
        _read_points(tmp_path / "points.npy", 5, "landmarks")


def test_checkpoint_that_unpacks_to_more_than_it_has_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "plain") as plain, zipfile.ZipFile(tmp_path / "net", "w") as bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
        bomb.writestr("plain/data/0", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "net").stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"net: refused, it unpacks to 500\d+ bytes"):
        read_checkpoint(tmp_path / "net")


def test_checkpoint_of_huge_shapes_takes_no_memory_before_it_is_refused(tmp_path):
    huge = torch.zeros(1).expand(1 << 20, 1 << 20)  # a terabyte for its reader, four bytes in the file
    config = NetworkConfig(encoder="mobilenetv3_small_050").model_dump(mode="json")
    torch.save({"state_dict": {"fc.weight": huge}, "config": config}, tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"fc\.weight \[1048576, 1048576\] instead of"):
        load_checkpoint(tmp_path / "net")


@pytest.mark.parametrize("key", ["../../etc/passwd", "/abs", "a\nb", "\x1b[2Jcleared", "\u202egnp.exe", "=cmd"])
def test_odd_keys_of_a_checkpoint_are_one_harmless_line(tmp_path, capsys, key):
    config = NetworkConfig(encoder="mobilenetv3_small_050").model_dump(mode="json")
    torch.save({"state_dict": {key: torch.zeros(1)}, "config": config}, tmp_path / "net")
    with pytest.raises(SystemExit):
        exit_on_user_error(lambda: load_checkpoint(tmp_path / "net"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "1 unexpected: " in line and line.isprintable()


@examples
@given(st.randoms(use_true_random=False))
def test_damaged_checkpoints_are_read_or_refused(tmp_path, rng):
    torch.save({"state_dict": {"a": torch.zeros(9)}, "epoch": 3}, tmp_path / "net")
    (tmp_path / "net").write_bytes(flip_anywhere((tmp_path / "net").read_bytes(), rng))
    with suppress(CheckpointError):
        read_checkpoint(tmp_path / "net")


@examples
@given(st.text())
def test_text_of_a_cell_comes_back_and_never_begins_a_formula(cell):
    assert from_text(as_text(cell)) == cell
    assert not as_text(cell).startswith(FORMULA_BEGINS)


NAMES = ("=cmd|' /C calc'!A0.mp4", "+1.mp4", "@x.mp4", "-2.mp4", "'=quoted.mp4", "plain.mp4", "<script>.mp4")


def test_names_in_the_submission_are_exact_and_no_formulas_among_the_errors(tmp_path):
    out = tmp_path / "out.csv"
    with Results(out) as results:
        results.begin({})
        for name in NAMES:
            results.append((name, 1, 1), VideoScore(name, error="is empty (0 bytes)"))
        results.finish([Video(name, Path(name)) for name in NAMES], lambda record: {})
    with out.open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == list(NAMES)
    with Path(f"{out}.errors.csv").open(newline="") as file:
        assert not any(cell.startswith(FORMULA_BEGINS) for row in csv.reader(file) for cell in row)
    assert set(read_predictions(out, "run").reasons) == set(NAMES)


def test_what_a_terminal_would_obey_is_shown_as_it_is_written():
    assert one_line("a\x1b[2J\n\tb\u202ec \x9b") == r"a\x1b[2J b\u202ec \x9b"
    assert one_line(os.fsdecode(b"\xff.mp4 \xc3\xbc")) == r"\udcff.mp4 ü"
