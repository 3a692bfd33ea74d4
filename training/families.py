"""What differs between networks that see single frames, clips of many frames, and sequences of faces apart in time.

The loop, the checkpoints and the logs are the same for all; a family brings its dataset, its loss, what its logits
mean, and how a video's several results become one.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from common.errors import UserError
from training.cutmix import cutmix, mixed_cross_entropy
from training.datasets.folds import VALIDATION_FRAME_STEP
from training.losses import WeightedLosses, sided_loss
from training.tools.config import NetworkConfig, TrainConfig
from training.tools.metrics import count_faces

if TYPE_CHECKING:  # prediction knows families, but has no tables and no augmentation
    import pandas as pd

    from training.datasets.epoch_dataset import EpochDataset

# Options of training that only networks of single frames have, as the parser names them.
OF_FRAMES = ("only_changed_frames", "freeze_epochs", "padding_part", "no_hardcore", "label_smoothing", "crops_dir")
Losses = tuple[Tensor, Tensor, Tensor]  # of the batch, of its fakes, of its reals; scalars


class Criterion(Protocol):
    """A family's loss, in two steps: what it does to a batch before the network, and the losses of its logits."""

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        """Images and targets from images (n, ...) and labels (n, 1) float, 1 for fake."""

    def __call__(self, logits: Tensor, targets: Any, chosen: Tensor | None) -> Losses:
        """The losses of logits (n, k) float32; only items `chosen` (n,) bool count, if given."""


class Family(Protocol):
    """A kind of network, as the loop sees it."""

    made_by: str  # what makes its inputs
    table: str  # which lists them
    validation_frame_step: int  # of a table's rows, those are for validation whose frame this divides
    memory_format: torch.memory_format
    aggregate: str  # of a video's results: a key of training.tools.metrics.AGGREGATES

    def folder_of(self, options: argparse.Namespace) -> str:
        """Where its inputs are, below the data root."""

    def remarks(self, data_dir: Path) -> list[str]:
        """What is missing beside them, and what that means, a line each."""

    def input_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        """The shape of one of the network's inputs."""

    def datasets(
        self, config: TrainConfig, rows: "pd.DataFrame", held_out: "pd.DataFrame", options: argparse.Namespace
    ) -> "tuple[EpochDataset, EpochDataset]":
        """Those of training and of validation."""

    def face_counts(self, rows: "pd.DataFrame") -> dict[str, int]:
        """How many faces each video of a table has; empty if its files do not tell."""

    def criterion(self, config: TrainConfig) -> Criterion: ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """P(fake) (n,) of logits (n, k)."""

    def pictures(self, images: Tensor, config: TrainConfig) -> Tensor:
        """What a person can look at of a batch's images, (n, 3, h, w) in 0-1."""


class OneLogit:
    """Loss of logits (n, 1), above 0 for fake: fakes and reals weigh the same, whatever their numbers."""

    def __init__(self, config: TrainConfig):
        self.loss = WeightedLosses(config.losses)
        self.ohem_samples = config.ohem_samples

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images, labels

    def __call__(self, logits: Tensor, targets: Tensor, chosen: Tensor | None) -> Losses:
        if chosen is None:
            return sided_loss(self.loss, logits, targets, self.ohem_samples)
        loss, fake, real = sided_loss(self.loss, logits[chosen], targets[chosen], self.ohem_samples)
        return loss + logits.sum() * 0, fake, real  # a batch of which none is chosen still has a graph


class TwoClasses:
    """Cross entropy of logits (n, 2), class 0 FAKE and 1 REAL, of clips mixed by CutMix or not."""

    def __init__(self, config: TrainConfig):
        self.cutmix = config.cutmix

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        classes = (labels.flatten() < 0.5).long()
        if not self.cutmix:
            return images, (classes, classes, torch.ones(len(classes), device=classes.device))
        # Drawn on the CPU, whose random state every checkpoint holds.
        mixed, own, pasted, share = cutmix(images, classes, torch.default_generator)
        return mixed, (own, pasted, share)

    def __call__(self, logits: Tensor, targets: tuple[Tensor, Tensor, Tensor], chosen: Tensor | None) -> Losses:
        losses = mixed_cross_entropy(logits, *targets)
        fake = targets[0] == 0
        sides = [losses[side].mean() if side.any() else logits.sum() * 0 for side in (fake, ~fake)]
        return losses.mean(), *sides


class Frames:
    """Single crops, the winning solution."""

    made_by = "preprocess_data.sh"
    table = "folds.csv"
    validation_frame_step = VALIDATION_FRAME_STEP
    memory_format = torch.channels_last
    aggregate = "mean"

    def folder_of(self, options: argparse.Namespace) -> str:
        return options.crops_dir

    def remarks(self, data_dir: Path) -> list[str]:
        from faces.face_hull import dlib_is_there

        remarks = [
            f"{data_dir / folder} is not there: {lost}"
            for folder, lost in (
                ("diffs", "no fake counts as visibly changed"),
                ("landmarks", "eyes, nose and mouth are not blacked out"),
            )
            if not (data_dir / folder).is_dir()
        ]
        if not dlib_is_there():
            remarks.append("dlib is not installed: hull blackout and the published self-blending are off")
        return remarks

    def input_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        return 3, config.size, config.size

    def datasets(self, config, rows, held_out, options):
        from training.datasets.classifier_dataset import DeepFakeClassifierDataset
        from training.datasets.pair_dataset import PairDataset

        common = {
            "data_dir": options.data_dir,
            "crops_dir": options.crops_dir,
            "size": config.size,
            "normalize": config.normalize,
            "seed": options.seed,
            "padding_part": options.padding_part,
        }
        changes = {
            "augmentation": config.augmentation,
            "label_smoothing": options.label_smoothing,
            "hardcore": not options.no_hardcore,
            **common,
        }
        training = (
            PairDataset(rows, pairs=config.pairs, **changes)
            if config.sampling == "pairs"
            else DeepFakeClassifierDataset(rows, mode="train", oversample=not options.no_oversample, **changes)
        )
        return training, DeepFakeClassifierDataset(held_out, mode="val", **common)

    def face_counts(self, rows):
        return {}

    def criterion(self, config: TrainConfig) -> Criterion:
        return OneLogit(config)

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).flatten()

    def pictures(self, images: Tensor, config: TrainConfig) -> Tensor:
        return _pixels(images, config)


class Tracks:
    """What clips and sequences share: one step of preprocessing cuts both out of the tracks of faces."""

    made_by = "preprocessing.extract_clips"
    validation_frame_step = 1
    folder: str

    @property
    def table(self) -> str:
        return f"{self.folder}.csv"

    def folder_of(self, options: argparse.Namespace) -> str:
        return self.folder

    def remarks(self, data_dir: Path) -> list[str]:
        return []

    def dataset(self, config: TrainConfig) -> "Callable[..., EpochDataset]":
        """The dataset's class, with those arguments that it alone has."""
        raise NotImplementedError

    def datasets(self, config, rows, held_out, options):
        make = partial(
            self.dataset(config),
            data_dir=options.data_dir,
            frames=config.frames,
            size=config.size,
            seed=options.seed,
        )
        training = make(rows, mode="train", label_smoothing=0, oversample=not options.no_oversample)
        return training, make(held_out, mode="val")

    def face_counts(self, rows):
        return count_faces(zip(rows["video"], rows["file"], strict=True))


class Clips(Tracks):
    """Windows of face tracks for 3-D networks, the fifth place."""

    folder = "clips"
    memory_format = torch.channels_last_3d
    aggregate = "mean"

    def input_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        return 3, config.frames, config.size, config.size

    def dataset(self, config: TrainConfig) -> "Callable[..., EpochDataset]":
        from training.datasets.clip_dataset import ClipDataset

        return partial(ClipDataset, clips_dir=self.folder, normalize=config.normalize)

    def criterion(self, config: TrainConfig) -> Criterion:
        return TwoClasses(config)

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=1)[:, 0]

    def pictures(self, images: Tensor, config: TrainConfig) -> Tensor:
        return _pixels(images[:, :, images.shape[2] // 2], config)


class Sequences(Tracks):
    """Ten faces of one person for an LSTM; a video is as fake as its most fake face."""

    folder = "sequences"
    memory_format = torch.contiguous_format
    aggregate = "max"

    def input_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        return config.frames, 3, config.size, config.size

    def dataset(self, config: TrainConfig) -> "Callable[..., EpochDataset]":
        from training.datasets.clip_dataset import SequenceDataset

        return partial(SequenceDataset, sequences_dir=self.folder, shuffled=config.augmentation.shuffled_frames)

    def criterion(self, config: TrainConfig) -> Criterion:
        return OneLogit(config)

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).flatten()

    def pictures(self, images: Tensor, config: TrainConfig) -> Tensor:
        return images[:, 0] / 255


def _pixels(images: Tensor, config: TrainConfig) -> Tensor:
    """Normalised images (n, 3, h, w) as they were."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.normalize.mean, config.normalize.std))
    return (images * std + mean).clamp(0, 1)


FAMILIES: dict[str, Family] = {"frame": Frames(), "clip": Clips(), "sequence": Sequences()}


def family_of(config: NetworkConfig) -> Family:
    return FAMILIES[config.input]


def check_options(config: TrainConfig, options: argparse.Namespace, default: Callable[[str], Any]) -> None:
    """Refuse what only frames know, or what pairs leave no choice in; `default` tells an option's. Raises UserError."""
    if config.sampling == "pairs" and options.no_oversample:
        raise UserError(f"--no-oversample: with {options.config} every real crop has one fake beside it, never all")
    if config.input == "frame":
        return
    for name in OF_FRAMES:
        if getattr(options, name) != default(name):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag}: is for networks of single frames, {options.config} is one of {config.input}s")
