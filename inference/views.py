"""What of a video is shown to networks: single faces, face tracks, or sequences of faces apart in time.

A view names the frames it needs, and finds the faces in them. Views share the frames, so that a video is decoded once;
networks share views, so that its faces are detected once for each setting.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from faces.clips import (
    SEQUENCE_THRESHOLDS,
    brightened,
    choose_sequences,
    clip_frame,
    sequence_face,
    sequence_looks,
    square_crop,
)
from faces.detector import FaceDetector, shrink
from faces.geometry import crop_face
from faces.tracks import MAX_FRAMES, DetectorFactory, find_tracks_in_frames, track_detectors
from faces.video import Frames, evenly_spaced, read_file

if TYPE_CHECKING:
    import torch

    from training.tools.config import NetworkConfig, TrackLimits

# The published kernel makes room for four faces a frame.
FACES_PER_FRAME = 4
TRACK_PICTURES = ("clip", "tracked")
# What SE-ResNeXt50 of the clip system sees of a track.
TRACKED_FRAMES = 32


def most_faces(num_frames: int) -> int:
    """How many faces of a video count: the published kernel never fills the last of its places."""
    return FACES_PER_FRAME * num_frames - 1


@dataclass
class Sighting:
    """One face as one view saw it: frame numbers, its boxes there (n, 4) in pixels, the detector's certainty.

    `view` says which, `pictures` is what networks read (uint8 RGB), by what they call it: `frame` (h, w, 3); `clip`
    (t, 256, 256, 3); `tracked` a list of (s, s, 3); `sequence` (10, 160, 160, 3).
    """

    view: "View"
    frames: list[int]
    boxes: np.ndarray
    score: float
    pictures: dict[str, Sequence[np.ndarray] | np.ndarray] = field(repr=False)


@dataclass
class Seen:
    """What a view has made of a video's frames before its faces are looked for."""

    frames: Frames
    shrunk: list[np.ndarray] = field(default_factory=list)


class View(Protocol):
    """A way to look at a video; its methods are called in this order, `prepare` from several threads at once."""

    input: str  # what it looks for, as in a config: frame, clip or sequence

    def shows(self, config: "NetworkConfig") -> bool:
        """Whether it is the view of the network of `config`."""

    def wanted(self, num_frames: int) -> Iterable[int]:
        """The frames it needs of a video that has so many."""

    def prepare(self, frames: Frames) -> Seen:
        """Its own among the frames that were read, and what can be done before detection."""

    def find(self, seen: Seen) -> tuple[list[Sighting], list[str]]:
        """The faces, and warnings."""


class SingleFrames:
    """Every face of `num_frames` frames spread over the video (None: of all that were read), cut out on its own.

    At most `max_faces` of them count, in frame order.
    """

    input = "frame"

    def __init__(self, detector: FaceDetector, num_frames: int | None, max_faces: int):
        self.detector, self.num_frames, self.max_faces = detector, num_frames, max_faces

    def shows(self, config: "NetworkConfig") -> bool:
        return picture_of(config) == "frame"

    def wanted(self, num_frames: int) -> list[int]:
        return list(range(num_frames)) if self.num_frames is None else evenly_spaced(num_frames, self.num_frames)

    def prepare(self, frames: Frames) -> Seen:
        chosen = frames if self.num_frames is None else frames.at(self.wanted(frames.num_frames))
        # PyTorch releases the interpreter here, and the detector's thread is busy.
        return Seen(chosen, [shrink(image, self.detector.scale) for image in chosen.images])

    def find(self, seen: Seen) -> tuple[list[Sighting], list[str]]:
        sightings, left_out = [], 0
        found = self.detector.detect_shrunk(seen.shrunk, [image.shape[:2] for image in seen.frames.images])
        for index, image, detections in zip(seen.frames.indices, seen.frames.images, found, strict=True):
            for box, score in zip(detections.boxes, detections.scores, strict=True):
                crop = crop_face(image, box)
                if len(sightings) == self.max_faces:
                    left_out += 1
                elif crop.size:
                    sightings.append(Sighting(self, [index], box[None], float(score), {"frame": crop}))
        if not left_out:
            return sightings, []
        return sightings, [f"many faces: {left_out} beyond the first {self.max_faces} were left out"]


class FaceTracks:
    """The faces that stay for a while in the first hundred frames.

    `clip_frames` is the most that any network wants of a clip, 0: none; `squares`: whether one wants tracked frames.
    """

    input = "clip"

    def __init__(self, make_detector: DetectorFactory, limits: "TrackLimits", clip_frames: int, squares: bool):
        self.make_detector, self.limits = make_detector, limits
        self.clip_frames, self.squares = clip_frames, squares

    def shows(self, config: "NetworkConfig") -> bool:
        return picture_of(config) in TRACK_PICTURES and config.tracks == self.limits

    def wanted(self, num_frames: int) -> range:
        return range(min(num_frames, MAX_FRAMES))

    def prepare(self, frames: Frames) -> Seen:
        return Seen(frames.at(self.wanted(frames.num_frames)))

    def find(self, seen: Seen) -> tuple[list[Sighting], list[str]]:
        frames, limits = seen.frames, self.limits
        tracks = find_tracks_in_frames(
            frames, frames.num_frames, self.make_detector, limits.min_detections, limits.min_probability
        )
        images = dict(zip(frames.indices, frames.images, strict=True))
        sightings = []
        for track in tracks:
            there = [i for i in range(track.first_frame, track.last_frame + 1) if i in images]
            pictures = {}
            if self.clip_frames:
                clip = [clip_frame(images[i], track.union) for i in there[: self.clip_frames]]
                pictures["clip"] = np.stack(clip)
            if self.squares:
                boxes = track.square_boxes(TRACKED_FRAMES)
                places = [(i, i - track.first_frame) for i in there if i - track.first_frame < len(boxes)]
                pictures["tracked"] = [square_crop(images[i], boxes[place]) for i, place in places]
            sightings.append(Sighting(self, track.frames.tolist(), track.boxes, track.probability, pictures))
        return sightings, []


class FaceSequences:
    """Ten faces each of up to three people that are seen in most of fifteen frames."""

    input = "sequence"

    def __init__(self, detector: FaceDetector):
        self.detector = detector

    def shows(self, config: "NetworkConfig") -> bool:
        return picture_of(config) == "sequence"

    def wanted(self, num_frames: int) -> list[int]:
        return sequence_looks(num_frames)

    def prepare(self, frames: Frames) -> Seen:
        chosen = frames.at(self.wanted(frames.num_frames))
        chosen.images = [brightened(image) for image in chosen.images]
        return Seen(chosen, [shrink(image, self.detector.scale) for image in chosen.images])

    def find(self, seen: Seen) -> tuple[list[Sighting], list[str]]:
        frames = seen.frames
        found = self.detector.detect_shrunk(seen.shrunk, [image.shape[:2] for image in frames.images])
        images = dict(zip(frames.indices, frames.images, strict=True))
        scores = {
            (index, tuple(box)): score
            for index, detections in zip(frames.indices, found, strict=True)
            for box, score in zip(detections.boxes.tolist(), detections.scores.tolist(), strict=True)
        }
        sightings = []
        for sequence in choose_sequences(frames.indices, [detections.boxes for detections in found]):
            places = list(zip(sequence.frames, sequence.boxes, strict=True))
            faces = np.stack([sequence_face(images[index], box) for index, box in places])
            score = float(np.mean([scores[index, tuple(box.tolist())] for index, box in places]))
            sightings.append(Sighting(self, sequence.frames, sequence.boxes, score, {"sequence": faces}))
        return sightings, []


def picture_of(config: "NetworkConfig") -> str:
    """Which of a sighting's pictures a network reads."""
    return "tracked" if config.input == "frame" and config.tracked else config.input


def views_for(
    configs: Sequence["NetworkConfig"], num_frames: int, device: "str | torch.device", scale: float | None
) -> list[View]:
    """The fewest views that show the networks of `configs` all that they read; other `tracks` are another view."""
    kinds = {picture_of(config) for config in configs}
    views: list[View] = []
    if "frame" in kinds:
        views.append(SingleFrames(FaceDetector(device=device, scale=scale), num_frames, most_faces(num_frames)))
    tracking = [config for config in configs if picture_of(config) in TRACK_PICTURES]
    make_detector = track_detectors(device)
    for limits in dict.fromkeys(config.tracks for config in tracking):
        alike = [config for config in tracking if config.tracks == limits]
        longest = max((config.frames for config in alike if config.input == "clip"), default=0)
        squares = any(config.input == "frame" for config in alike)
        views.append(FaceTracks(make_detector, limits, longest, squares))
    if "sequence" in kinds:
        views.append(FaceSequences(FaceDetector(SEQUENCE_THRESHOLDS, device, scale)))
    return views


def reader_for(
    views: Sequence[View], read: Callable[[Path, Callable[[int], Iterable[int]]], Frames] = read_file
) -> Callable[[Path], Frames]:
    """Reads what all `views` need of a video file in one pass, or the one frame of an image, by means of `read`."""
    return lambda path: read(path, lambda count: {int(i) for view in views for i in view.wanted(count)})
