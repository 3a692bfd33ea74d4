"""From a row of folds.csv to a network's input."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from training.datasets.folds import training_order, validation_order
from training.tools.config import Augmentation, Normalize
from training.transforms.albu import create_train_transforms, create_val_transforms, seeded
from training.transforms.blackout import Pair, black_out_half, hardcore_blackout
from training.transforms.self_blending import self_blend

MOST_FAILURES_IN_A_ROW = 100
VALID_PIXELS, VALID_THRESHOLD = 32, 20
FARTHEST_POINT = 2**15  # pixels; landmarks are stored as 16-bit numbers
Key = tuple[int, int]  # epoch, position in the epoch's order


class UnreadableCropError(Exception):
    """A crop, difference or landmark file that cannot be used; the message names it."""


class DeepFakeClassifierDataset(Dataset):
    """Crops as normalised tensors, augmented in mode `train`.

    `dataset[epoch, position]` is a pure function of the rows, the seed and the two numbers, so that any number of
    workers, in any order, before and after an interruption, make the same items; different ones in every epoch. It is

        image (3, size, size) float32, labels float (1 fake; smoothed in training), img_name "video/file",
        valid 1 or 0 (a fake with no visible difference), rotations (quarter turns), failures (messages).

    A crop that cannot be read is replaced in training by the next one of the order; after 100 in a row, and always in
    validation, there are `failures` and no image.
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
        self.rows = rows
        self.data_dir = Path(data_dir)
        self.crops_dir = self.data_dir / crops_dir
        self.training = mode == "train"
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.hardcore = hardcore
        self.oversample = oversample
        self.padding_part = padding_part
        self.transforms = (
            create_train_transforms(size, self.augmentation) if self.training else create_val_transforms(size)
        )
        self.table = _normalizing_table(normalize or Normalize())
        self._order_of = lru_cache(maxsize=1)(self._compute_order)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_order_of"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order_of = lru_cache(maxsize=1)(self._compute_order)

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers in the order of the epoch, int64; the same in every epoch in validation."""
        return self._order_of(epoch if self.training else 0)

    def _compute_order(self, epoch: int) -> np.ndarray:
        if not self.training:
            return validation_order(len(self.rows), self.seed)
        return training_order(self.rows["label"].to_numpy(), epoch, self.seed, self.oversample)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, position = key
        order = self.order(epoch)
        failures: list[str] = []
        for step in range(min(MOST_FAILURES_IN_A_ROW, len(order)) if self.training else 1):
            row = self.rows.iloc[order[(position + step) % len(order)]]
            rng = np.random.default_rng([self.seed, epoch, position, step])
            try:
                return {**self._item(row, rng), "failures": failures}
            except UnreadableCropError as error:
                failures.append(str(error))
        return {"failures": failures}

    def _item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        image, mask = self.read(row)
        fake, rotations = bool(row.label), 0
        if self.training:
            image, mask, fake, rotations = self._changed(row, image, mask, rng)
        valid = not fake or np.count_nonzero(mask > VALID_THRESHOLD) > VALID_PIXELS
        smoothing = self.label_smoothing if self.training else 0
        return {
            "image": self._tensor(self._transformed(image, mask, rotations, rng)),
            "labels": min(max(float(fake), smoothing), 1 - smoothing),
            "img_name": f"{row.video}/{row.file}",
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
        image = _read_image(self.crops_dir / row.video / row.file, cv2.IMREAD_COLOR_RGB)
        if not row.label:
            return image, np.zeros(image.shape[:2], np.uint8)
        path = self.data_dir / "diffs" / row.video / f"{Path(row.file).stem}_diff.png"
        if not path.exists():
            return image, np.zeros(image.shape[:2], np.uint8)
        mask = _read_image(path, cv2.IMREAD_GRAYSCALE)
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

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        # A table is several times faster than arithmetic on every pixel.
        normalized = cv2.LUT(np.ascontiguousarray(image), self.table)
        return torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1)))


def _read_image(path: Path, flags: int) -> np.ndarray:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableCropError(f"{path}: {error.strerror}") from error
    image = cv2.imdecode(encoded, flags) if encoded.size else None
    if image is None:
        raise UnreadableCropError(f"{path}: {'not a readable image' if encoded.size else 'empty'}")
    return image


def tighter(image: np.ndarray, padding_part: int) -> np.ndarray:
    """`image` (h, w, ...) with a narrower margin: the crop's fifth becomes 0.6 / padding_part of a side."""
    height, width = image.shape[:2]
    cut_h, cut_w = height // 5 - int(0.6 * height / padding_part), width // 5 - int(0.6 * width / padding_part)
    return image[max(cut_h, 0) : height - max(cut_h, 0), max(cut_w, 0) : width - max(cut_w, 0)]


def _normalizing_table(normalize: Normalize) -> np.ndarray:
    """The normalised value of each of 256 pixel values in each channel, (1, 256, 3) float32."""
    values = np.arange(256, dtype=np.float64)[:, None] / 255
    return ((values - normalize.mean) / normalize.std).astype(np.float32)[None]
