"""The published training item in a compact rendition of our own, to measure against.

The same steps as `training.datasets.classifier_dataset`, with libraries used plainly: SciPy's dilation, scikit-image's
polygons, the transforms of albumentations as it ships today, arithmetic on every pixel at the end.
"""

import random
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from scipy.ndimage import binary_dilation
from skimage.draw import polygon

from faces.face_hull import face_polygon
from faces.geometry import isotropically_resize_image
from training.tools.config import IMAGENET_MEAN, IMAGENET_STD

SIZE = 380


class Resize(A.ImageOnlyTransform):
    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return isotropically_resize_image(img, SIZE)


def transforms() -> A.Compose:
    return A.Compose(
        [
            A.ImageCompression(quality_range=(60, 100), p=0.5),
            A.GaussNoise(std_range=(0.0124, 0.0277), p=0.1),
            A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.8, 0.8), p=0.05),
            A.HorizontalFlip(),
            Resize(p=1),
            A.PadIfNeeded(SIZE, SIZE, border_mode=cv2.BORDER_CONSTANT, p=1),
            A.OneOf([A.RandomBrightnessContrast(), A.FancyPCA(), A.HueSaturationValue()], p=0.7),
            A.ToGray(p=0.2),
            A.ShiftScaleRotate(shift_limit=0.1, scale_limit=0.2, rotate_limit=10, border_mode=cv2.BORDER_CONSTANT),
        ]
    )


def black_line(image: np.ndarray, start: np.ndarray, end: np.ndarray, growth: int) -> np.ndarray:
    line = cv2.line(np.zeros(image.shape[:2], np.uint8), tuple(map(int, start)), tuple(map(int, end)), 1, 2)
    image[binary_dilation(line, iterations=max(growth, 1))] = 0
    return image


def item(row: Any, root: Path, pipeline: A.Compose) -> torch.Tensor:
    """One training item, (3, 380, 380) float32."""
    image = cv2.cvtColor(cv2.imread(str(root / "crops" / row.video / row.file)), cv2.COLOR_BGR2RGB)
    diff = root / "diffs" / row.video / f"{Path(row.file).stem}_diff.png"
    mask = cv2.imread(str(diff), cv2.IMREAD_GRAYSCALE) if diff.exists() else np.zeros(image.shape[:2], np.uint8)
    marks = root / "landmarks" / row.original / f"{Path(row.file).stem}.npy"
    if marks.exists() and random.random() < 0.7:
        left, right, nose, left_mouth, right_mouth = np.load(marks).astype(int)
        apart, draw = np.linalg.norm(left - right), random.random()
        if draw < 0.5:
            image = black_line(image, left, right, int(apart // 4))
        elif draw < 0.75:
            image = black_line(image, left_mouth, right_mouth, int(np.linalg.norm(left_mouth - right_mouth) // 3))
        elif draw < 0.875:
            image = black_line(image, nose, (left + right) // 2, int(apart // 4))
    elif random.random() < 0.2:
        outline = face_polygon(image)
        if outline is not None:
            rows, columns = polygon(outline[:, 1], outline[:, 0], image.shape[:2])
            lower = rows > rows.mean()
            image[rows[lower], columns[lower]] = 0
    elif random.random() < 0.1:
        image[: len(image) // 2] = 0
    image = pipeline(image=image, mask=mask)["image"]
    pixels = (image.astype(np.float32) / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    return torch.from_numpy(np.moveaxis(pixels, -1, 0).copy())
