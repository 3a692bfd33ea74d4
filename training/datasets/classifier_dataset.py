"""From a row of folds.csv to a frame classifier's input."""

import struct
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
from training.transforms.hull_blending import blend_by_hull
from training.transforms.self_blending import self_blend
from training.transforms.video_compression import compress_as_video

HULLS = "hulls"  # folder of what preprocessing.generate_hulls writes
NUMBERS = {5: "five", 68: "68"}
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

    def remarks(self) -> list[str]:
        hulls, extra = self.data_dir / HULLS, self.augmentation
        if not (extra.self_blending and extra.blending == "hull") or hulls.is_dir():
            return []
        return [f"{hulls} is not there: nothing is blended; python -m preprocessing.generate_hulls makes it"]

    def item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        image, mask = self.read(row)
        fake, rotations = bool(row.label), 0
        if self.training:
            image, mask, fake = self._blended(row, image, mask, rng)
            image, mask, rotations = self.changed(row, image, mask, fake, rng)
        return self.as_item(image, mask, fake, rotations, rng)

    def as_item(
        self, image: np.ndarray, mask: np.ndarray, fake: bool, rotations: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """A crop after the transforms, with what else a batch holds of it."""
        valid = not fake or np.count_nonzero(mask > VALID_THRESHOLD) > VALID_PIXELS
        return {
            "image": normalized(self.transformed(image, mask, rotations, rng), self.table),
            "labels": self.smoothed(fake),
            "valid": int(valid),
            "rotations": rotations,
        }

    def augmented(self, row: Any, rng: np.random.Generator) -> np.ndarray:
        """A row's crop as training would see it, (size, size, 3) uint8 RGB: what the tensor is made of."""
        image, mask, fake = self._blended(row, *self.read(row), rng)
        image, mask, rotations = self.changed(row, image, mask, fake, rng)
        return self.transformed(image, mask, rotations, rng)

    def transformed(self, image: np.ndarray, mask: np.ndarray, rotations: int, rng: np.random.Generator) -> np.ndarray:
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

    def _blended(
        self, row: Any, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Image, mask and whether it is fake, after a share of the real crops was blended."""
        extra = self.augmentation
        if row.label or not extra.self_blending or rng.random() >= extra.self_blending:
            return image, mask, bool(row.label)
        if extra.blending == "hull":
            points = self.hull(row)
            blend = None if points is None else blend_by_hull(image, points, rng)
            return (blend.fake, blend.mask, True) if blend else (image, mask, False)
        blended = self_blend(image, rng)
        return (*blended, True) if blended else (image, mask, False)

    def changed(
        self,
        row: Any,
        image: np.ndarray,
        mask: np.ndarray,
        fake: bool,
        rng: np.random.Generator,
        face_in: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """What training does to a crop before the transforms: image, mask, quarter turns.

        The outline of the face is looked for in `face_in` (the image, if that is None).
        """
        extra = self.augmentation
        if extra.video_compression and rng.random() < extra.video_compression:
            image = compress_as_video(image, rng)
        if self.hardcore:
            image, mask = hardcore_blackout(image, mask, fake, self.landmarks(row, image.shape[:2]), rng, face_in)
        if extra.half_blackout and rng.random() < extra.half_blackout:
            image, mask = black_out_half(image, mask, fake, rng)
        if self.padding_part > 3:
            image, mask = tighter(image, self.padding_part), tighter(mask, self.padding_part)
        turned = bool(extra.quarter_turns) and rng.random() < extra.quarter_turns
        return image, mask, int(rng.integers(4)) if turned else 0

    def landmarks(self, row: Any, shape: tuple[int, ...]) -> np.ndarray | None:
        """The eyes, the nose and the corners of the mouth in a crop of this height and width, (5, 2), or None.

        They are those of the original's crop, which has another size where its video has another resolution.
        """
        path = self.data_dir / "landmarks" / row.original / f"{Path(row.file).stem}.npy"
        points = _read_points(path, 5, "landmarks")
        size = None if points is None else _png_size(self.crops_dir / row.original / row.file)
        if size in (None, shape):
            return points
        return np.around(points * (np.array(shape) / size)[::-1]).astype(points.dtype)

    def hull(self, row: Any) -> np.ndarray | None:
        """dlib's points of the face in the original's crop, (68, 2), or None."""
        return _read_points(self.data_dir / HULLS / row.original / f"{Path(row.file).stem}.npy", 68, HULLS)


def _png_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a PNG file, from its beginning; None if it is not there, or none."""
    try:
        with path.open("rb") as file:
            beginning = file.read(24)
    except OSError:
        return None
    width, height = struct.unpack(">II", beginning[16:]) if len(beginning) == 24 else (0, 0)
    return (height, width) if width and height else None


def _read_points(path: Path, count: int, what: str) -> np.ndarray | None:
    """An array (count, 2) of x and y, None where there is no file. Raises UnreadableCropError."""
    if not path.exists():
        return None
    try:
        points = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, which raises half a dozen types
        raise UnreadableCropError(f"{path}: not a readable array of {what}") from error
    numbers = isinstance(points, np.ndarray) and points.dtype.kind in "iuf"
    if not numbers or points.shape != (count, 2) or not (np.abs(points.astype(float)) < FARTHEST_POINT).all():
        raise UnreadableCropError(f"{path}: not {NUMBERS[count]} points x, y")
    return points


def tighter(image: np.ndarray, padding_part: int) -> np.ndarray:
    """`image` (h, w, ...) with a narrower margin: the crop's fifth becomes 0.6 / padding_part of a side."""
    height, width = image.shape[:2]
    cut_h, cut_w = height // 5 - int(0.6 * height / padding_part), width // 5 - int(0.6 * width / padding_part)
    return image[max(cut_h, 0) : height - max(cut_h, 0), max(cut_w, 0) : width - max(cut_w, 0)]
