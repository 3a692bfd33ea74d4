"""Pairs of a real crop and a fake of the same crop, which differ in nothing but what makes the fake."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from training.datasets.classifier_dataset import HULLS, DeepFakeClassifierDataset
from training.datasets.epoch_dataset import UnreadableCropError
from training.datasets.pair_order import PairTable
from training.tools.config import Pairs
from training.transforms.hull_blending import blend_by_hull


class CropPair(NamedTuple):
    """A real crop and its fake, (h, w, 3) uint8 RGB, and where they differ, (h, w) uint8, 0 if unknown."""

    real: np.ndarray
    fake: np.ndarray
    mask: np.ndarray


class PairDataset(DeepFakeClassifierDataset):
    """Training crops in pairs: at even positions a real one, at the next its fake, from the table or blended here.

    Both come of the same crop and have the same blackout, geometry, colour and compression. A pair of which a file
    cannot be read is replaced by the next pair.
    """

    together = 2

    def __init__(self, rows: pd.DataFrame, data_dir: str | Path, *, pairs: Pairs | None = None, **options: Any):
        super().__init__(rows, data_dir, mode="train", **options)
        self.pairs = pairs or Pairs()
        self.pairable = PairTable(rows, self._blendable())

    def _begin_caches(self) -> None:
        super()._begin_caches()
        # The two items of a pair are made one after the other.
        self._pair_of = lru_cache(maxsize=1)(self._make_pair)

    def _compute_order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        return self.pairable.order(self.pairs, self.augmentation.self_blending, rng)

    def _blendable(self) -> np.ndarray:
        """Which rows have the points to be blended along, (n,) bool; none where blending is off."""
        blendable = np.zeros(len(self.rows), bool)
        if self.augmentation.self_blending:
            real = np.flatnonzero(self.rows["label"].to_numpy() == 0)
            videos, files = (self.rows[name].iloc[real].astype(str) for name in ("original", "file"))
            stems = {video: self._stems_of_hulls(video) for video in set(videos)}
            blendable[real] = [Path(file).stem in stems[video] for video, file in zip(videos, files, strict=True)]
        return blendable

    def _stems_of_hulls(self, video: str) -> set[str]:
        return {path.stem for path in (self.data_dir / HULLS / video).glob("*.npy")}

    @property
    def sampling(self) -> str:
        crops = hashlib.sha256(self.pairable.real.tobytes()).hexdigest()
        return f"pairs of {crops}, {self.pairs.model_dump_json()}"

    def remarks(self) -> list[str]:
        remarks = super().remarks()
        remarks.append(f"pairs: {len(self.order(0)) // 2} an epoch, of {len(self.pairable.real)} real crops")
        if self.pairable.left_out:
            remarks.append(f"{self.pairable.left_out} real crops have neither a fake nor a hull: left out")
        return remarks

    def item_at(self, order: np.ndarray, place: int, rng: np.random.Generator) -> dict[str, Any]:
        first = place - place % 2
        row, image, mask, rotations = self._member(order[first], order[first + 1], place % 2, rng)
        return {"img_name": f"{row.video}/{row.file}", **self.as_item(image, mask, bool(place % 2), rotations, rng)}

    def augmented_pair(self, real: int, fake: int, rng: np.random.Generator) -> tuple[CropPair, list[np.ndarray]]:
        """A pair of rows (the same one twice: a blend) as it is made, and its two crops as training would see them."""
        seed, seen = int(rng.integers(2**63)), []
        for member in (0, 1):
            same_draws = np.random.default_rng(seed)
            _, image, mask, rotations = self._member(real, fake, member, same_draws)
            seen.append(self.transformed(image, mask, rotations, same_draws))
        return self._pair_of(int(real), int(fake), int(np.random.default_rng(seed).integers(2**63))), seen

    def _member(
        self, real: int, fake: int, member: int, rng: np.random.Generator
    ) -> tuple[Any, np.ndarray, np.ndarray, int]:
        """The real (0) or the fake (1) crop of a pair before the transforms: row, image, mask, quarter turns."""
        pair = self._pair_of(int(real), int(fake), int(rng.integers(2**63)))
        row = self.rows.iloc[fake if member else real]
        # To both the mask of the fake, and what is done to a fake: the same draws must lead to the same places.
        image, mask, rotations = self.changed(row, pair[member], pair.mask, True, rng, face_in=pair.real)
        return row, image, mask, rotations

    def _make_pair(self, real: int, fake: int, seed: int) -> CropPair:
        """Raises UnreadableCropError."""
        row = self.rows.iloc[real]
        image, _ = self.read(row)
        if fake == real:
            points = self.hull(row)
            blend = None if points is None else blend_by_hull(image, points, np.random.default_rng(seed))
            if blend is None:
                raise UnreadableCropError(f"{self.data_dir / HULLS / row.video}: no blend comes of {row.file}")
            return CropPair(blend.real, blend.fake, blend.mask)
        return _of_one_size(image, *self.read(self.rows.iloc[fake]))


def _of_one_size(real: np.ndarray, fake: np.ndarray, mask: np.ndarray) -> CropPair:
    """Fakes of another resolution than their original are cut out in another size: the smaller one tells nothing."""
    if real.shape == fake.shape:
        return CropPair(real, fake, mask)
    height, width = (min(sides) for sides in zip(real.shape[:2], fake.shape[:2], strict=True))
    real, fake = (cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in (real, fake))
    return CropPair(real, fake, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST))
