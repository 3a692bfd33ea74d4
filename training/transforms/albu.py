"""The augmentation pipelines, on albumentations.

The recipe was made with release 1.0.0 of that library. Later releases changed names, defaults and, for some
transforms, what they do; every value is given here, and the few transforms that no longer do the same are our own.
"""

import random
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np

from faces.geometry import isotropically_resize_image
from training.tools.config import Augmentation


class IsotropicResize(A.DualTransform):
    """Resize so that the longer side has `max_side` pixels; masks by nearest neighbour."""

    def __init__(
        self,
        max_side: int,
        interpolation_down: int = cv2.INTER_AREA,
        interpolation_up: int = cv2.INTER_CUBIC,
        p: float = 1.0,
    ):
        super().__init__(p=p)
        self.max_side = max_side
        self.interpolation_down = interpolation_down
        self.interpolation_up = interpolation_up

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return isotropically_resize_image(img, self.max_side, self.interpolation_down, self.interpolation_up)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> np.ndarray:
        return isotropically_resize_image(mask, self.max_side, cv2.INTER_NEAREST, cv2.INTER_NEAREST)


class Resize4xAndBack(A.ImageOnlyTransform):
    """Half or a quarter of the size by area, and back by cubic, linear or nearest interpolation."""

    def __init__(self, p: float = 0.5):
        super().__init__(p=p)

    def get_params(self) -> dict[str, Any]:
        return {
            "factor": self.py_random.choice((2, 4)),
            "interpolation": self.py_random.choice((cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_NEAREST)),
        }

    def apply(
        self, img: np.ndarray, factor: int = 2, interpolation: int = cv2.INTER_CUBIC, **params: Any
    ) -> np.ndarray:
        height, width = img.shape[:2]
        small = cv2.resize(img, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=interpolation)


class RandomSizedCropNonEmptyMaskIfExists(A.DualTransform):
    """A window that holds some of the mask, if there is any mask.

    Its height is a share of the picture's (`min_max_height`), its shape the picture's times `w2h_ratio`. Image and mask
    come out in the window's own size: a resize should follow.
    """

    def __init__(
        self,
        min_max_height: tuple[float, float] = (0.5, 1.0),
        w2h_ratio: tuple[float, float] = (0.7, 1.3),
        p: float = 0.5,
    ):
        super().__init__(p=p)
        self.min_max_height = min_max_height
        self.w2h_ratio = w2h_ratio

    @property
    def targets_as_params(self) -> list[str]:
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        mask = data["mask"]
        height, width = mask.shape[:2]
        crop_h = max(round(height * self.py_random.uniform(*self.min_max_height)), 1)
        crop_w = min(max(round(crop_h * width / height * self.py_random.uniform(*self.w2h_ratio)), 1), width)
        rows, columns = np.nonzero(mask)
        top, bottom, left, right = 0, height - crop_h, 0, width - crop_w
        if len(rows):
            # Around one pixel of the mask, wherever it falls in the window.
            chosen = self.py_random.randrange(len(rows))
            y, x = int(rows[chosen]), int(columns[chosen])
            top, bottom = max(y - crop_h + 1, 0), min(y, height - crop_h)
            left, right = max(x - crop_w + 1, 0), min(x, width - crop_w)
        y0, x0 = self.py_random.randint(top, bottom), self.py_random.randint(left, right)
        return {"window": (slice(y0, y0 + crop_h), slice(x0, x0 + crop_w))}

    def apply(self, img: np.ndarray, window: tuple[slice, slice] = (slice(None),) * 2, **params: Any) -> np.ndarray:
        return np.ascontiguousarray(img[window])


class GaussianNoise(A.ImageOnlyTransform):
    """Noise whose *variance* is drawn evenly from `var_limit` (0-255 scale), a value per pixel and channel.

    albumentations 2 draws the standard deviation instead, which favours weak noise.
    """

    def __init__(self, var_limit: tuple[float, float] = (10, 50), p: float = 0.5):
        super().__init__(p=p)
        self.var_limit = var_limit

    def get_params(self) -> dict[str, Any]:
        return {"variance": self.py_random.uniform(*self.var_limit)}

    def apply(self, img: np.ndarray, variance: float = 0, **params: Any) -> np.ndarray:
        return self._added(img, self._noise(img.shape, variance))

    def apply_to_images(self, images: np.ndarray, variance: float = 0, **params: Any) -> np.ndarray:
        """The same noise in every picture."""
        noise = self._noise(images[0].shape, variance)
        return np.stack([self._added(image, noise) for image in images])

    def _noise(self, shape: tuple[int, ...], variance: float) -> np.ndarray:
        return self.random_generator.standard_normal(shape, np.float32) * np.float32(variance**0.5)

    @staticmethod
    def _added(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.clip(image + noise, 0, 255).astype(np.uint8)


class FancyPCA(A.ImageOnlyTransform):
    """One draw from N(0, alpha) times the eigenvalues of the picture's own colours, the largest first, is added.

    Release 1.0.0 weighs with them not the axes but the rows of the axes' matrix, which gives casts of colour where
    AlexNet's formula would mostly brighten. Release 2 adds something that depends on the pixel.
    """

    def __init__(self, alpha: float = 0.1, p: float = 0.5):
        super().__init__(p=p)
        self.alpha = alpha

    def get_params(self) -> dict[str, Any]:
        return {"strength": self.py_random.gauss(0, self.alpha)}

    def apply(self, img: np.ndarray, strength: float = 0, **params: Any) -> np.ndarray:
        pixels = img.reshape(-1, 3).astype(np.float32)
        means = np.array(cv2.mean(img)[:3])
        covariance = (pixels.T @ pixels).astype(np.float64) / len(pixels) - np.outer(means, means)
        values, axes = (found[..., ::-1] for found in np.linalg.eigh(covariance / 255**2))
        shift = axes.T @ (values * strength) * 255
        table = np.clip(np.arange(256)[:, None] + shift, 0, 255).astype(np.uint8)
        return cv2.LUT(img, table[None])


class HueSaturationValue(A.ImageOnlyTransform):
    """Adds up to each limit to hue (of 180, going round), saturation and value (of 255, clipped).

    Release 2 leaves pixels without saturation as they are; here they get some, as in release 1.0.0.
    """

    def __init__(self, hue_limit: int = 20, saturation_limit: int = 30, value_limit: int = 20, p: float = 0.5):
        super().__init__(p=p)
        self.limits = (hue_limit, saturation_limit, value_limit)

    def get_params(self) -> dict[str, Any]:
        return {"shifts": [self.py_random.uniform(-limit, limit) for limit in self.limits]}

    def apply(self, img: np.ndarray, shifts: Sequence[float] = (0, 0, 0), **params: Any) -> np.ndarray:
        levels = np.arange(256)
        hue, saturation, value = (levels + shift for shift in shifts)
        tables = [np.mod(hue, 180), np.clip(saturation, 0, 255), np.clip(value, 0, 255)]
        table = np.stack(tables, axis=1).astype(np.uint8)[None]
        return cv2.cvtColor(cv2.LUT(cv2.cvtColor(img, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)


class ShiftScaleRotate(A.DualTransform):
    """Shift by a share of the side, scale by 1 +- limit, turn by degrees around the centre; black comes in.

    albumentations 2 turns around another point and interpolates masks differently by default.
    """

    def __init__(self, shift_limit: float = 0.1, scale_limit: float = 0.2, rotate_limit: float = 10, p: float = 0.5):
        super().__init__(p=p)
        self.shift_limit = shift_limit
        self.scale_limit = scale_limit
        self.rotate_limit = rotate_limit

    def get_params(self) -> dict[str, Any]:
        draw = self.py_random.uniform
        return {
            "angle": draw(-self.rotate_limit, self.rotate_limit),
            "scale": 1 + draw(-self.scale_limit, self.scale_limit),
            "shift": (draw(-self.shift_limit, self.shift_limit), draw(-self.shift_limit, self.shift_limit)),
        }

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return self._warp(img, cv2.INTER_LINEAR, **params)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> np.ndarray:
        return self._warp(mask, cv2.INTER_NEAREST, **params)

    @staticmethod
    def _warp(
        img: np.ndarray, interpolation: int, angle: float, scale: float, shift: tuple[float, float], **params: Any
    ) -> np.ndarray:
        height, width = img.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
        matrix[:, 2] += (shift[0] * width, shift[1] * height)
        return cv2.warpAffine(img, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_CONSTANT)


def _resize_and_pad(size: int) -> list[A.BasicTransform]:
    pad = A.PadIfNeeded(size, size, position="center", border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=0, p=1)
    return [IsotropicResize(size), pad]


def create_train_transforms(size: int = 380, extra: Augmentation | None = None) -> A.Compose:
    """Image (h, w, 3) and mask (h, w), uint8, to (size, size): the published augmentation, and what `extra` adds."""
    extra = extra or Augmentation()
    added = []
    if extra.random_sized_crop:
        added.append(RandomSizedCropNonEmptyMaskIfExists(p=extra.random_sized_crop))
    if extra.resize_4x_and_back:
        added.append(Resize4xAndBack(p=extra.resize_4x_and_back))
    return A.Compose(
        [
            *added,
            _compression(p=0.5),
            GaussianNoise(var_limit=(10, 50), p=0.1),
            _blur(p=0.05),
            A.HorizontalFlip(p=0.5),
            *_resize_and_pad(size),
            A.OneOf([_brightness_contrast(p=1), FancyPCA(alpha=0.1, p=1), HueSaturationValue(p=1)], p=0.7),
            _gray(p=0.2),
            ShiftScaleRotate(shift_limit=0.1, scale_limit=0.2, rotate_limit=10, p=0.5),
        ]
    )


def single_transforms() -> dict[str, A.Compose]:
    """Each transform by itself and for certain, to be looked at; * marks those that are off unless asked for."""
    transforms = {
        "JPEG": _compression(p=1),
        "noise": GaussianNoise(p=1),
        "blur": _blur(p=1),
        "flip": A.HorizontalFlip(p=1),
        "brightness": _brightness_contrast(p=1),
        "FancyPCA": FancyPCA(p=1),
        "hue": HueSaturationValue(p=1),
        "gray": _gray(p=1),
        "shift, turn": ShiftScaleRotate(p=1),
        "resize 4x*": Resize4xAndBack(p=1),
        "random crop*": RandomSizedCropNonEmptyMaskIfExists(p=1),
    }
    return {name: A.Compose([transform]) for name, transform in transforms.items()}


def _compression(p: float) -> A.BasicTransform:
    return A.ImageCompression(quality_range=(60, 100), compression_type="jpeg", p=p)


def _blur(p: float) -> A.BasicTransform:
    return A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.8, 0.8), p=p)


def _brightness_contrast(p: float) -> A.BasicTransform:
    return A.RandomBrightnessContrast(
        brightness_limit=(-0.2, 0.2), contrast_limit=(-0.2, 0.2), brightness_by_max=True, p=p
    )


def _gray(p: float) -> A.BasicTransform:
    return A.ToGray(num_output_channels=3, method="weighted_average", p=p)


def create_val_transforms(size: int = 380) -> A.Compose:
    """Image (h, w, 3) and mask (h, w), uint8, to (size, size): resized isotropically and centred on black."""
    return A.Compose(_resize_and_pad(size))


def seeded(transforms: A.Compose, rng: np.random.Generator) -> A.Compose:
    """The same transforms, drawing from now on what `rng` decides."""
    transforms.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return transforms
