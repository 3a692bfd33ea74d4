"""From a row of clips.csv to the input of a 3-D network, and of sequences.csv to that of a sequence network."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from faces.clips import centred_clip, repeated, resized_faces
from faces.video import VideoError, VideoFile
from training.datasets.epoch_dataset import EpochDataset, UnreadableCropError, normalizing_table, read_image
from training.tools.config import Normalize
from training.transforms.clips import augmented_clip, create_clip_train_transforms


class ClipDataset(EpochDataset):
    """Windows of face clips: image (3, frames, size, size) float32 normalised.

    Training takes the window at a random place, validation the first. A clip that is too short is repeated from its
    beginning.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        data_dir: str | Path,
        mode: str = "train",
        *,
        frames: int,
        size: int = 224,
        normalize: Normalize | None = None,
        clips_dir: str = "clips",
        **common: Any,
    ):
        super().__init__(rows, mode, **common)
        self.clips_dir = Path(data_dir) / clips_dir
        self.frames = frames
        self.size = size
        self.table = normalizing_table(normalize or Normalize())
        self.transforms = create_clip_train_transforms(size)

    def item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        clip = read_clip(self.clips_dir / row.video / row.file, self.frames, rng if self.training else None)
        clip = (
            augmented_clip(clip, self.transforms, rng) if self.training else centred_clip(clip, self.frames, self.size)
        )
        return {"image": clip_tensor(clip, self.table), "labels": self.smoothed(bool(row.label)), "valid": 1}


class SequenceDataset(EpochDataset):
    """Faces of one person, apart in time: image (frames, 3, size, size) float32 in 0-255.

    `shuffled` is the share of the real sequences whose frames are put in another order in training: a new real
    sequence, where there are more fakes than reals.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        data_dir: str | Path,
        mode: str = "train",
        *,
        frames: int = 10,
        size: int = 160,
        shuffled: float = 0.0,
        sequences_dir: str = "sequences",
        **common: Any,
    ):
        super().__init__(rows, mode, **common)
        self.sequences_dir = Path(data_dir) / sequences_dir
        self.frames = frames
        self.size = size
        self.shuffled = shuffled

    def item(self, row: Any, rng: np.random.Generator) -> dict[str, Any]:
        path = self.sequences_dir / row.video / row.file
        strip = read_image(path, cv2.IMREAD_COLOR_RGB)
        side = strip.shape[0]
        if strip.shape[1] != side * self.frames:
            raise UnreadableCropError(f"{path}: is {strip.shape[1]}x{side}, not {self.frames} squares side by side")
        faces = strip.reshape(side, self.frames, side, 3).transpose(1, 0, 2, 3)
        if self.training:
            if rng.random() < 0.5:
                faces = faces[:, :, ::-1]
            if not row.label and rng.random() < self.shuffled:
                faces = faces[rng.permutation(self.frames)]
        return {
            "image": sequence_tensor(faces, self.size),
            "labels": self.smoothed(bool(row.label)),
            "valid": 1,
        }


def read_clip(path: Path, frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """`frames` successive frames of a clip file, (frames, h, w, 3) uint8 RGB: the first ones, or a random window.

    Raises UnreadableCropError.
    """
    try:
        with VideoFile(path) as file:
            last = max(file.frame_count - frames, 0)
            start = int(rng.integers(last + 1)) if rng is not None else 0
            images = [image[..., ::-1] for _, image in file.frames(range(start, min(start + frames, file.frame_count)))]
    except VideoError as error:
        raise UnreadableCropError(f"{path}: {error}") from error
    if not images:
        raise UnreadableCropError(f"{path}: no frame of it can be decoded")
    return repeated(images, frames)


def clip_tensor(clip: np.ndarray, table: np.ndarray) -> torch.Tensor:
    """A clip (frames, h, w, 3) uint8 as a tensor (3, frames, h, w) float32, normalised by `table`."""
    frames, height, width = clip.shape[:3]
    values = cv2.LUT(np.ascontiguousarray(clip).reshape(frames * height, width, 3), table)
    return torch.from_numpy(np.ascontiguousarray(values.reshape(frames, height, width, 3).transpose(3, 0, 1, 2)))


def sequence_tensor(faces: np.ndarray, size: int) -> torch.Tensor:
    """Faces (frames, h, w, 3) uint8 as a tensor (frames, 3, size, size) float32 in 0-255."""
    return torch.from_numpy(np.ascontiguousarray(resized_faces(faces, size).transpose(0, 3, 1, 2), dtype=np.float32))
