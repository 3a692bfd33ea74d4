"""What changes a clip before a network sees it: the same for every frame."""

import albumentations as A
import cv2
import numpy as np

from training.transforms.albu import GaussianNoise, seeded


def create_clip_train_transforms(size: int) -> A.Compose:
    """A clip (frames, h, w, 3) uint8 to (frames, size, size, 3), every frame with the same draws."""
    return A.Compose(
        [
            A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.8, 0.8), p=0.1),
            GaussianNoise(var_limit=(10, 50), p=0.1),
            A.RandomBrightnessContrast(
                brightness_limit=(-0.2, 0.2), contrast_limit=(-0.2, 0.2), brightness_by_max=True, p=0.25
            ),
            A.RandomResizedCrop((size, size), scale=(0.5, 1.0), ratio=(0.9, 1.1), interpolation=cv2.INTER_LINEAR, p=1),
            A.HorizontalFlip(p=0.5),
        ]
    )


def augmented_clip(clip: np.ndarray, transforms: A.Compose, rng: np.random.Generator) -> np.ndarray:
    return seeded(transforms, rng)(images=clip)["images"]
