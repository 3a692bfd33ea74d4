"""Frames of a video or an image file as RGB arrays, read one after another so that memory follows what is kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class VideoError(Exception):
    """A file from which no frame can be read. The message says why, without the file's name."""


@dataclass
class Frames:
    """Frames of one video: `images` are (h, w, 3) uint8 RGB, `indices` their positions in the video."""

    images: list[np.ndarray]
    indices: list[int]
    warnings: list[str] = field(default_factory=list)


def evenly_spaced(frame_count: int, num_frames: int) -> list[int]:
    """`num_frames` positions from the first to the last frame, truncated to int, repeats taken once."""
    return np.unique(np.linspace(0, frame_count - 1, num_frames).astype(int)).tolist()


def open_video(path: str | Path) -> cv2.VideoCapture:
    """Open `path` with OpenCV's FFmpeg reader; VideoError if there is no video stream in it.

    The absolute path keeps FFmpeg from reading a name with a colon as a protocol.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if path.is_dir():
        raise VideoError("is a directory")
    if size == 0:
        raise VideoError("is empty (0 bytes)")
    try:
        name = str(path.absolute()).encode().decode()
    except UnicodeEncodeError as error:  # OpenCV crashes on such a name
        raise VideoError("has a name that is not valid UTF-8; rename it") from error
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise VideoError("has no readable video stream (not a video, audio only, or broken)")
    return capture


def count_frames(path: str | Path) -> int:
    """Number of frames the container announces; where it announces none, the frames are counted by reading."""
    capture = open_video(path)
    try:
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if announced > 0:
            return announced
        counted = 0
        while capture.grab():
            counted += 1
        return counted
    finally:
        capture.release()


def read_at(path: str | Path, indices: Iterable[int]) -> Frames:
    """Read the frames at `indices` (increasing, each once). Where the video breaks off, what came before is returned.

    Raises VideoError if not a single frame can be read.
    """
    wanted = list(indices)
    capture = open_video(path)
    frames = Frames([], [])
    try:
        position = 0
        for index in wanted:
            while position < index and capture.grab():
                position += 1
            if position < index or not capture.grab():
                break
            position += 1
            decoded, image = capture.retrieve()
            if decoded and image is not None:
                frames.images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                frames.indices.append(index)
    finally:
        capture.release()
    if not frames.images:
        raise VideoError("has a video stream, but no frame of it can be decoded")
    if len(frames.images) < len(wanted):
        frames.warnings.append(f"only {len(frames.images)} of {len(wanted)} frames could be decoded")
    return frames


def read_image(path: str | Path) -> Frames:
    """An image file as a video of one frame."""
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise VideoError("is not a readable image" if encoded.size else "is empty (0 bytes)")
    return Frames([cv2.cvtColor(image, cv2.COLOR_BGR2RGB)], [0])


def read_evenly(path: str | Path, num_frames: int) -> Frames:
    """`num_frames` frames spread over a video from its first to its last one, or the one frame of an image."""
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)
    frame_count = count_frames(path)
    if frame_count == 0:
        raise VideoError("has a video stream without frames")
    return read_at(path, evenly_spaced(frame_count, num_frames))
