"""The stream from videos to scores: decoding, detection and classification of successive videos overlap.

Decoder threads read at most `workers` videos ahead, one thread detects, the caller's thread classifies; results come in
the order of the videos. Frames of `workers` + 1 videos are in memory at most: of a video whose faces were found only
these are kept. On a CPU everything that shares a network batch belongs to one video. A GPU's batches hold faces of
several consecutive videos, have a constant size, and are made up by the order of the videos and the numbers of their
faces. So a label never depends on timing or on the number of workers.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import one_line
from common.places import Remote
from faces.video import Frames, VideoError
from inference.people import number_people
from inference.strategies import Rule
from inference.views import Seen, Sighting, View, picture_of

if TYPE_CHECKING:
    from inference.ensemble import Ensemble, Inputs

# Videos of a group at most: an interruption costs the work on those whose group is not complete.
LARGEST_GROUP = 16
# The label of a video about which nothing is known.
NO_SCORE = 0.5
# confident_strategy calls a video fake on twelve faces or more; with fewer it can only average.
FEW_FACES = 12
# Crops much under the network's 380 pixels hold little of the detail that gives a fake away.
SMALL_FACE = 64
# Mean gray level of a frame in which there is little to be seen.
DARK_FRAME = 40


@dataclass(frozen=True)
class Video:
    """A file to score and its name in the results; without a path it is known to be missing."""

    name: str
    path: Path | Remote | None


@dataclass
class Face:
    """A face in one frame: its box (xmin, ymin, xmax, ymax) in pixels, the detector's certainty, whose it is, and each
    network's P(fake); None where the network is not shown single faces.
    """

    frame: int
    box: list[float]
    score: float
    track: int
    probabilities: list[float | None] = field(default_factory=list)


@dataclass
class FaceTrack:
    """The same for a face through several frames, shown to networks of `input` (clip or sequence)."""

    track: int
    input: str
    frames: list[int]
    boxes: list[list[float]]
    score: float
    probabilities: list[float | None] = field(default_factory=list)


@dataclass
class VideoScore:
    """What is known about one video. `error` says why it could not be scored at all; then `label` is 0.5.

    `frames` are those whose single faces were looked for, `rate` is in frames a second; `track` numbers people across
    `faces` and `tracks`.
    """

    filename: str
    label: float = NO_SCORE
    labels: dict[str, float] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    num_frames: int = 0
    rate: float = 0.0
    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    tracks: list[FaceTrack] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class _Work:
    """A video on its way through the stages; `rows` (networks, sightings) are probabilities."""

    video: Video
    score: VideoScore
    seen: list[Seen] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    inputs: "Inputs | None" = None
    rows: np.ndarray | None = None


def score_videos(
    videos: Iterable[Video],
    read: Callable[[Path | Remote], Frames],
    views: Sequence[View],
    ensemble: "Ensemble",
    rule: Rule,
    workers: int = 2,
) -> Iterator[VideoScore]:
    """Score videos one by one, in their order; a video that fails carries its reason and does not stop the others.

    `read` gives a video's frames, in which `views` find what the networks of `ensemble` are shown.
    """
    decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    detection = ThreadPoolExecutor(1, thread_name_prefix="detect")
    gathering = ThreadPoolExecutor(1, thread_name_prefix="gather")
    from inference.devices import check_alive  # which imports torch

    try:
        groups = _groups(_detected(videos, read, views, workers, decoders, detection), ensemble)
        for group in _one_ahead(groups, gathering) if ensemble.grouped else groups:
            _classify_together(group, ensemble)
            for work in group:
                score = _classify(work, ensemble, rule).score
                if score.error:
                    check_alive(ensemble.device)  # else every further video would fail
                yield score
    finally:
        # An abandoned or interrupted stream must not go on decoding what nobody waits for.
        for threads in (decoders, detection, gathering):
            threads.shutdown(wait=False, cancel_futures=True)


def _detected(
    videos: Iterable[Video],
    read: Callable[[Path], Frames],
    views: Sequence[View],
    workers: int,
    decoders: Executor,
    detection: Executor,
) -> Iterator[_Work]:
    """The videos with their faces, in order; so many as are being decoded, and one more, have been begun."""
    in_flight: deque[Future[_Work]] = deque()
    for video in videos:
        decoded = decoders.submit(_decode, _Work(video, VideoScore(video.name)), read, views)
        # The detection thread waits for the decoder, so that this one never does.
        in_flight.append(detection.submit(lambda d=decoded: _detect(d.result(), views)))
        if len(in_flight) > workers:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()


def _groups(works: Iterable[_Work], ensemble: "Ensemble") -> Iterator[list[_Work]]:
    """Consecutive videos that the ensemble scores together, with the inputs of its networks."""
    group: list[_Work] = []
    for work in works:
        group.append(_prepare(work, ensemble))
        if len(group) == LARGEST_GROUP or ensemble.fills_group([w.inputs for w in group if w.inputs is not None]):
            yield group
            group = []
    if group:
        yield group


def _one_ahead(groups: Iterator[list[_Work]], thread: Executor) -> Iterator[list[_Work]]:
    """The same groups, each gathered in `thread` while the one before it is worked on."""
    coming = thread.submit(next, groups, None)
    while (group := coming.result()) is not None:
        coming = thread.submit(next, groups, None)
        yield group


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
            spent = work.score.seconds.get(name, 0) + time.perf_counter() - start
            work.score.seconds[name] = round(spent, 4)
            return work

        return run

    return decorate


@_stage("decode")
def _decode(work: _Work, read: Callable[[Path], Frames], views: Sequence[View]) -> None:
    if work.video.path is None:
        raise VideoError("is missing")
    frames, score = read(work.video.path), work.score
    seen = [view.prepare(frames) for view in views]
    score.height, score.width = frames.images[0].shape[:2]
    score.num_frames, score.rate = frames.num_frames, round(frames.rate, 3)
    score.warnings += frames.warnings
    dark = sum(image[::16, ::16].mean() < DARK_FRAME for image in frames.images)
    if 2 * dark > len(frames.images):
        score.warnings.append(f"dark frames: {dark} of {len(frames.images)}")
    work.seen = seen


@_stage("detect")
def _detect(work: _Work, views: Sequence[View]) -> None:
    score = work.score
    all_seen, work.seen = work.seen, []  # the frames go with it, even if this fails
    for view, seen in zip(views, all_seen, strict=True):
        sightings, warnings = view.find(seen)
        work.sightings += sightings
        if view.input == "frame":
            score.frames = seen.frames.indices
            if 0 < len(sightings) < FEW_FACES:
                warnings.insert(0, f"few faces: {len(sightings)} in {len(score.frames)} frames")
        score.warnings += warnings
    if not work.sightings:
        looked_for_any = any(view.input == "frame" for view in views)
        score.warnings.append("no face found" if looked_for_any else "no face that stays long enough")
        return
    sides = [np.median((s.boxes[:, 2:] - s.boxes[:, :2]).min(axis=1)) for s in work.sightings]
    if np.median(sides) < SMALL_FACE:
        score.warnings.append(f"small faces: {np.median(sides):.0f} pixels wide")


@_stage("classify")
def _prepare(work: _Work, ensemble: "Ensemble") -> None:
    if work.sightings:
        work.inputs = ensemble.inputs(work.sightings)
        for sighting in work.sightings:
            sighting.pictures.clear()


def _classify_together(group: Sequence[_Work], ensemble: "Ensemble") -> None:
    """The probabilities of several videos, if they can be had together."""
    works = [work for work in group if work.inputs is not None]
    if len(works) < 2:
        return
    start = time.perf_counter()
    try:
        rows = ensemble.score(*(work.inputs for work in works))
    except Exception:  # whose it is shows, and is recorded, when each is classified on its own
        return
    spent, end = time.perf_counter() - start, 0
    for work in works:
        begin, end = end, end + len(work.sightings)
        work.rows = rows[:, begin:end]
        work.score.seconds["classify"] += spent * len(work.sightings) / rows.shape[1]


@_stage("classify")
def _classify(work: _Work, ensemble: "Ensemble", rule: Rule) -> None:
    if not work.sightings:
        return
    score, sightings = work.score, work.sightings
    rows = ensemble.score(work.inputs) if work.rows is None else work.rows
    people = number_people(sightings)
    for member, row in zip(ensemble.members, rows, strict=True):
        kind, shown = picture_of(member.config), np.flatnonzero(~np.isnan(row))
        if not len(shown):
            continue
        # A track has its own probability already, whoever else is the same person.
        whose = [people[i] if kind == "frame" else i for i in shown]
        score.labels[member.name] = rule.network_label(row[shown].tolist(), whose, kind)
    without = [name for name in ensemble.names if name not in score.labels]
    if without:
        score.warnings.append(f"no face of the kind that {', '.join(without)} must be shown: not counted")
    score.label = rule.video_label(score.labels)
    for sighting, person, column in zip(sightings, people, rows.T, strict=True):
        boxes = [[round(float(side), 2) for side in box] for box in sighting.boxes]
        common = {
            "score": round(sighting.score, 5),
            "track": person,
            "probabilities": [None if np.isnan(p) else p for p in column.tolist()],
        }
        if sighting.view.input == "frame":
            score.faces.append(Face(frame=sighting.frames[0], box=boxes[0], **common))
        else:
            score.tracks.append(
                FaceTrack(input=sighting.view.input, frames=list(sighting.frames), boxes=boxes, **common)
            )
    work.sightings, work.inputs = [], None
