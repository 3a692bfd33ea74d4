"""Black patches over parts of a face, so that a network does not rely on one of them.

Images are (h, w, 3) uint8 RGB, masks (h, w) uint8: where a fake differs from its original. Nothing is changed in place.
"""

from collections.abc import Callable

import cv2
import numpy as np

from faces.face_hull import face_polygon

Pair = tuple[np.ndarray, np.ndarray]

LANDMARKS_P, HULL_P, AREA_P = 0.7, 0.2, 0.1
EYES_P, MOUTH_P, NOSE_P = 0.5, 0.25, 0.125
AREA_TRIES, AREA_MASK_PIXELS = 5, 20
HALF_TRIES, HALF_MASK_PIXELS = 50, 40
LINE_THICKNESS = 2
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def hardcore_blackout(
    image: np.ndarray,
    mask: np.ndarray,
    fake: bool,
    landmarks: np.ndarray | None,
    rng: np.random.Generator,
    face_in: np.ndarray | None = None,
) -> Pair:
    """The published blackout: eyes, mouth or nose; else half of the face's hull; else half of the crop; else nothing.

    `landmarks` (5, 2) are the eyes, the nose and the corners of the mouth, x and y in pixels of the crop. `face_in` is
    the picture in which the hull is looked for, if not the crop.
    """
    if landmarks is not None and rng.random() < LANDMARKS_P:
        return black_out_landmark(image, landmarks, rng), mask
    if rng.random() < HULL_P:
        return black_out_hull(image, rng, face_in), mask
    if rng.random() < AREA_P:
        return black_out_area(image, mask, fake, rng)
    return image, mask


def black_out_landmark(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Black out the eyes (0.5), the mouth (0.25), the nose (0.125) or nothing (0.125)."""
    left_eye, right_eye, nose, left_mouth, right_mouth = np.asarray(landmarks, dtype=np.int64)
    eyes_apart = float(np.linalg.norm(left_eye - right_eye))
    draw = rng.random()
    if draw < EYES_P:
        return _black_line(image, left_eye, right_eye, int(eyes_apart // 4))
    if draw < EYES_P + MOUTH_P:
        apart = float(np.linalg.norm(left_mouth - right_mouth))
        return _black_line(image, left_mouth, right_mouth, int(apart // 3))
    if draw < EYES_P + MOUTH_P + NOSE_P:
        # Halves towards zero, as the published int() does.
        between = ((left_eye + right_eye) / 2).astype(np.int64)
        return _black_line(image, nose, between, int(eyes_apart // 4))
    return image


def _black_line(image: np.ndarray, start: np.ndarray, end: np.ndarray, growth: int) -> np.ndarray:
    """`image` with the line black, grown `growth` times by its four neighbours; unchanged if that is 0 times."""
    line = np.zeros(image.shape[:2], np.uint8)
    cv2.line(line, tuple(map(int, start)), tuple(map(int, end)), 1, LINE_THICKNESS)
    growth = min(growth, sum(image.shape[:2]))  # more fills no more
    if growth:
        line = cv2.dilate(line, CROSS, iterations=growth)
    image = image.copy()
    image[line > 0] = 0
    return image


def black_out_hull(image: np.ndarray, rng: np.random.Generator, face_in: np.ndarray | None = None) -> np.ndarray:
    """Black out the part of the face's hull above, below, left or right of its centroid; nothing without a face.

    The face is looked for in `face_in`, a picture of the same shape, if not in the image.
    """
    polygon = face_polygon(image if face_in is None else face_in)
    if polygon is None:
        return image
    hull = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [polygon], 1)
    moments = cv2.moments(hull, binaryImage=True)
    if not moments["m00"]:
        return image
    x, y = int(moments["m10"] / moments["m00"]), int(moments["m01"] / moments["m00"])
    spared = (np.s_[y:], np.s_[:y], np.s_[:, x:], np.s_[:, :x])[rng.integers(4)]
    hull[spared] = 0
    image = image.copy()
    image[hull > 0] = 0
    return image


def black_out_area(image: np.ndarray, mask: np.ndarray, fake: bool, rng: np.random.Generator) -> Pair:
    """Keep a half or two diagonal quadrants of the crop; of a fake only if more than 20 mask pixels survive."""
    return _try_areas(image, mask, fake, AREA_TRIES, AREA_MASK_PIXELS, lambda shape: _random_area(shape, rng))


def black_out_half(image: np.ndarray, mask: np.ndarray, fake: bool, rng: np.random.Generator) -> Pair:
    """Keep one side of a row or column within 20 % of the middle; of a fake only with over 40 mask pixels."""
    return _try_areas(image, mask, fake, HALF_TRIES, HALF_MASK_PIXELS, lambda shape: _random_half(shape, rng))


def _try_areas(
    image: np.ndarray,
    mask: np.ndarray,
    fake: bool,
    tries: int,
    mask_pixels: int,
    draw: Callable[[tuple[int, int]], np.ndarray],
) -> Pair:
    for _ in range(tries):
        area = draw(image.shape[:2])
        if not fake or np.count_nonzero(mask * area) > mask_pixels:
            return image * area[..., None], mask * area
    return image, mask


def _random_area(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One of six areas as (h, w) uint8: 1 in the bottom, top, right or left half or a diagonal pair of quadrants."""
    area = np.zeros(shape, np.uint8)
    y, x = shape[0] // 2, shape[1] // 2
    kept = (
        [np.s_[y:]],
        [np.s_[:y]],
        [np.s_[:, x:]],
        [np.s_[:, :x]],
        [np.s_[:y, :x], np.s_[y:, x:]],
        [np.s_[:y, x:], np.s_[y:, :x]],
    )[rng.integers(6)]
    for window in kept:
        area[window] = 1
    return area


def _random_half(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(h, w) uint8, 1 on one side of a row or column whose distance from the middle is up to a fifth of the side."""
    area = np.ones(shape, np.uint8)
    axis, first = rng.integers(2), rng.integers(2)
    side = shape[axis]
    pivot = side // 2 + int(rng.integers(-(side // 5), side // 5 + 1))
    black = np.s_[:pivot] if first else np.s_[pivot:]
    area[black if axis == 0 else (slice(None), black)] = 0
    return area
