"""The training root: pairs over several folds, fakes that a single frame gives away by softness but not by colour."""

import json
from itertools import combinations

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from demo.sample_videos import make_sample_root
from demo.training_videos import frames, main, make_training_root, table
from faces.geometry import crop_bounds
from preprocessing.data_root import FAKE, REAL, Video, read_data_root
from preprocessing.generate_folds import fold_of

PAIRS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root of six pairs."""
    folder = tmp_path_factory.mktemp("training")
    make_training_root(folder, pairs=PAIRS)
    return folder


@pytest.fixture(scope="module")
def decoded(root):
    """Every tenth frame of each pair's real and fake video: six times two (6, h, w, 3) uint8 RGB."""
    paths = make_training_root(root, pairs=PAIRS)
    return [
        (read_frames(real)[::10], read_frames(fake)[::10]) for real, fake in zip(paths[::2], paths[1::2], strict=True)
    ]


@pytest.fixture(scope="module")
def found(decoded, detector):
    """Detections in the frames of each real video."""
    return [detector.detect(list(real)) for real, _ in decoded]


@pytest.fixture(scope="module")
def crops(decoded, found):
    """(original frame, fake frame, ellipse) of each pair's frames, cut to the face crop; the ellipse is bool (h, w)."""
    pairs = []
    for (reals, fakes), detections in zip(decoded, found, strict=True):
        pairs.append([])
        for real, fake, detection in zip(reals, fakes, detections, strict=True):
            box = detection.boxes[0]
            middle, axes = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 0.45
            ellipse = cv2.ellipse(
                np.zeros(real.shape[:2]), middle.astype(int), axes.astype(int), 0, 0, 360, 1, cv2.FILLED
            )
            top, bottom, left, right = crop_bounds(box, *real.shape[:2])
            pairs[-1].append([picture[top:bottom, left:right] for picture in (real, fake, ellipse > 0)])
    return pairs


def read_frames(path):
    """All frames of a video, (frames, h, w, 3) uint8 RGB."""
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (item := capture.read())[0]:
        pictures.append(cv2.cvtColor(item[1], cv2.COLOR_BGR2RGB))
    return np.stack(pictures)


def per_video(crops, measure):
    """Means over each video's frames of `measure(crop, ellipse)`: those of the real videos, those of the fakes."""
    return [np.array([np.mean([measure(crop[which], crop[2]) for crop in pair]) for pair in crops]) for which in (0, 1)]


def brightness(crop, ellipse):
    return crop[ellipse].mean()


def sharpness(crop, ellipse):
    """Variance of the Laplacian in the face relative to its surroundings."""
    edges = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return edges[ellipse].var() / edges[~ellipse].var()


def auc(reals, fakes):
    """Share of (real, fake) in which the real one has the larger value."""
    return roc_auc_score([1] * len(reals) + [0] * len(fakes), [*reals, *fakes])


def snapshot(root):
    """Content and time of every file below `root` by relative path."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_every_fake_lies_beside_its_original_and_every_original_has_one(root):
    index = read_data_root(root)
    assert not index.problems
    assert sorted(fake.original for fake in index.fakes) == sorted(real.id for real in index.reals)
    assert len(index.reals) == PAIRS
    assert all(fake.part == index.videos[fake.original].part for fake in index.fakes)
    assert {str(video.path.relative_to(root)) for video in index.videos.values()} == {
        str(path.relative_to(root)) for path in root.rglob("*.mp4")
    }


def test_a_third_of_sixty_pairs_are_in_fold_0_and_the_others_in_several_folds():
    videos = [Video(row.id, row.path, row.path.parent.name, REAL) for row in table()[:120:2]]
    folds = [fold_of(video) for video in videos]
    assert folds.count(0) == 20
    assert {fold: folds.count(fold) for fold in set(folds) - {0}} == dict.fromkeys(range(1, 6), 8)


def test_ids_are_unique_strings_of_both_kinds_among_reals_and_fakes():
    for label, rows in ((REAL, table()[:120:2]), (FAKE, table()[1:120:2])):
        numeric = [row.id for row in rows if row.id.isdecimal()]
        assert len(numeric) == 20, label
        assert all(len(row.id) == 10 for row in rows if not row.id.isdecimal())
    assert "004" in {row.id for row in table()[:120]}
    assert len({row.id for row in table()}) == len(table())


def test_videos_are_short_and_small(root):
    for path in root.rglob("*.mp4"):
        assert read_frames(path).shape == (54, 320, 416, 3)


def test_the_detector_finds_the_one_face_in_every_tenth_frame(found):
    assert [[len(detection) for detection in video] for video in found] == [[1] * 6] * PAIRS


def test_face_crops_are_of_the_size_that_networks_take(crops):
    # Measured over 60 pairs: 170 to 257 pixels high, 202 in the middle; clipped at the frame they would be smaller.
    heights = [real.shape[0] for pair in crops for real, _, _ in pair]
    assert min(heights) >= 160 and max(heights) <= 260
    assert 180 <= np.median(heights) <= 225


def test_a_fake_differs_from_its_original_a_little_in_the_face_and_less_around_it(crops):
    # Measured over 60 pairs: 4.7 to 8.6 gray levels.
    for pair in crops:
        inside, outside = [], []
        for real, fake, ellipse in pair:
            difference = np.abs(real.astype(int) - fake).mean(axis=-1)
            inside.append(difference[ellipse].mean())
            outside.append(difference[~ellipse].mean())
        assert 1.5 < np.mean(inside) < 10
        assert np.mean(inside) > 1.5 * np.mean(outside)


def test_fake_faces_are_softer_than_real_ones(crops):
    reals, fakes = per_video(crops, sharpness)
    # Measured over 60 pairs: 1.04 and 0.39 on average, and an AUC of 1.
    assert (fakes < 0.7 * reals).all()
    assert auc(reals, fakes) >= 0.95


def test_softness_outlives_a_small_network_input(crops):
    small = [
        [
            [cv2.resize(picture.astype(np.uint8), (96, 128), interpolation=cv2.INTER_AREA) for picture in crop]
            for crop in pair
        ]
        for pair in crops
    ]
    reals, fakes = per_video(small, lambda crop, ellipse: sharpness(crop, ellipse > 0))
    assert auc(reals, fakes) >= 0.9


@pytest.mark.parametrize("channel", [0, 1, 2, slice(None)])
def test_face_colour_does_not_tell_fakes_from_reals(crops, channel):
    reals, fakes = per_video(crops, lambda crop, ellipse: brightness(crop[..., channel], ellipse))
    assert 0.25 < auc(reals, fakes) < 0.75


def test_some_fakes_are_brighter_than_their_originals_and_some_darker(crops):
    reals, fakes = per_video(crops, brightness)
    assert min(fakes - reals) < -0.5 and max(fakes - reals) > 0.5
    assert np.abs(fakes - reals).max() < 6


def test_no_two_pairs_look_alike(decoded):
    first = [
        cv2.resize(real[0], None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(int) for real, _ in decoded
    ]
    # Measured over 60 pairs: 20 gray levels at least.
    assert min(np.abs(a - b).mean() for a, b in combinations(first, 2)) > 10


def test_before_encoding_nothing_but_the_face_differs():
    real, fake = (np.stack(list(frames(row, 777, num_frames=3)))[:, :320] for row in table()[:2])
    changed = (real != fake).any(axis=0)
    assert changed.mean() < 0.2
    ys, xs = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 0.2 * 320 < np.ptp(ys) < 0.6 * 320 and 0.2 * 320 < np.ptp(xs) < 0.6 * 320


def test_one_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, again, other = (
        [path.read_bytes() for path in make_training_root(tmp_path / name, pairs=1, seed=seed)]
        for name, seed in (("a", 777), ("b", 777), ("c", 778))
    )
    assert first == again
    assert first[0] != other[0] and first[1] != other[1]


def test_a_root_grows_and_keeps_what_it_has(tmp_path):
    make_training_root(tmp_path, pairs=1)
    before = snapshot(tmp_path)
    paths = make_training_root(tmp_path, pairs=2, seed=1)
    after = snapshot(tmp_path)
    assert paths == [tmp_path / row.path for row in table()[:4]] and all(path.exists() for path in paths)
    assert before.items() < after.items()
    # Fewer pairs again: nothing is taken away or written anew.
    assert make_training_root(tmp_path, pairs=1) == paths[:2]
    assert snapshot(tmp_path) == after
    assert len(read_data_root(tmp_path).videos) == 4


def test_overwrite_renders_anew(tmp_path):
    paths = make_training_root(tmp_path, pairs=1)
    before = [path.read_bytes() for path in paths]
    make_training_root(tmp_path, pairs=1, seed=1, overwrite=True)
    assert all(path.read_bytes() != old for path, old in zip(paths, before, strict=True))


def test_the_command_line_says_what_it_wrote(root, capsys):
    assert main([str(root), "--pairs", str(PAIRS)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{root}: 0 videos written, 12 kept, ")


@pytest.mark.parametrize(
    "bad", [["--pairs", "0"], ["--pairs", "1001"], ["--pairs", "some"], ["--seed", "-1"], ["--no"]]
)
def test_bad_arguments_end_in_one_line_and_status_2(tmp_path, capsys, bad):
    try:
        status = main([str(tmp_path), *bad])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training_videos: ")
    assert snapshot(tmp_path) == {}


def test_another_data_set_stays_as_it_is(tmp_path, capsys):
    make_sample_root(tmp_path, seconds=0.1, width=128, height=72, videos=["004", "519"])
    before = snapshot(tmp_path)
    assert main([str(tmp_path), "--pairs", "1"]) == 2
    assert "choose an empty folder" in capsys.readouterr().err
    assert snapshot(tmp_path) == before
    labels = json.loads((tmp_path / "dfdc_train_part_0" / "metadata.json").read_text())
    assert set(labels) == {"004.mp4", "519.mp4"}
