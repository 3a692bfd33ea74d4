"""Face tracks: which of the faces detected in several frames of a video are one face.

The way of the fifth-placed solution of the challenge ("The Medics"): the boxes of every tenth frame are filled into a
boolean volume of time, rows and columns, and what hangs together there is a track. People whose boxes touch become one
track, a face that moves by more than its own size between two looks becomes two.

`find_tracks_in_frames` does all of it, `build_tracks` only what comes after detection. `assign_faces` numbers faces
found elsewhere, in any frames, by the track they belong to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment

from faces.detector import FaceDetector
from faces.video import Frames

if TYPE_CHECKING:
    import torch

# Recipe of the published solution. Its detector sees a frame of 1920 pixels at a quarter of its size.
STEP = 10
MAX_FRAMES = 100
MIN_DETECTIONS = 3
MAX_TRACKS = 5
DETECTOR_SIDE = 0.25 * 1920
PYRAMID_FACTOR = 0.71
THRESHOLDS = (0.8, 0.8, 0.9)
LOW_THRESHOLDS = (0.5, 0.5, 0.5)
# Thresholds, longer side of the detector's input and number of tracks, tried in this order until there is a track.
PASSES = (
    (THRESHOLDS, DETECTOR_SIDE, MAX_TRACKS),
    (THRESHOLDS, 2 * DETECTOR_SIDE, MAX_TRACKS),
    (LOW_THRESHOLDS, 2 * DETECTOR_SIDE, 1),
)
SQUARE_MARGIN = 1.2
SQUARE_PERCENTILE = 90

# A face is nobody's whose centre is further from every track than a face is wide; see `_distances`.
FARTHEST = 1.0

DetectorFactory = Callable[[tuple[float, ...], float], FaceDetector]


@dataclass(frozen=True, eq=False)
class Track:
    """One face through the frames `first_frame` to `last_frame` of a video, both included.

    `frames` (n,) int64 are the frames in which it was detected, `boxes` (n, 4) float32 (xmin, ymin, xmax, ymax) its
    boxes there in pixels of the frame, possibly reaching beyond it; several boxes of one frame are joined to one.
    `probability` (0-1) is the mean over all its detections, `union` (4,) float32 the box around all its boxes, cut at
    the frame's edges.
    """

    first_frame: int
    last_frame: int
    frames: np.ndarray
    boxes: np.ndarray
    probability: float
    union: np.ndarray

    @property
    def num_frames(self) -> int:
        return self.last_frame - self.first_frame + 1

    def boxes_at(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """The box at any `frames` (k,): (k, 4) float64, interpolated between detections, held before and after."""
        return np.stack([np.interp(frames, self.frames, side) for side in self.boxes.T], axis=1)

    def square_boxes(self, num_frames: int | None = None) -> np.ndarray:
        """A square box for each of the first `num_frames` frames (None: all; never more than the track has).

        Returns (k, 4) float64. All have one size, 1.2 x the 90th percentile of all widths and heights; the centres are
        interpolated. They may reach beyond the frame.
        """
        count = self.num_frames if num_frames is None else min(num_frames, self.num_frames)
        side = SQUARE_MARGIN * np.percentile(self.boxes[:, 2:] - self.boxes[:, :2], SQUARE_PERCENTILE)
        boxes = self.boxes_at(self.first_frame + np.arange(count))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.concatenate([centres - side / 2, centres + side / 2], axis=1)


def build_tracks(
    boxes: Sequence[np.ndarray],
    probabilities: Sequence[np.ndarray],
    frame_size: tuple[int, int],
    num_frames: int | None = None,
    *,
    step: int = STEP,
    max_frames: int = MAX_FRAMES,
    min_detections: int = MIN_DETECTIONS,
    min_probability: float = 0.0,
    max_tracks: int = MAX_TRACKS,
    volume_side: float = DETECTOR_SIDE,
) -> list[Track]:
    """The tracks among the detections of every `step`-th frame, by mean probability, highest first.

    `boxes` (k, 4) in pixels of the frame and `probabilities` (k,) of each looked-at frame, from frame 0 on;
    `frame_size` is (height, width). A track from the a-th to the b-th of these frames reaches from frame a * step to
    (b + 1) * step - 1, at most to the end of the video (`num_frames`; None: unknown) and over `max_frames`; detections
    behind that are dropped. Tracks detected in fewer than `min_detections` frames or less probable than
    `min_probability` on average are left out, and of the others the best `max_tracks` kept.

    The volume's longer side has at most `volume_side` pixels, by default those of the detector's input: boxes less than
    one of them apart touch, which is as exact as the boxes are, and a 4K video takes megabytes instead of a gigabyte.
    """
    volume, corners = _volume(boxes, frame_size, volume_side)
    components, _ = label(_bridged(volume), structure=np.ones((3, 3, 3)))
    members: dict[int, list[tuple[int, int]]] = {}
    for (position, face), (row, column) in corners.items():
        members.setdefault(components[position, row, column], []).append((position, face))

    height, width = frame_size
    tracks = []
    for faces in members.values():
        start = faces[0][0] * step
        end = min(start + max_frames, *([] if num_frames is None else [num_frames]), (faces[-1][0] + 1) * step)
        faces = [(position, face) for position, face in faces if position * step < end]
        positions = sorted({position for position, _ in faces})
        probability = float(np.mean([probabilities[position][face] for position, face in faces]))
        if len(positions) < min_detections or probability < min_probability:
            continue
        joined = np.stack([_around([boxes[p][face] for p, face in faces if p == position]) for position in positions])
        union = _around(joined).clip(0, (width, height, width, height))
        tracks.append(Track(start, end - 1, np.array(positions) * step, joined, probability, union))
    return sorted(tracks, key=lambda track: track.probability, reverse=True)[:max_tracks]


def _volume(
    boxes: Sequence[np.ndarray], frame_size: tuple[int, int], longer_side: float
) -> tuple[np.ndarray, dict[tuple[int, int], tuple[int, int]]]:
    """The boxes of each looked-at frame filled into a boolean (frame, row, column) of at most `longer_side`.

    Also one filled pixel (row, column) of each box by (frame, place in it), in that order; a box outside of the frame
    has none.
    """
    scale = min(longer_side / max(frame_size), 1)
    rows, columns = (int(np.ceil(side * scale)) for side in frame_size)
    volume = np.zeros((len(boxes), rows, columns), dtype=bool)
    corners = {}
    for position, faces in enumerate(boxes):
        for face, box in enumerate(faces):
            left, top, right, bottom = np.floor(np.asarray(box, np.float64) * scale).astype(int)
            # No face may vanish between two pixels; negative places would count from the other end.
            right, bottom = max(right, left + 1), max(bottom, top + 1)
            left, top, right, bottom = max(left, 0), max(top, 0), min(right, columns), min(bottom, rows)
            if left < right and top < bottom:
                volume[position, top:bottom, left:right] = True
                corners[position, face] = top, left
    return volume, corners


def _bridged(volume: np.ndarray) -> np.ndarray:
    """The volume with each frame without any box filled where both its neighbours are."""
    volume = volume.copy()
    filled = volume.any(axis=(1, 2))
    for position in range(1, len(volume) - 1):
        if not filled[position]:
            volume[position] = volume[position - 1] & volume[position + 1]
    return volume


def _around(boxes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The smallest box (4,) float32 around all of `boxes` (n, 4)."""
    boxes = np.asarray(boxes, np.float32)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def track_detectors(device: "str | torch.device" = "cpu") -> DetectorFactory:
    """Makes the detectors for `find_tracks_in_frames` from thresholds and scale; those in use of late are kept."""

    @lru_cache(maxsize=8)
    def make_detector(thresholds: tuple[float, ...], scale: float) -> FaceDetector:
        return FaceDetector(thresholds, device, scale, PYRAMID_FACTOR)

    return make_detector


def looked_at(num_frames: int) -> range:
    """The frames of a video in which its faces are looked for: every tenth of the first hundred."""
    return range(0, min(num_frames, MAX_FRAMES), STEP)


def find_tracks_in_frames(
    frames: Frames,
    num_frames: int,
    make_detector: DetectorFactory,
    min_detections: int = MIN_DETECTIONS,
    min_probability: float = 0.0,
) -> list[Track]:
    """The face tracks in the first 100 frames of a video, at most five, the most probable first.

    Of `frames`, RGB and of one size, those are looked at that `looked_at` names; one that is not there is one without a
    face. `num_frames` is how many the video has. `make_detector(thresholds, scale)` gives a detector, see
    `track_detectors`. Where no track is found, it is tried again with the frames at twice the size, then with low
    thresholds too, of which only the best track is trusted.
    """
    images = dict(zip(frames.indices, frames.images, strict=True))
    wanted = looked_at(num_frames)
    seen = [index for index in wanted if index in images]
    if len(seen) < min_detections:
        return []
    height, width = images[seen[0]].shape[:2]
    for thresholds, side, max_tracks in PASSES:
        detector = make_detector(thresholds, side / max(height, width))
        found = dict(zip(seen, detector.detect([images[index] for index in seen]), strict=True))
        tracks = build_tracks(
            [found[index].boxes if index in found else np.zeros((0, 4), np.float32) for index in wanted],
            [found[index].scores if index in found else np.zeros(0, np.float32) for index in wanted],
            (height, width),
            num_frames,
            min_detections=min_detections,
            min_probability=min_probability,
            max_tracks=max_tracks,
            volume_side=side,
        )
        if tracks:
            return tracks
    return []


def assign_faces(
    frames: Sequence[int],
    boxes: Sequence[np.ndarray],
    tracks: Sequence[Track] | None = None,
    farthest: float = FARTHEST,
) -> list[np.ndarray]:
    """The number of the track that each face belongs to: per frame (k,) int64, -1 for a face of no track.

    `frames` are any frames, each with its `boxes` (k, 4). A track has at most one face of a frame; frame by frame the
    faces go where they are nearest, measured from where the track's detections put it, behind them from where it was
    seen last. Without `tracks` the faces make their own: one that is nobody's starts a track, numbered from 0 in order
    of appearance. What is farther than `farthest` is another's; inf: a face is new only if no track is left for it.
    """
    known = [] if tracks is None else list(tracks)
    latest = [track.boxes[-1] for track in known]
    numbers: list[np.ndarray] = [np.zeros(0, np.int64)] * len(frames)
    for index in np.argsort(frames, kind="stable"):
        faces = np.asarray(boxes[index], np.float64).reshape(-1, 4)
        references = list(latest)
        for number, track in enumerate(known):
            if frames[index] <= track.frames[-1]:
                references[number] = track.boxes_at([frames[index]])[0]
        chosen = _nearest(np.array(references, np.float64).reshape(-1, 4), faces, farthest)
        for face in range(len(faces)):
            if chosen[face] < 0 and tracks is None:
                chosen[face] = len(latest)
                latest.append(faces[face])
            elif chosen[face] >= 0:
                latest[chosen[face]] = faces[face]
        numbers[index] = chosen
    return numbers


def _nearest(references: np.ndarray, faces: np.ndarray, farthest: float) -> np.ndarray:
    """For each of `faces` (k, 4) the one of `references` (m, 4) that is its alone, (k,); -1: all are too far away.

    The pairs are the nearest in sum, where a face or a track left alone counts as if it were just too far away.
    """
    distances = _distances(references, faces)
    chosen = np.full(len(faces), -1, np.int64)
    for number, face in zip(*linear_sum_assignment(distances.clip(max=farthest)), strict=True):
        if distances[number, face] <= farthest:
            chosen[face] = number
    return chosen


def _distances(references: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """How unlike boxes (m, 4) and (k, 4) are, (m, k): centres' distance in mean sides plus the logarithm of the sides'
    ratio. A neighbour is at 1 or more, and so is a face 2.7 times as large in the same place.
    """
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (references, faces)]
    sides = [np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(min=1)) for boxes in (references, faces)]
    apart = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2)
    mean_side = (sides[0][:, None] + sides[1][None]) / 2
    return apart / mean_side + np.abs(np.log(sides[0][:, None] / sides[1][None]))
