"""The stream: order, isolation of failures, bounded memory, what is handed to whom. Stands-in where nothing is seen."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faces.detector import NO_FACES, Detections, FaceDetector
from faces.video import Frames, VideoError, read_evenly
from inference.strategies import Rule
from inference.stream import Video, score_videos
from inference.views import Seen, Sighting, SingleFrames, reader_for
from training.tools.config import NetworkConfig

FRAME = np.full((40, 60, 3), 128, dtype=np.uint8)
ONE_FACE = Detections(np.array([[10, 10, 30, 30]], np.float32), np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))


class Eyes:
    """A detector that sees what it is told, and notes the inputs it gets."""

    def __init__(self, found=ONE_FACE, scale=1.0):
        self.found, self.scale, self.shapes = found, scale, []

    def detect_shrunk(self, inputs, sizes):
        self.shapes += [image.shape for image in inputs]
        if isinstance(self.found, Exception):
            raise self.found
        return [self.found] * len(inputs)


class Verdict:
    """An ensemble of two networks that gives every face the same probabilities."""

    names = ("a", "b")
    device = torch.device("cpu")
    grouped = False
    members = tuple(SimpleNamespace(name=name, config=NetworkConfig()) for name in names)

    def __init__(self, *values):
        self.values = values or (0.25, 0.75)

    def inputs(self, sightings):
        return [[[face] for face in sightings]]

    def fills_group(self, videos):
        return True

    def score(self, *videos):
        if isinstance(self.values[0], Exception):
            raise self.values[0]
        return np.tile(np.array(self.values)[:, None], sum(len(faces) for (faces,) in videos))


def run(videos, read=lambda path: Frames([FRAME], [0]), eyes=None, verdict=None, workers=2, strategy=np.mean):
    videos = [Video(name, Path(name)) for name in videos]
    views = [SingleFrames(eyes or Eyes(), None, max_faces=7)]
    return score_videos(videos, read, views, verdict or Verdict(), Rule(strategy), workers=workers)


def test_results_come_in_order_whichever_is_ready_first():
    second_is_done = threading.Event()

    def read(path):
        if path.name == "first":
            assert second_is_done.wait(10)
        else:
            second_is_done.set()
        return Frames([FRAME], [0])

    assert [score.filename for score in run(["first", "second", "third"], read)] == ["first", "second", "third"]


def test_label_is_the_mean_of_the_networks_labels():
    (score,) = run(["v"], strategy=lambda row: float(row[0]) ** 2)
    assert score.labels == {"a": 0.0625, "b": 0.5625} and score.label == pytest.approx(0.3125)


def test_finished_score_does_not_wait_for_the_next_video():
    release = threading.Event()

    def read(path):
        assert path.name == "quick" or release.wait(10)
        return Frames([FRAME], [0])

    scores = run(["quick", "slow", "slower"], read, workers=2)
    assert next(scores).filename == "quick"
    release.set()
    assert len(list(scores)) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_few_videos_are_read_ahead(workers):
    started, lock, most = [], threading.Lock(), 0

    def read(path):
        with lock:
            started.append(path.name)
        return Frames([FRAME], [0])

    for done, _ in enumerate(run([str(n) for n in range(30)], read, workers=workers), start=1):
        most = max(most, len(started) - done)
    assert len(started) == 30
    assert most <= workers + 1


@pytest.mark.parametrize("error", [VideoError("is broken"), ValueError("bad\nvalue"), MemoryError("huge")])
def test_failure_of_one_video_does_not_touch_the_others(error):
    def read(path):
        if path.name == "bad":
            raise error
        return Frames([FRAME], [0])

    good, bad, other = run(["good", "bad", "other"], read)
    assert good.label == other.label == 0.5 and good.error is other.error is None and good.labels
    assert bad.label == 0.5 and not bad.labels
    assert bad.error == ("is broken" if isinstance(error, VideoError) else f"decode failed: {type(error).__name__}: "
                         + str(error).replace("\n", " "))  # fmt: skip


def test_failing_detector_and_network_are_reasons_too():
    (score,) = run(["v"], eyes=Eyes(RuntimeError("no kernel")))
    assert score.error == "detect failed: RuntimeError: no kernel"
    (score,) = run(["v"], verdict=Verdict(FloatingPointError("no finite output of b")))
    assert score.error == "classify failed: FloatingPointError: no finite output of b"
    assert score.label == 0.5 and not score.labels


def test_missing_video_is_named():
    (score,) = score_videos([Video("ghost", None)], read_evenly, [], Verdict(), Rule(np.mean))
    assert score.error == "is missing"


def test_no_face_is_no_error():
    (score,) = run(["v"], eyes=Eyes(NO_FACES))
    assert (score.label, score.error, score.warnings) == (0.5, None, ["no face found"])


def test_warnings_of_the_reader_are_kept():
    (score,) = run(["v"], lambda path: Frames([FRAME] * 12, list(range(12)), ["breaks off"]))
    assert "breaks off" in score.warnings


def test_small_and_few_faces_are_warned_of():
    (score,) = run(["v"])
    assert score.warnings == ["few faces: 1 in 1 frames", "small faces: 20 pixels wide"]


def test_detector_gets_frames_at_its_own_scale():
    eyes = Eyes(scale=0.5)
    list(run(["v"], eyes=eyes))
    assert eyes.shapes == [(20, 30, 3)]


def test_abandoned_stream_stops_reading():
    read_names = []

    def read(path):
        read_names.append(path.name)
        return Frames([FRAME], [0])

    stream = run([str(n) for n in range(100)], read)
    next(stream)
    stream.close()
    assert len(read_names) < 10


class Script:
    """A view that finds what it is told, shown to networks of clips."""

    input = "clip"

    def __init__(self, *boxes):
        self.boxes = boxes

    def prepare(self, frames):
        return Seen(frames)

    def find(self, seen):
        return [Sighting(self, [0], np.array([box], np.float32), 1.0, {}) for box in self.boxes], []


def test_every_track_counts_though_two_are_of_one_person():
    """Two tracks of one face, one of another: the mean over three, not over two."""
    verdict = Verdict()
    verdict.members = [SimpleNamespace(name="a", config=NetworkConfig(input="clip"))]
    verdict.score = lambda *videos: np.array([[0.2, 0.8, 0.5]])
    views = [Script((0, 0, 10, 10), (0, 0, 10, 10), (50, 50, 60, 60))]
    videos = [Video("v", Path("v"))]
    (score,) = score_videos(videos, lambda path: Frames([FRAME], [0]), views, verdict, Rule(np.max))
    assert score.labels["a"] == pytest.approx(0.5)
    assert [(track.frames, track.probabilities) for track in score.tracks] == [([0], [0.2]), ([0], [0.8]), ([0], [0.5])]


def test_golden_faces_come_through_the_stream(samples, golden):
    expected = golden("inference_faces.json")["519_515.mp4"]
    path = samples / "parity" / "dfdc_train_part_0" / "519_515.mp4"
    views = [SingleFrames(FaceDetector(scale=0.5), 32, max_faces=127)]
    (score,) = score_videos([Video("v", path)], reader_for(views), views, Verdict(), Rule(np.mean))
    assert [face.frame for face in score.faces] == [face["frame"] for face in expected]
    assert np.allclose([face.score for face in score.faces], [face["score"] for face in expected], atol=1e-3)
