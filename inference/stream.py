"""The stream from videos to scores: decoding, detection and classification of successive videos overlap.

Decoder threads read at most `workers` videos ahead, one thread detects, the caller's thread classifies; results come in
the order of the videos. Frames of `workers` + 1 videos are in memory at most. Everything that shares a network batch
belongs to one video, so a label depends on its video alone, never on timing or on the number of workers.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import one_line
from faces.detector import FaceDetector, shrink
from faces.geometry import crop_face
from faces.video import Frames, VideoError
from inference.strategies import Strategy

if TYPE_CHECKING:
    from inference.ensemble import Ensemble

# The published kernel makes room for four faces a frame.
FACES_PER_FRAME = 4
# The label of a video about which nothing is known.
NO_SCORE = 0.5
# confident_strategy calls a video fake on twelve faces or more; with fewer it can only average.
FEW_FACES = 12
# Crops much under the network's 380 pixels hold little of the detail that gives a fake away.
SMALL_FACE = 64


@dataclass(frozen=True)
class Video:
    """A file to score and its name in the results; without a path it is known to be missing."""

    name: str
    path: Path | None


@dataclass
class Face:
    """A detected face: frame number, box (xmin, ymin, xmax, ymax) in pixels, detection score, P(fake) per network."""

    frame: int
    box: list[float]
    score: float
    probabilities: list[float] = field(default_factory=list)


@dataclass
class VideoScore:
    """What is known about one video. `error` says why it could not be scored at all; then `label` is 0.5."""

    filename: str
    label: float = NO_SCORE
    labels: dict[str, float] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class _Work:
    """A video on its way through the stages."""

    video: Video
    score: VideoScore
    frames: Frames | None = None
    inputs: list[np.ndarray] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)


def most_faces(num_frames: int) -> int:
    """How many faces of a video count: the published kernel never fills the last of its places."""
    return FACES_PER_FRAME * num_frames - 1


def score_videos(
    videos: Iterable[Video],
    read: Callable[[Path], Frames],
    detector: FaceDetector,
    ensemble: "Ensemble",
    strategy: Strategy,
    max_faces: int,
    workers: int = 2,
) -> Iterator[VideoScore]:
    """Score videos one by one, in their order; a video that fails carries its reason and does not stop the others.

    `read` gives a video's frames, `max_faces` of whose faces at most are scored, in frame order.
    """
    decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    detection = ThreadPoolExecutor(1, thread_name_prefix="detect")
    in_flight: deque[Future[_Work]] = deque()
    try:
        for video in videos:
            decoded = decoders.submit(_decode, _Work(video, VideoScore(video.name)), read, detector.scale)
            # The detection thread waits for the decoder, so that this one never does.
            in_flight.append(detection.submit(lambda d=decoded: _detect(d.result(), detector, max_faces)))
            if len(in_flight) > workers:
                yield _classify(in_flight.popleft().result(), ensemble, strategy).score
        while in_flight:
            yield _classify(in_flight.popleft().result(), ensemble, strategy).score
    finally:
        # An abandoned or interrupted stream must not go on decoding what nobody waits for.
        decoders.shutdown(wait=False, cancel_futures=True)
        detection.shutdown(wait=False, cancel_futures=True)


def _stage(name: str) -> Callable:
    """Time a stage, and keep its failure on one video from reaching the others: the reason goes into the score."""

    def decorate(function: Callable) -> Callable:
        def run(work: _Work, *args) -> _Work:
            if work.score.error is not None:
                return work
            start = time.perf_counter()
            try:
                function(work, *args)
            except VideoError as error:
                work.score.error = one_line(error)
            except Exception as error:  # one item of a batch is isolated here; its reason is recorded
                work.score.error = f"{name} failed: {type(error).__name__}: {one_line(error)}"
            work.score.seconds[name] = round(time.perf_counter() - start, 4)
            return work

        return run

    return decorate


@_stage("decode")
def _decode(work: _Work, read: Callable[[Path], Frames], scale: float | None) -> None:
    if work.video.path is None:
        raise VideoError("is missing")
    work.frames = read(work.video.path)
    # Shrinking belongs to the decoder threads: PIL releases the interpreter, and the detector's thread is busy.
    work.inputs = [shrink(image, scale) for image in work.frames.images]
    height, width = work.frames.images[0].shape[:2]
    work.score.width, work.score.height = width, height
    work.score.frames = work.frames.indices
    work.score.warnings += work.frames.warnings


@_stage("detect")
def _detect(work: _Work, detector: FaceDetector, max_faces: int) -> None:
    images = work.frames.images
    left_out = 0
    found = detector.detect_shrunk(work.inputs, [image.shape[:2] for image in images])
    for index, image, detections in zip(work.frames.indices, images, found, strict=True):
        for box, score in zip(detections.boxes, detections.scores, strict=True):
            crop = crop_face(image, box)
            if len(work.crops) == max_faces:
                left_out += 1
            elif crop.size:
                work.crops.append(crop)
                work.score.faces.append(Face(index, [round(float(side), 2) for side in box], round(float(score), 5)))
    work.score.warnings += _face_warnings(work.score)
    if left_out:
        work.score.warnings.append(f"many faces: {left_out} beyond the first {max_faces} were left out")
    work.frames, work.inputs = None, []


@_stage("classify")
def _classify(work: _Work, ensemble: "Ensemble", strategy: Strategy) -> None:
    if not work.crops:
        return
    rows = ensemble.probabilities(work.crops)
    if not np.isfinite(rows).all():
        broken = ", ".join(name for name, row in zip(ensemble.names, rows, strict=True) if not np.isfinite(row).all())
        raise FloatingPointError(f"no finite output of {broken}; try --precision fp32")
    for face, column in zip(work.score.faces, rows.T, strict=True):
        face.probabilities = column.tolist()
    work.score.labels = {name: strategy(row) for name, row in zip(ensemble.names, rows, strict=True)}
    work.score.label = float(np.mean(list(work.score.labels.values())))
    work.crops = []


def _face_warnings(score: VideoScore) -> list[str]:
    """What makes a score less trustworthy, in words."""
    if not score.faces:
        return ["no face found"]
    warnings = []
    if len(score.faces) < FEW_FACES:
        warnings.append(f"few faces: {len(score.faces)} in {len(score.frames)} frames")
    sides = [min(face.box[2] - face.box[0], face.box[3] - face.box[1]) for face in score.faces]
    if np.median(sides) < SMALL_FACE:
        warnings.append(f"small faces: {np.median(sides):.0f} pixels wide")
    return warnings
