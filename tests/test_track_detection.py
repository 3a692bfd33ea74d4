"""Looking for the faces that tracks are made of: the tries of the detector, and real and generated videos."""

import numpy as np
import pytest

from demo.sample_videos import make_sample_root
from faces.detector import Detections, FaceDetector
from faces.mtcnn import SCALE_FACTOR
from faces.tracks import LOW_THRESHOLDS, PYRAMID_FACTOR, THRESHOLDS, find_tracks_in_frames, looked_at, track_detectors
from faces.video import Frames, read_evenly, read_frames
from tests.track_scenes import spans

# Middles of the face in brtujopkby.mp4, marked by eye in the frames shown at their full size (x, y in pixels).
MARKED_CENTRES = {0: (688, 690), 20: (690, 698), 40: (688, 690), 60: (672, 687), 80: (665, 682)}


def find_tracks(video, make_detector, **limits):
    """The tracks of a video that is not read yet."""
    frames = read_frames(video, looked_at)
    return find_tracks_in_frames(frames, frames.num_frames, make_detector, **limits)


class FakeDetector:
    """Finds `boxes` in every frame with the n-th of the detectors made, and nothing before."""

    def __init__(self, successful: int, boxes=((300, 200, 400, 300), (800, 200, 900, 300))):
        self.made: list[tuple[tuple[float, ...], float]] = []
        self.successful, self.boxes, self.seen = successful, np.array(boxes, np.float32), []

    def make(self, thresholds, scale):
        self.made.append((thresholds, scale))
        return self

    def detect(self, frames):
        self.seen = [int(frame[0, 0, 0]) for frame in frames]
        boxes = self.boxes if len(self.made) == self.successful else np.zeros((0, 4), np.float32)
        scores = np.linspace(0.9, 0.95, len(boxes)).astype(np.float32)
        return [Detections(boxes, scores, np.zeros((len(boxes), 5, 2), np.float32)) for _ in frames]


def numbered_frames(indices, size=(720, 1280)) -> Frames:
    """Black frames whose first pixel says which one it is."""
    images = [np.zeros((*size, 3), np.uint8) for _ in indices]
    for image, index in zip(images, indices, strict=True):
        image[0, 0] = index
    return Frames(images, list(indices))


def test_detector_is_tried_at_twice_the_size_then_with_low_thresholds_for_one_track():
    quarter = 0.25 * 1920 / 1280
    tries = [(THRESHOLDS, quarter), (THRESHOLDS, 2 * quarter), (LOW_THRESHOLDS, 2 * quarter)]
    frames = numbered_frames(range(0, 100, 10))
    for successful, count in ((1, 2), (2, 2), (3, 1), (4, 0)):
        fake = FakeDetector(successful)
        tracks = find_tracks_in_frames(frames, 300, fake.make)
        assert fake.made == tries[:successful]
        assert len(tracks) == count and spans(tracks) == [(0, 99)] * count
        if tracks:
            assert tracks[0].probability == pytest.approx(0.95)


def test_published_thresholds():
    assert (THRESHOLDS, LOW_THRESHOLDS, PYRAMID_FACTOR) == ((0.8, 0.8, 0.9), (0.5, 0.5, 0.5), 0.71)


def test_every_tenth_of_the_first_hundred_frames_is_looked_at():
    fake = FakeDetector(1)
    tracks = find_tracks_in_frames(numbered_frames(range(130)), 130, fake.make)
    assert fake.seen == list(range(0, 100, 10))
    assert spans(tracks) == [(0, 99)] * 2
    find_tracks_in_frames(numbered_frames(range(45)), 45, (short := FakeDetector(1)).make)
    assert short.seen == [0, 10, 20, 30, 40]


def test_frame_that_is_missing_is_bridged():
    tracks = find_tracks_in_frames(numbered_frames([0, 10, 30, 40]), 50, FakeDetector(1).make)
    assert spans(tracks) == [(0, 49)] * 2
    assert tracks[0].frames.tolist() == [0, 10, 30, 40]
    assert find_tracks_in_frames(Frames([], []), 50, FakeDetector(1).make) == []


def test_limits_reach_the_tracks():
    frames = numbered_frames([0, 10, 20])
    assert len(find_tracks_in_frames(frames, 30, FakeDetector(1).make, min_probability=0.93)) == 1
    assert find_tracks_in_frames(frames, 30, FakeDetector(1).make, min_detections=4) == []


def test_detectors_are_kept_for_videos_of_one_size():
    make = track_detectors()
    one = make(THRESHOLDS, 0.25)
    assert one.mtcnn.thresholds == THRESHOLDS and one.scale == 0.25 and one.mtcnn.factor == PYRAMID_FACTOR
    assert make(THRESHOLDS, 0.25) is one and make(THRESHOLDS, 0.5) is not one
    assert FaceDetector().mtcnn.factor == SCALE_FACTOR


def test_pyramid_factor_is_facenet_pytorchs(video):
    from facenet_pytorch import MTCNN

    frames = read_evenly(video, 2).images
    for factor in (0.71, 0.6):
        reference = MTCNN(margin=0, thresholds=list(THRESHOLDS), factor=factor).eval()
        detector = FaceDetector(THRESHOLDS, scale=1.0, pyramid_factor=factor)
        for frame, found in zip(frames, detector.detect(frames), strict=True):
            boxes, _ = reference.detect(frame)
            assert len(found) == len(boxes) > 0
            assert np.abs(found.boxes - boxes.astype(float)).max() < 0.01


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory):
    """A generated video of 72 frames with two faces side by side."""
    root = tmp_path_factory.mktemp("two_faces")
    return make_sample_root(root, seconds=2.4, width=640, height=360, videos=["gtyoqwmdre"])[0]


@pytest.fixture(scope="module")
def make_detector():
    return track_detectors()


def test_two_people_are_two_tracks(two_faces, make_detector, detector):
    tracks = find_tracks(two_faces, make_detector)
    assert spans(tracks) == [(0, 71), (0, 71)]
    frames = read_frames(two_faces, lambda count: [5, 33, 66])
    for index, found in zip(frames.indices, detector.detect(frames.images), strict=True):
        assert len(found) == 2
        centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        for track in tracks:
            box, square = track.boxes_at([index])[0], track.square_boxes()[index - track.first_frame]
            for outer in (box, square, track.union):
                assert inside(centres, outer).sum() == 1


def inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    return ((points > box[:2]) & (points < box[2:])).all(axis=-1)


def test_short_video_has_tracks_to_its_last_frame(videos, make_detector):
    tracks = find_tracks(videos / "dfdc_train_part_3" / "gtyoqwmdre.mp4", make_detector)
    assert spans(tracks) == [(0, 26), (0, 26)]
    assert find_tracks(videos / "dfdc_train_part_3" / "gtyoqwmdre.mp4", make_detector, min_detections=4) == []


def test_real_face_is_where_a_human_sees_it(samples, make_detector):
    tracks = find_tracks(samples / "test_videos" / "brtujopkby.mp4", make_detector)
    assert spans(tracks) == [(0, 99)]
    frames = list(MARKED_CENTRES)
    centres = np.array([MARKED_CENTRES[index] for index in frames], float)
    for box, square, centre in zip(tracks[0].boxes_at(frames), tracks[0].square_boxes()[frames], centres, strict=True):
        assert inside(centre, box) and inside(centre, square) and inside(centre, tracks[0].union)
        # The face nearly fills its box: a box several times as large would hold the centre just as well.
        assert (box[2:] - box[:2] < (150, 200)).all()
