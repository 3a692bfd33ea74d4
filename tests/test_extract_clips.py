"""Step 6: tracks of the originals, clips and sequences of all videos, and their tables."""

import json
import shutil

import cv2
import numpy as np
import pytest

from common.errors import UserError
from faces.clips import (
    CLIP_SIDE,
    SEQUENCE_FRAMES,
    SEQUENCE_SIDE,
    brightened,
    choose_sequences,
    clip_frame,
    sequence_face,
    sequence_looks,
)
from faces.video import VideoFile
from preprocessing import extract_clips
from preprocessing.extract_clips import read_tracks
from preprocessing.runner import StageError
from tests.conftest import read_csv


def frames_of(path):
    with VideoFile(path) as file:
        return [frame for _, frame in file.frames(range(file.frame_count))]


def test_every_video_has_a_clip_of_its_whole_length_and_a_sequence(clipped):
    _, *rows = read_csv(clipped / "clips.csv")
    assert len(rows) == 6 and {row[2] for row in rows} == {"0", "1"}
    for video, file, *_ in rows:
        frames = frames_of(clipped / "clips" / video / file)
        assert len(frames) == 54 and frames[0].shape == (CLIP_SIDE, CLIP_SIDE, 3)
    _, *rows = read_csv(clipped / "sequences.csv")
    assert len(rows) == 6
    for video, file, *_ in rows:
        strip = cv2.imread(str(clipped / "sequences" / video / file))
        assert strip.shape == (SEQUENCE_SIDE, SEQUENCE_FRAMES * SEQUENCE_SIDE, 3)


def test_clips_show_the_face_at_nearly_no_loss(clipped):
    _, (video, file, *_), *_ = read_csv(clipped / "clips.csv")
    original = read_csv(clipped / "clips.csv")[1][3]
    track = json.loads((clipped / "tracks" / f"{original}.json").read_text())["clips"]["0"][0]
    source = frames_of(next(clipped.glob(f"dfdc_train_part_*/{video}.mp4")))
    stored = frames_of(clipped / "clips" / video / file)
    expected = [clip_frame(frame, np.array(track["box"])) for frame in source]
    differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(stored, expected, strict=True)]
    assert max(differences) < 2.5


def test_step_resumes_and_redoes_what_is_missing(clipped, tmp_path, capsys):
    root = shutil.copytree(clipped, tmp_path / "root")
    video = read_csv(root / "clips.csv")[1][0]
    shutil.rmtree(root / "sequences" / video)
    capsys.readouterr()
    assert extract_clips.main(["--root-dir", str(root)]) == 0
    output = capsys.readouterr().out
    assert "track_faces: 0 done, 3 skipped" in output and "extract_clips: 1 done, 5 skipped" in output
    assert (root / "sequences" / video / "0_0.png").exists()
    shutil.rmtree(root / "clips" / video)
    assert extract_clips.main(["--root-dir", str(root)]) == 0
    assert "extract_clips: 1 done, 5 skipped" in capsys.readouterr().out and (root / "clips" / video).exists()


def test_other_settings_are_refused(clipped, tmp_path):
    root = shutil.copytree(clipped, tmp_path / "root")
    with pytest.raises(UserError, match=r"track_faces was run with --min-probability 0\.0"):
        extract_clips.main(["--root-dir", str(root), "--min-probability", "0.5"])


@pytest.mark.parametrize("value", ["7", "nan", "-0.1", "x"])
def test_probability_is_one(value, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        extract_clips.main(["--root-dir", str(tmp_path), "--min-probability", value])
    assert "is not a number from 0 to 1" in capsys.readouterr().err


def test_real_videos_alone_need_a_word_before_the_work(clipped, tmp_path, capsys):
    root = shutil.copytree(clipped, tmp_path / "root")
    for path in root.glob("*/metadata.json"):
        entries = json.loads(path.read_text())
        path.write_text(json.dumps({name: entry for name, entry in entries.items() if entry["label"] == "REAL"}))
    capsys.readouterr()
    with pytest.raises(UserError, match="--with-unpaired"):
        extract_clips.main(["--root-dir", str(root)])
    assert not capsys.readouterr().out
    assert extract_clips.main(["--root-dir", str(root), "--with-unpaired"]) == 0
    assert {row[2] for row in read_csv(root / "clips.csv")[1:]} == {"0"}


@pytest.mark.parametrize("content", ["", "[]", '{"clips": {"0": [{"first": 0}]}, "sequences": []}', '{"clips": {}}'])
def test_odd_tracks_are_a_reason_not_a_crash(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(StageError, match=r"x\.json is not a file of tracks"):
        read_tracks(tmp_path / "x.json")


def test_clips_of_other_settings_are_gone_before_new_ones_are_made(clipped, tmp_path):
    root = shutil.copytree(clipped, tmp_path / "root")
    gone, *_ = sorted(path.name for path in (root / "clips").iterdir() if path.is_dir())
    next(root.glob(f"dfdc_train_part_*/{gone}.mp4")).write_bytes(b"junk")
    extract_clips.main(["--root-dir", str(root), "--overwrite", "--min-probability", "0.5"])
    assert not (root / "clips" / gone).exists() and not (root / "sequences" / gone).exists()
    assert gone not in {row[0] for row in read_csv(root / "clips.csv")}


def test_clip_frame_is_padded_at_the_right_or_bottom_only():
    frame = np.full((100, 200, 3), 200, np.uint8)
    tall = clip_frame(frame, np.array([10.0, 0, 60, 100]), side=100)
    assert (tall[:, :50] == 200).all() and not tall[:, 50:].any()
    wide = clip_frame(frame, np.array([0.0, 20, 100, 70]), side=100)
    assert (wide[:50] == 200).all() and not wide[50:].any()


@pytest.mark.parametrize("box", [(-50, -50, -10, -10), (300, 0, 400, 50), (5, 5, 5, 5)])
def test_boxes_outside_give_black(box):
    frame = np.full((100, 200, 3), 200, np.uint8)
    assert not clip_frame(frame, np.array(box, float)).any()
    assert not sequence_face(frame, np.array(box, float)).any() or box == (5, 5, 5, 5)


def test_sequence_face_has_fourteen_of_160_pixels_around_it():
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[100:246, 100:246] = 255  # 146 pixels, 160 with the margin
    face = sequence_face(frame, np.array([100.0, 100, 246, 246]))
    inside = np.flatnonzero(face[80, :, 0] > 127)
    assert (inside[0], inside[-1]) == (7, 152)


def test_dark_frames_are_brightened_to_the_full_range():
    dark = np.array([[[0, 50, 100]]], np.uint8)
    assert brightened(dark).tolist() == [[[0, 127, 255]]]
    bright = np.array([[[0, 50, 150]]], np.uint8)
    assert brightened(bright) is bright
    black = np.zeros((1, 1, 3), np.uint8)
    assert brightened(black) is black


@pytest.mark.parametrize(
    ("count", "first", "last", "number"), [(300, 1, 299, 15), (16, 1, 15, 15), (5, 1, 4, 4), (1, 0, 0, 1)]
)
def test_sequences_look_at_fifteen_frames_from_the_second_to_the_last(count, first, last, number):
    looks = sequence_looks(count)
    assert (looks[0], looks[-1], len(looks)) == (first, last, number)


def people(*presence):
    """Boxes of 15 frames in which person k, in a place of their own, is present where presence[k] is true."""
    places = [np.array([100.0 + 200 * k, 100, 180 + 200 * k, 200]) for k in range(len(presence))]
    return [np.array([places[k] for k, there in enumerate(presence) if there[i]]).reshape(-1, 4) for i in range(15)]


always, often, seldom = [True] * 15, [True] * 11 + [False] * 4, [True] * 5 + [False] * 10


@pytest.mark.parametrize(
    ("presence", "number"),
    [
        ((always,), 1),
        ((always, always), 2),
        ((always, often), 2),
        ((always, seldom), 1),
        ((always,) * 3, 3),
        ((seldom,), 0),
    ],
    ids=["one", "two", "two often", "second seldom", "three", "never enough"],
)
def test_as_many_sequences_as_faces_in_most_frames(presence, number):
    sequences = choose_sequences(range(15), people(*presence))
    assert len(sequences) == number
    for sequence in sequences:
        assert len(sequence.frames) == SEQUENCE_FRAMES and sequence.boxes.shape == (SEQUENCE_FRAMES, 4)
        assert len(np.unique(sequence.boxes[:, 0])) == 1  # one person


def test_sequences_are_of_the_frames_with_as_many_faces():
    alone_at_first = people(always, [False] * 5 + [True] * 10)
    assert [sequence.frames for sequence in choose_sequences(range(15), alone_at_first)] == [list(range(5, 15))] * 2
    with_another = people(always, seldom)
    assert [sequence.frames for sequence in choose_sequences(range(15), with_another)] == [list(range(5, 15))]


def test_person_who_moves_far_between_two_frames_stays_the_same():
    boxes = people(always, always)
    for found in boxes[7:]:
        found[1] += 300  # almost four faces to the right and three down
    still, moved = sorted(choose_sequences(range(15), boxes), key=lambda sequence: sequence.boxes[0, 0])
    assert len(np.unique(still.boxes[:, 0])) == 1
    assert np.unique(moved.boxes[:, 0]).tolist() == [300, 600]
    (alone,) = choose_sequences(range(15), [found[1:] for found in boxes])
    assert np.unique(alone.boxes[:, 0]).tolist() == [300, 600]


def test_steadiest_face_is_taken_where_no_number_of_faces_is_frequent():
    boxes = people(always, [True] * 6 + [False] * 9, [False] * 3 + [True] * 3 + [False] * 4 + [True] * 5)
    assert sorted({sum(len(found) == k for found in boxes) for k in (1, 2, 3)})[-1] < SEQUENCE_FRAMES
    (sequence,) = choose_sequences(range(15), boxes)
    assert np.unique(sequence.boxes[:, 0]).tolist() == [100]


def test_video_whose_clips_cannot_be_kept_does_not_count_as_done(clipped, tmp_path):
    root = shutil.copytree(clipped, tmp_path / "root")
    video = read_csv(root / "clips.csv")[1][0]
    shutil.rmtree(root / "sequences" / video)
    shutil.rmtree(root / "clips" / video)
    (root / "clips" / video).write_bytes(b"a file where the folder belongs")
    assert extract_clips.main(["--root-dir", str(root)]) == 0
    assert not (root / "sequences" / video).exists()


def test_same_frames_make_the_same_bytes(tmp_path):
    frames = [np.full((CLIP_SIDE, CLIP_SIDE, 3), level, np.uint8) for level in (0, 90, 200)]
    for name in ("a.mkv", "b.mkv"):
        with extract_clips.ClipWriter(tmp_path / name) as writer:
            for frame in frames:
                writer.write(frame)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
