"""Self-blending: a real face pasted over itself at another sharpness becomes a fake."""

import cv2
import numpy as np

from faces.face_hull import face_polygon
from training.transforms.blackout import Pair

SIDE_CHANGE = 0.5  # a side of the face is resized by up to this share,
LEAST_CHANGE = 1 / 3  # and at least one of them by no less than this
EROSIONS = (4, 10)
BLUR_P, JPEG_P, JPEG_QUALITY = 0.1, 0.25, (40, 95)


def self_blend(image: np.ndarray, rng: np.random.Generator) -> Pair | None:
    """The fake made of a real crop (h, w, 3) uint8 RGB and the mask (h, w) uint8 of what was pasted (255).

    The hull of the face is resized to a random other size and back and pasted through the hull, eroded 4 to 10
    times; then blur (p 0.1) and JPEG 40-95 (p 0.25) go over the whole. None where no face is found or none of it
    is left to paste.
    """
    polygon = face_polygon(image)
    if polygon is None:
        return None
    mask = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [polygon], 255)
    x, y, width, height = cv2.boundingRect(mask)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=int(rng.integers(EROSIONS[0], EROSIONS[1] + 1)))
    if not mask.any():
        return None
    face = image[y : y + height, x : x + width]
    small = cv2.resize(face, _other_size(width, height, rng), interpolation=cv2.INTER_LINEAR)
    warped = image.copy()
    warped[y : y + height, x : x + width] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    blended = np.where(mask[..., None] > 0, warped, image)
    if rng.random() < BLUR_P:
        blended = cv2.GaussianBlur(blended, (3, 3), 0)
    if rng.random() < JPEG_P:
        quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
        _, encoded = cv2.imencode(".jpg", blended[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        blended = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    return blended, mask


def _other_size(width: int, height: int, rng: np.random.Generator) -> tuple[int, int]:
    while True:
        change = rng.uniform(-SIDE_CHANGE, SIDE_CHANGE, 2)
        if np.abs(change).max() >= LEAST_CHANGE:
            return max(round(width * (1 + change[0])), 1), max(round(height * (1 + change[1])), 1)
