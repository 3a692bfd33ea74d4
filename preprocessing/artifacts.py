"""Files of pixels and of points that are whole, or an error: what a full disk took is never passed over."""

import io
from pathlib import Path

import cv2
import numpy as np

# The pixels are the same with any; these are the quickest to write and to read again, and a little smaller.
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (h, w) or (h, w, 3) uint8, BGR. OpenCV's own writing does not notice that the end is missing."""
    path.write_bytes(cv2.imencode(".png", image, PNG_OPTIONS)[1])


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy. NumPy's own writing does not notice that the end is missing."""
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())
