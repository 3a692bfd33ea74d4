"""From a row of folds.csv to a frame classifier's input."""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd

from training.datasets.epoch_dataset import (
    EpochDataset,
    UnreadableCropError,
    normalized,
    normalizing_table,
    read_image,
)
from training.tools.config import Augmentation, Normalize
from training.transforms.albu import create_train_transforms, create_val_transforms, seeded
from training.transforms.blackout import Pair, black_out_half, hardcore_blackout
from training.transforms.self_blending import self_blend

VALID_PIXELS, VALID_THRESHOLD = 32, 20
FARTHEST_POINT = 2**15  # pixels; landmarks are stored as 16-bit numbers


class DeepFakeClassifierDataset(EpochDataset):
    """Crops as normalised tensors: image (3, size, size).

    `valid` is 0 for a fake that does not visibly differ from its original; `rotations` counts quarter turns.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        data_dir: str | Path,
        mode: Literal["train", "val"] = "train",
        *,
        crops_dir: str = "crops",
        size: int = 380,
        normalize: Normalize | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 777,
        label_smoothing: float = 0.01,
        hardcore: bool = True,
        oversample: bool = True,
        padding_part: int = 3,
    ):
        super().__init__(rows, mode, seed=seed, label_smoothing=label_smoothing, oversample=oversample)
        self.data_dir = Path(data_dir)
        self.crops_dir = self.data_dir / crops_dir
        self.augmentation = augmentation or Augmentation()
        self.hardcore = hardcore
        self.padding_part = padding_part
        if self.training:
            self.transforms = create_train_transforms(size, self.augmentation)
        else:
            self.transforms = create_val_transforms(size)
        self.table = normalizing_table(normalize or Normalize())

    def item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        image, mask = self.read(row)
        fake, rotations = bool(row.label), 0
        if self.training:
            image, mask, fake, rotations = self._changed(row, image, mask, rng)
        valid = not fake or np.count_nonzero(mask > VALID_THRESHOLD) > VALID_PIXELS
        return {
            "image": normalized(self._transformed(image, mask, rotations, rng), self.table),
            "labels": self.smoothed(fake),
            "valid": int(valid),
            "rotations": rotations,
        }

    def augmented(self, row: Any, rng: np.random.Generator) -> np.ndarray:
        """A row's crop as training would see it, (size, size, 3) uint8 RGB: what the tensor is made of."""
        image, mask, _, rotations = self._changed(row, *self.read(row), rng)
        return self._transformed(image, mask, rotations, rng)

    def _transformed(self, image: np.ndarray, mask: np.ndarray, rotations: int, rng: np.random.Generator) -> np.ndarray:
        transforms = seeded(self.transforms, rng) if self.training else self.transforms
        image = transforms(image=image, mask=mask)["image"]
        return np.rot90(image, rotations) if rotations else image

    def read(self, row: Any) -> Pair:
        """The crop of a row (h, w, 3) uint8 RGB and where it differs from its original (h, w) uint8, 0 if unknown."""
        image = read_image(self.crops_dir / row.video / row.file, cv2.IMREAD_COLOR_RGB)
        if not row.label:
            return image, np.zeros(image.shape[:2], np.uint8)
        path = self.data_dir / "diffs" / row.video / f"{Path(row.file).stem}_diff.png"
        if not path.exists():
            return image, np.zeros(image.shape[:2], np.uint8)
        mask = read_image(path, cv2.IMREAD_GRAYSCALE)
        if mask.shape != image.shape[:2]:
            raise UnreadableCropError(f"{path}: is {mask.shape}, its crop {image.shape[:2]} pixels")
        return image, mask

    def _changed(
        self, row: Any, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool, int]:
        """What training does to a crop before the transforms: image, mask, whether it is fake now, quarter turns."""
        extra, fake = self.augmentation, bool(row.label)
        if extra.self_blending and not fake and rng.random() < extra.self_blending:
            blended = self_blend(image, rng)
            if blended:
                (image, mask), fake = blended, True
        if self.hardcore:
            image, mask = hardcore_blackout(image, mask, fake, self.landmarks(row), rng)
        if extra.half_blackout and rng.random() < extra.half_blackout:
            image, mask = black_out_half(image, mask, fake, rng)
        if self.padding_part > 3:
            image, mask = tighter(image, self.padding_part), tighter(mask, self.padding_part)
        turned = bool(extra.quarter_turns) and rng.random() < extra.quarter_turns
        return image, mask, fake, int(rng.integers(4)) if turned else 0

    def landmarks(self, row: Any) -> np.ndarray | None:
        """The eyes, the nose and the corners of the mouth in the original's crop, (5, 2), or None."""
        path = self.data_dir / "landmarks" / row.original / f"{Path(row.file).stem}.npy"
        if not path.exists():
            return None
        try:
            landmarks = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableCropError(f"{path}: not a readable array of landmarks") from error
        numbers = isinstance(landmarks, np.ndarray) and landmarks.dtype.kind in "iuf"
        if not numbers or landmarks.shape != (5, 2) or not (np.abs(landmarks.astype(float)) < FARTHEST_POINT).all():
            raise UnreadableCropError(f"{path}: not five points x, y")
        return landmarks


def tighter(image: np.ndarray, padding_part: int) -> np.ndarray:
    """`image` (h, w, ...) with a narrower margin: the crop's fifth becomes 0.6 / padding_part of a side."""
    height, width = image.shape[:2]
    cut_h, cut_w = height // 5 - int(0.6 * height / padding_part), width // 5 - int(0.6 * width / padding_part)
    return image[max(cut_h, 0) : height - max(cut_h, 0), max(cut_w, 0) : width - max(cut_w, 0)]
