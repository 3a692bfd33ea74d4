"""Face clips and face sequences: what the networks that look at several frames are shown of a video."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faces.tracks import FARTHEST, assign_faces

# 3-D networks: the union of a track's boxes, cut from every frame. Outside of training they see the middle.
CLIP_SIDE, CLIP_CENTRE = 256, 224

# Sequence networks: SPEC of the published project. Its detector adds 14 of 160 pixels around a face.
SEQUENCE_THRESHOLDS = (0.9, 0.9, 0.9)
SEQUENCE_LOOKS, SEQUENCE_FRAMES = 15, 10
SEQUENCE_SIDE, SEQUENCE_MARGIN = 160, 14
MOST_SEQUENCES = 3
DARK = 150


def clip_frame(frame: np.ndarray, box: np.ndarray, side: int = CLIP_SIDE) -> np.ndarray:
    """What `box` (xmin, ymin, xmax, ymax; pixels) shows, black at the right or bottom to a square, (side, side, 3)."""
    height, width = frame.shape[:2]
    left, top = (max(int(edge), 0) for edge in box[:2])
    right, bottom = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    if right <= left or bottom <= top:
        return np.zeros((side, side, 3), np.uint8)
    longer = max(right - left, bottom - top)
    square = np.zeros((longer, longer, 3), np.uint8)
    square[: bottom - top, : right - left] = frame[top:bottom, left:right]
    interpolation = cv2.INTER_AREA if longer > side else cv2.INTER_LINEAR
    return square if longer == side else cv2.resize(square, (side, side), interpolation=interpolation)


def centred_clip(clip: np.ndarray, frames: int, size: int) -> np.ndarray:
    """The first `frames` of a clip (t, s, s, 3) uint8, resized so that its middle, (frames, size, size, 3), is seen.

    A clip that is too short is repeated from its beginning.
    """
    side = round(size * CLIP_SIDE / CLIP_CENTRE)
    start = (side - size) // 2
    middle = [_resized(frame, side)[start : start + size, start : start + size] for frame in clip[:frames]]
    return repeated(middle, frames)


def repeated(images: Sequence[np.ndarray], count: int) -> np.ndarray:
    """`count` images of one shape stacked, from the first again after the last."""
    return np.stack([images[i % len(images)] for i in range(count)])


def resized_faces(faces: np.ndarray, size: int) -> np.ndarray:
    """Square faces (n, s, s, 3) uint8 at another size, (n, size, size, 3)."""
    return np.stack([_resized(face, size) for face in faces])


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return image if image.shape[0] == side else cv2.resize(np.ascontiguousarray(image), (side, side))


def square_crop(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What the square `box` shows, (s, s, 3): black where it reaches beyond the frame, s is its side rounded."""
    side = max(round(float(box[2] - box[0])), 1)
    left, top = (round(float(edge)) for edge in box[:2])
    square = np.zeros((side, side, 3), np.uint8)
    seen = frame[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    row, column = max(-top, 0), max(-left, 0)
    square[row : row + seen.shape[0], column : column + seen.shape[1]] = seen
    return square


def sequence_looks(num_frames: int) -> list[int]:
    """The frames of a video in which the faces for sequences are looked for."""
    first = min(1, max(num_frames - 1, 0))
    return np.unique(np.linspace(first, num_frames - 1, SEQUENCE_LOOKS).astype(int)).tolist()


def brightened(frame: np.ndarray) -> np.ndarray:
    """A frame (h, w, 3) uint8 whose brightest value is under 150 with that value stretched to 255."""
    brightest = int(frame.max(initial=0))
    if not 0 < brightest < DARK:
        return frame
    return cv2.LUT(frame, np.minimum(np.arange(256) * 255 // brightest, 255).astype(np.uint8))


def sequence_face(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face of a sequence, (160, 160, 3) uint8: the box with its margin, stretched to a square."""
    height, width = frame.shape[:2]
    around = np.array([box[2] - box[0], box[3] - box[1]]) * SEQUENCE_MARGIN / (SEQUENCE_SIDE - SEQUENCE_MARGIN) / 2
    left, top = (max(int(edge), 0) for edge in box[:2] - around)
    right, bottom = (int(edge) for edge in np.minimum(box[2:] + around, (width, height)))
    if right <= left or bottom <= top:
        return np.zeros((SEQUENCE_SIDE, SEQUENCE_SIDE, 3), np.uint8)
    return cv2.resize(frame[top:bottom, left:right], (SEQUENCE_SIDE, SEQUENCE_SIDE), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class FaceSequence:
    """One face in SEQUENCE_FRAMES frames of a video: their numbers and its box in each, (n, 4)."""

    frames: list[int]
    boxes: np.ndarray


def choose_sequences(frames: Sequence[int], boxes: Sequence[np.ndarray]) -> list[FaceSequence]:
    """The faces of a video for sequences: `frames` in which they were looked for, and their `boxes` (k, 4) in each.

    Three if at least ten frames have exactly three faces, else two if as many have two, else one; from ten of those
    frames, however far somebody has moved between two of them. If no number of faces is so frequent, the face that is
    seen most often, if it is near where it was and in ten frames.
    """
    for count in range(MOST_SEQUENCES, 0, -1):
        those = [i for i, found in enumerate(boxes) if len(found) == count]
        if len(those) >= SEQUENCE_FRAMES:
            return _sequences([frames[i] for i in those], [boxes[i] for i in those], farthest=np.inf)
    return _sequences(frames, boxes)[:1]


def _sequences(frames: Sequence[int], boxes: Sequence[np.ndarray], farthest: float = FARTHEST) -> list[FaceSequence]:
    """A sequence of each face that is followed through enough of the frames, the most often seen first."""
    seen: dict[int, list[tuple[int, np.ndarray]]] = {}
    for frame, found, numbers in zip(frames, boxes, assign_faces(frames, boxes, farthest=farthest), strict=True):
        for box, number in zip(found, numbers, strict=True):
            seen.setdefault(int(number), []).append((frame, box))
    sequences = []
    for faces in sorted(seen.values(), key=len, reverse=True):
        if len(faces) >= SEQUENCE_FRAMES:
            places = np.linspace(0, len(faces) - 1, SEQUENCE_FRAMES).astype(int)
            sequences.append(FaceSequence([faces[i][0] for i in places], np.stack([faces[i][1] for i in places])))
    return sequences
