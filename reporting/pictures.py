"""Small pictures of a video: its faces on one sheet, and some frames, decoded again and kept within a budget."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.places import Remote
from faces.geometry import isotropically_resize_image, put_to_center
from faces.video import Frames, VideoError, read_file
from inference.details import Face, VideoDetails

# Reads the frames of a file that a function of their number chooses, as `faces.video.read_file` does.
Read = Callable[[Path, Callable[[int], Iterable[int]]], Frames]
# What a face's picture shows around its box, in parts of the box's longer side: hair and chin help to recognise it.
FACE_MARGIN = 0.2
SHEET_COLUMNS = 8
QUALITIES = (72, 55, 40, 25)  # WebP's; the first that fits the budget
BYTES_PER_PIXEL = 0.14  # of small WebP pictures at the best of these qualities, seen on faces and frames
# Below this mean luminance (0-255) of its faces a video is called dark: little of the skin can be seen.
DARK = 40


@dataclass(frozen=True)
class Plan:
    """How many pictures of a video there are, and how large: sides in pixels, of a frame the longer one."""

    faces: int
    face_side: int
    frames: int
    frame_side: int

    @property
    def estimated_bytes(self) -> float:
        return BYTES_PER_PIXEL * (self.faces * self.face_side**2 + self.frames * self.frame_side**2 * 9 / 16)


# From a handful of videos to thousands; the last is taken when nothing fits.
PLANS = (
    Plan(faces=128, face_side=96, frames=32, frame_side=480),
    Plan(faces=64, face_side=96, frames=16, frame_side=400),
    Plan(faces=32, face_side=80, frames=8, frame_side=320),
    Plan(faces=24, face_side=64, frames=4, frame_side=280),
    Plan(faces=12, face_side=56, frames=2, frame_side=240),
    Plan(faces=8, face_side=48, frames=1, frame_side=192),
    Plan(faces=4, face_side=40, frames=0, frame_side=0),
    Plan(faces=1, face_side=40, frames=0, frame_side=0),
)


def plan_for(budget: float) -> Plan:
    """The richest plan that is expected to take at most `budget` bytes a video."""
    return next((plan for plan in PLANS if plan.estimated_bytes <= budget), PLANS[-1])


@dataclass
class Pictures:
    """Data URIs: `sheet` holds the faces `shown` (places in the list of faces), SHEET_COLUMNS in a row, each of `side`
    pixels; `frames` maps frame numbers to pictures. `missing` says why there are none. `brightness`: mean luminance of
    the faces, 0-255.
    """

    sheet: str | None = None
    side: int = 0
    shown: list[int] = field(default_factory=list)
    frames: dict[int, str] = field(default_factory=dict)
    missing: str | None = None
    brightness: float | None = None

    def content(self) -> dict[str, Any]:
        """What the page is told."""
        return {
            "sheet": self.sheet,
            "side": self.side,
            "columns": SHEET_COLUMNS,
            "shown": self.shown,
            "pictures": self.frames,
            "missing": self.missing,
        }


def take_pictures(
    path: Path,
    faces: Sequence[Face],
    telling: int | None,
    frames: Sequence[int],
    size: tuple[int, int],
    budget: float,
    read: Read = read_file,
) -> Pictures:
    """Pictures of the video (or image) at `path` in about `budget` bytes; the faces alone may take more.

    `faces` in order of time, `telling` the place of one that must be among those shown; `frames` were looked at, `size`
    (width, height) they had. `read` reads the file. Raises VideoError if that fails, or it has another size.
    """
    plan = plan_for(budget)
    chosen = _spread(range(len(faces)), plan.faces, telling)
    # Frames with a face say most; where there is none, a frame may show why.
    with_face = sorted({faces[i].frame for i in chosen}) or list(frames)
    chosen_frames = set(_spread(with_face, plan.frames, faces[telling].frame if telling is not None else None))
    tiles, pictures, brightness = {}, {}, []
    for index, image in frames_at(path, {faces[i].frame for i in chosen} | chosen_frames, read):
        check_size(image, size)
        for i in (i for i in chosen if faces[i].frame == index):
            tiles[i] = _tile(image, faces[i].box, plan.face_side)
            brightness.append(cv2.cvtColor(tiles[i], cv2.COLOR_BGR2GRAY).mean())
        if index in chosen_frames:
            pictures[index] = isotropically_resize_image(image, plan.frame_side)
    if not tiles and not pictures:
        return Pictures(missing="none of its frames can be decoded" if with_face else "no frame to show")
    return _encoded(tiles, pictures, plan, budget, float(np.mean(brightness)) if brightness else None)


def check_size(image: np.ndarray, size: tuple[int | None, int | None]) -> None:
    """Raise VideoError if a frame has another size than when its video was scored, (width, height) if known."""
    if size[0] and (image.shape[1], image.shape[0]) != size:
        raise VideoError("is not the file that was scored: its frames have another size")


def _spread(items: Sequence[int], count: int, wanted: int | None) -> list[int]:
    """At most `count` of the items, from the first to the last, `wanted` among them in the place of the one nearest."""
    if count == 0 or not items:
        return []
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    chosen = [items[i] for i in places]
    if wanted is not None and wanted in items and wanted not in chosen:
        nearest = min(range(len(chosen)), key=lambda i: abs(chosen[i] - wanted))
        chosen[nearest] = wanted
    return chosen


def frames_at(path: Path, indices: set[int], read: Read = read_file) -> Iterator[tuple[int, np.ndarray]]:
    """(index, (h, w, 3) uint8 BGR) of these frames of a video, or of an image, as far as they can be decoded."""
    if indices:
        frames = read(path, lambda frame_count: indices)
        for index, image in zip(frames.indices, frames.images, strict=True):
            yield index, cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def path_of(video: VideoDetails, videos: Path | Remote) -> Path | Remote:
    """The video's file, where `videos` is the folder that was scored, or the one file."""
    return videos if videos.is_file() else videos / video.filename


def _tile(image: np.ndarray, box: Sequence[float], side: int) -> np.ndarray:
    """A square around the box, `side` pixels wide; what the frame has of it is in the middle of black."""
    xmin, ymin, xmax, ymax = box
    half = max(round((0.5 + FACE_MARGIN) * max(xmax - xmin, ymax - ymin)), 1)
    x, y = round((xmin + xmax) / 2), round((ymin + ymax) / 2)
    height, width = image.shape[:2]
    left, right, top, bottom = max(x - half, 0), min(x + half, width), max(y - half, 0), min(y + half, height)
    if left >= right or top >= bottom:
        return np.zeros((side, side, 3), dtype=np.uint8)
    return put_to_center(isotropically_resize_image(image[top:bottom, left:right], side), side)


def _encoded(tiles: dict, pictures: dict, plan: Plan, budget: float, brightness: float | None) -> Pictures:
    """The best quality that fits the budget; where none does, frames are left out, the last first."""
    result = Pictures(side=plan.face_side, shown=sorted(tiles), brightness=brightness)
    sheet = _sheet([tiles[i] for i in result.shown], plan.face_side)
    for quality in QUALITIES:
        faces = b"" if sheet is None else webp(sheet, quality)
        frames = {index: webp(image, quality) for index, image in pictures.items()}
        if len(faces) + sum(map(len, frames.values())) <= budget:
            break
    while frames and len(faces) + sum(map(len, frames.values())) > budget:
        frames.popitem()
    result.sheet = data_uri(faces) if faces else None
    result.frames = {index: data_uri(encoded) for index, encoded in frames.items()}
    return result


def _sheet(tiles: Sequence[np.ndarray], side: int) -> np.ndarray | None:
    if not tiles:
        return None
    rows = -(-len(tiles) // SHEET_COLUMNS)
    sheet = np.zeros((rows * side, min(len(tiles), SHEET_COLUMNS) * side, 3), dtype=np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // SHEET_COLUMNS * side, place % SHEET_COLUMNS * side
        sheet[top : top + side, left : left + side] = tile
    return sheet


def webp(image: np.ndarray, quality: int) -> bytes:
    """An image (h, w, 3) uint8 BGR as the bytes of a WebP file."""
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def data_uri(encoded: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
