"""What is found in a video for networks of each kind: frames read once, faces detected once, people numbered."""

import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from demo.sample_videos import make_sample_root
from faces.clips import square_crop
from faces.detector import FaceDetector
from faces.video import VideoFile
from inference.people import number_people
from inference.views import reader_for, views_for
from preprocessing import extract_clips
from training.tools.config import NetworkConfig

FRAME = NetworkConfig()
CLIP = NetworkConfig(input="clip", network="mc3_18", frames=16)
LONG_CLIP = NetworkConfig(input="clip", network="I3D", frames=40)
TRACKED = NetworkConfig(tracked=True)
SEQUENCE = NetworkConfig(input="sequence", network="MixNetLSTM", encoder="mixnet_m", frames=10, size=160)


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory):
    """A generated video of 60 frames with two people."""
    root = tmp_path_factory.mktemp("two")
    make_sample_root(root, seconds=2, width=640, height=360, videos=["gtyoqwmdre"])
    return next(root.rglob("gtyoqwmdre.mp4"))


def look(path, *configs, num_frames=6):
    """Everything the views of `configs` find in a video, with the views."""
    views = views_for(configs, num_frames, "cpu", None)
    frames = reader_for(views)(path)
    return views, [sighting for view in views for sighting in view.find(view.prepare(frames))[0]]


def test_networks_share_views():
    views = views_for([FRAME, SEQUENCE, CLIP, FRAME, LONG_CLIP, TRACKED, SEQUENCE], 32, "cpu", None)
    assert [view.input for view in views] == ["frame", "clip", "sequence"]
    assert views[1].clip_frames == 40 and views[1].squares
    assert not views_for([CLIP], 32, "cpu", None)[0].squares
    assert views_for([TRACKED], 32, "cpu", None)[0].clip_frames == 0


def test_other_limits_of_tracks_are_another_view():
    choosy = CLIP.model_copy(update={"tracks": CLIP.tracks.model_copy(update={"min_probability": 0.99})})
    views = views_for([CLIP, choosy], 32, "cpu", None)
    assert [[view.shows(config) for config in (CLIP, choosy)] for view in views] == [[True, False], [False, True]]


def test_video_is_decoded_once_and_faces_are_detected_once_for_each_setting(video, monkeypatch):
    read, detections = Counter(), Counter()
    frames, detect = VideoFile.frames, FaceDetector.detect_shrunk

    def counted_frames(self, indices):
        for index, image in frames(self, indices):
            read[index] += 1
            yield index, image

    def counted_detect(self, inputs, sizes):
        detections[self.mtcnn.thresholds] += 1
        return detect(self, inputs, sizes)

    monkeypatch.setattr(VideoFile, "frames", counted_frames)
    monkeypatch.setattr(FaceDetector, "detect_shrunk", counted_detect)
    _, sightings = look(video, FRAME, FRAME, CLIP, LONG_CLIP, TRACKED, SEQUENCE, SEQUENCE)
    assert set(read.values()) == {1} and sorted(read) == list(range(48))  # 48 frames, fewer than a hundred
    assert sorted(detections.values()) == [1, 1, 1]
    assert Counter(s.view.input for s in sightings) == {"frame": 6, "clip": 1, "sequence": 1}


def test_only_what_a_view_needs_is_read(video, monkeypatch):
    read = []
    frames = VideoFile.frames
    monkeypatch.setattr(
        VideoFile, "frames", lambda self, indices: read.append(sorted(indices)) or frames(self, indices)
    )
    look(video, FRAME)
    look(video, SEQUENCE)
    assert read == [[0, 9, 18, 28, 37, 47], np.unique(np.linspace(1, 47, 15).astype(int)).tolist()]


def test_pictures_are_what_the_networks_want(video):
    _, sightings = look(video, LONG_CLIP, TRACKED, SEQUENCE)
    clip, sequence = sightings
    assert clip.pictures["clip"].shape == (40, 256, 256, 3) and len(clip.pictures["tracked"]) == 32
    assert clip.frames == [0, 10, 20, 30, 40] and clip.boxes.shape == (5, 4) and clip.score > 0.9
    side = clip.pictures["tracked"][0].shape[0]
    assert all(square.shape == (side, side, 3) for square in clip.pictures["tracked"])
    assert side == pytest.approx(1.2 * (clip.boxes[:, 2:] - clip.boxes[:, :2]).max(), rel=0.1)
    assert sequence.pictures["sequence"].shape == (10, 160, 160, 3)
    assert len(sequence.frames) == 10 and sequence.boxes.shape == (10, 4) and 0.9 < sequence.score <= 1


def test_clip_begins_with_the_track_and_shows_its_union(video):
    _, (clip,) = look(video, CLIP)
    with VideoFile(video) as file:
        (frame,) = [image[..., ::-1] for _, image in file.frames([3])]
    left, top, right, bottom = clip.boxes[:, 0].min(), clip.boxes[:, 1].min(), clip.boxes[:, 2].max(), clip.boxes[:, 3].max()  # fmt: skip  # noqa: E501
    cut = frame[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
    height, width = (round(256 * n / max(cut.shape[:2])) for n in cut.shape[:2])
    seen = clip.pictures["clip"][3]
    assert seen[height + 1 :].max(initial=0) == seen[:, width + 1 :].max(initial=0) == 0
    resized = cv2.resize(np.ascontiguousarray(cut), (width, height))
    assert np.abs(seen[:height, :width].astype(int) - resized).mean() < 6


def test_sequence_is_the_one_that_step_six_writes(tmp_path, sample_root, video):
    part = shutil.copytree(sample_root / "dfdc_train_part_0", tmp_path / "dfdc_train_part_0")
    assert (part / video.name).is_file()
    assert extract_clips.main(["--root-dir", str(tmp_path), "--workers", "1"]) == 0
    strip = cv2.imread(str(tmp_path / "sequences" / video.stem / "0_0.png"), cv2.IMREAD_COLOR_RGB)
    _, (sequence,) = look(video, SEQUENCE)
    assert np.array_equal(np.hstack(list(sequence.pictures["sequence"])), strip)


def test_two_people_are_told_apart_in_every_view(two_faces):
    _, sightings = look(two_faces, FRAME, CLIP, SEQUENCE)
    people = number_people(sightings)
    assert sorted(set(people)) == [0, 1]
    sides = {}
    for person, sighting in zip(people, sightings, strict=True):
        sides.setdefault(person, []).append(float((sighting.boxes[:, 0] + sighting.boxes[:, 2]).mean() / 2))
    assert max(sides[0]) < min(sides[1]) or max(sides[1]) < min(sides[0])
    for kind in ("clip", "sequence"):
        assert sorted(p for p, s in zip(people, sightings, strict=True) if s.view.input == kind) == [0, 1]


def test_images_have_no_tracks(tmp_path, video):
    with VideoFile(video) as file:
        (frame,) = [image for _, image in file.frames([0])]
    cv2.imwrite(str(tmp_path / "one.png"), frame)
    _, sightings = look(tmp_path / "one.png", FRAME, CLIP, TRACKED, SEQUENCE)
    assert [s.view.input for s in sightings] == ["frame"]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2, 1, 4, 3), [[12, 13], [22, 23]]),
        ((-1, -1, 1, 1), [[0, 0], [0, 0]]),
        ((4, 2, 7, 5), [[24, 0, 0], [34, 0, 0], [0, 0, 0]]),
        ((9, 9, 11, 11), [[0, 0], [0, 0]]),
    ],
)
def test_square_crops_are_black_beyond_the_frame(box, expected):
    rows, columns = np.mgrid[:4, :5]
    frame = np.repeat((10 * rows + columns)[..., None], 3, axis=2).astype(np.uint8)
    assert square_crop(frame, np.array(box, float))[..., 0].tolist() == expected


def test_tracked_squares_show_their_own_frames(video):
    _, (track,) = look(video, TRACKED)
    with VideoFile(video) as file:
        images = {index: image[..., ::-1] for index, image in file.frames([0, 10, 20, 30])}
    for place, image in images.items():
        square = track.pictures["tracked"][place]
        left, top, right, bottom = track.boxes[track.frames.index(place)]
        side = square.shape[0]
        row, column = (int(low + high - side) // 2 for low, high in ((top, bottom), (left, right)))
        near = [image[row + r : row + r + side, column + c : column + c + side] for r in range(2) for c in range(2)]
        assert any(np.array_equal(square, part) for part in near)


@pytest.mark.parametrize(("least", "found"), [(5, 1), (6, 0)])
def test_tracks_that_are_seen_too_seldom_are_left_out(video, least, found):
    config = CLIP.model_copy(update={"tracks": CLIP.tracks.model_copy(update={"min_detections": least})})
    assert len(look(video, config)[1]) == found  # 48 frames, of which five are looked at


def test_dark_frames_are_brightened_for_sequences(video):
    views = views_for([SEQUENCE], 6, "cpu", None)
    frames = reader_for(views)(video)
    frames.images = [image // 3 for image in frames.images]
    (sequence,), _ = views[0].find(views[0].prepare(frames))
    assert sequence.pictures["sequence"].max() > 200
