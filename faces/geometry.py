"""Where a face is cut from its frame, and how the crop becomes a square network input."""

import cv2
import numpy as np

# The published crop grows by a third of the box on every side.
MARGIN_DIVISOR = 3


def crop_bounds(box: np.ndarray, frame_height: int, frame_width: int) -> tuple[int, int, int, int]:
    """Rows and columns of a face crop: the box truncated to integers, grown by a third, clipped to the frame.

    `box` is (xmin, ymin, xmax, ymax) in pixels of the frame, possibly reaching beyond it.
    Returns (top, bottom, left, right), bottom and right exclusive.
    """
    xmin, ymin, xmax, ymax = (int(side) for side in box)
    margin_w = (xmax - xmin) // MARGIN_DIVISOR
    margin_h = (ymax - ymin) // MARGIN_DIVISOR
    top, left = max(ymin - margin_h, 0), max(xmin - margin_w, 0)
    bottom, right = max(min(ymax + margin_h, frame_height), 0), max(min(xmax + margin_w, frame_width), 0)
    return top, bottom, left, right


def crop_face(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face crop of `box` as a copy, so that the frame can be freed. Shape (h, w, 3), dtype of the frame.

    The crop may be empty (a side of 0) when the box lies outside the frame.
    """
    top, bottom, left, right = crop_bounds(box, *frame.shape[:2])
    return frame[top:bottom, left:right].copy()


def isotropically_resize_image(
    img: np.ndarray, size: int, interpolation_down: int = cv2.INTER_AREA, interpolation_up: int = cv2.INTER_CUBIC
) -> np.ndarray:
    """Resize so that the longer side is `size` pixels, keeping the aspect ratio; the shorter side is truncated.

    `img` is (h, w, ...) uint8; an image whose longer side already has `size` pixels is returned as it is.
    """
    height, width = img.shape[:2]
    longer = max(height, width)
    if longer == size:
        return img
    scale = size / longer
    # int() of the product, as published, so that a square may lose a column to rounding; no side may vanish.
    new_width = size if width > height else max(int(width * scale), 1)
    new_height = size if height >= width else max(int(height * scale), 1)
    interpolation = interpolation_up if scale > 1 else interpolation_down
    return cv2.resize(img, (new_width, new_height), interpolation=interpolation)


def put_to_center(img: np.ndarray, input_size: int) -> np.ndarray:
    """Centre `img` (h, w, 3) on a black (input_size, input_size, 3) uint8 square; what exceeds it is cut off."""
    img = img[:input_size, :input_size]
    height, width = img.shape[:2]
    top, left = (input_size - height) // 2, (input_size - width) // 2
    square = np.zeros((input_size, input_size, 3), dtype=np.uint8)
    square[top : top + height, left : left + width] = img
    return square
