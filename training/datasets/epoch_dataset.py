"""What the datasets of all families share: which rows an epoch takes, and what becomes of items that cannot be made."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from training.datasets.folds import training_order, validation_order
from training.tools.config import Normalize

MOST_FAILURES_IN_A_ROW = 100
PUBLISHED_SAMPLING = "published"
Key = tuple[int, int]  # epoch, position in the epoch's order


class UnreadableCropError(Exception):
    """A file of a row that cannot be used; the message names it."""


class EpochDataset(Dataset):
    """Rows of a table as a network's inputs, augmented in mode `train`; a family's dataset says what an item is.

    `dataset[epoch, position]` is a pure function of the rows, the seed and the two numbers, so that any number of
    workers, in any order, before and after an interruption, make the same items; different ones in every epoch. An item
    holds at least

        image (...) float32, labels float (1 fake; smoothed in training), img_name "video/file", valid 1 or 0,
        failures (messages).

    A row that cannot be read is replaced in training by the next one of the order; after 100 in a row, and always in
    validation, there are `failures` and no image.
    """

    together = 1  # successive positions of an order that belong together, and to one process

    def __init__(
        self,
        rows: pd.DataFrame,
        mode: Literal["train", "val"] = "train",
        *,
        seed: int = 777,
        label_smoothing: float = 0.01,
        oversample: bool = True,
    ):
        self.rows = rows
        self.training = mode == "train"
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.oversample = oversample
        self._begin_caches()

    def _begin_caches(self) -> None:
        self._order_of = lru_cache(maxsize=1)(self._compute_order)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not hasattr(value, "cache_clear")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_caches()

    @property
    def sampling(self) -> str:
        """What the order follows from beside the rows, the seed and `oversample`."""
        return PUBLISHED_SAMPLING

    def remarks(self) -> list[str]:
        """What its user should know about it, a line each."""
        return []

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
        for step in range(min(MOST_FAILURES_IN_A_ROW, len(order) // self.together) if self.training else 1):
            rng = np.random.default_rng([self.seed, epoch, position // self.together, step])
            try:
                item = self.item_at(order, (position + step * self.together) % len(order), rng)
            except UnreadableCropError as error:
                failures.append(str(error))
                continue
            return {**item, "failures": failures}
        return {"failures": failures}

    def item_at(self, order: np.ndarray, place: int, rng: np.random.Generator) -> dict[str, Any]:
        """The item of a place in the order, all but its failures. Raises UnreadableCropError."""
        row = self.rows.iloc[order[place]]
        return {"img_name": f"{row.video}/{row.file}", **self.item(row, rng)}

    def item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        """The image, labels and valid of a row. Raises UnreadableCropError."""
        raise NotImplementedError

    def smoothed(self, fake: bool) -> float:
        smoothing = self.label_smoothing if self.training else 0
        return min(max(float(fake), smoothing), 1 - smoothing)


def read_image(path: Path, flags: int) -> np.ndarray:
    """An image file as OpenCV's `flags` say. Raises UnreadableCropError."""
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableCropError(f"{path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error as error:  # more pixels than OpenCV reads
        raise UnreadableCropError(f"{path}: not a readable image ({error.err})") from error
    if image is None:
        raise UnreadableCropError(f"{path}: {'not a readable image' if encoded.size else 'empty'}")
    return image


def normalizing_table(normalize: Normalize) -> np.ndarray:
    """The normalised value of each of 256 pixel values in each channel, (1, 256, 3) float32."""
    values = np.arange(256, dtype=np.float64)[:, None] / 255
    return ((values - normalize.mean) / normalize.std).astype(np.float32)[None]


def normalized(image: np.ndarray, table: np.ndarray) -> torch.Tensor:
    """An image (h, w, 3) uint8 as a tensor (3, h, w) float32; a table is several times faster than arithmetic."""
    values = cv2.LUT(np.ascontiguousarray(image), table)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
