"""Pictures and draws for the tests of the augmentation: runs of transforms over one crop, and shares to expect."""

import cv2
import numpy as np
from scipy.stats import kstest

from training.transforms.albu import seeded

CROP_HEIGHT, CROP_WIDTH, SIZE = 41, 29, 64


def is_share(count, total, p):
    """Whether `count` of `total` is within four standard deviations of the share `p`."""
    return abs(count - total * p) <= 4 * (total * p * (1 - p)) ** 0.5


def is_uniform(values, low, high):
    return kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3


def draw(transforms, image, mask=None, *, times, seed=0):
    """Image and mask of `times` runs of the transforms over the same crop."""
    seeded(transforms, np.random.default_rng(seed))
    mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
    results = [transforms(image=image, mask=mask) for _ in range(times)]
    return [(result["image"], result["mask"]) for result in results]


def colours(height, width):
    """A smooth colourful picture, (height, width, 3) uint8."""
    coarse = np.random.default_rng(0).integers(20, 236, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def detailed_crop():
    """A small crop with detail that compression and blur change: it is enlarged, and padded unevenly."""
    noise = np.random.default_rng(0).integers(-40, 41, (CROP_HEIGHT, CROP_WIDTH, 3))
    return np.clip(colours(CROP_HEIGHT, CROP_WIDTH) + noise, 0, 255).astype(np.uint8)
