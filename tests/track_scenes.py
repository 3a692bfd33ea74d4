"""Scenes of faces that are followed: boxes by frame, and the tracks they make."""

import numpy as np

from faces.tracks import Track


def face(x: float, y: float, side: float = 160) -> np.ndarray:
    """A square box around (x, y)."""
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)


def scene(*faces: dict[int, np.ndarray], length: int = 10, scores=None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes and probabilities of `length` detected frames from each face's boxes by detected frame."""
    scores = scores or [0.99] * len(faces)
    boxes = [[boxes_of[i] for boxes_of in faces if i in boxes_of] for i in range(length)]
    weights = [[score for boxes_of, score in zip(faces, scores, strict=True) if i in boxes_of] for i in range(length)]
    return [np.array(b, np.float32).reshape(-1, 4) for b in boxes], [np.array(w, np.float32) for w in weights]


def still(x: float, y: float, frames=range(10), side: float = 160) -> dict[int, np.ndarray]:
    return {i: face(x, y, side) for i in frames}


def spans(tracks: list[Track]) -> list[tuple[int, int]]:
    return [(track.first_frame, track.last_frame) for track in tracks]


def a_track(frames, boxes, first=None, last=None) -> Track:
    frames, boxes = np.array(frames), np.array(boxes, np.float32)
    union = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    first, last = frames[0] if first is None else first, frames[-1] + 9 if last is None else last
    return Track(int(first), int(last), frames, boxes, 0.99, union)
