"""From a dataset to batches: which items a process takes, the workers that make them, items that cannot be made."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from common.errors import UserError, one_line
from common.memory import be_killed_first, keep_freed_memory
from common.processes import leave_signals_to_parent, start_fork_server
from training.datasets.epoch_dataset import EpochDataset, Key

MOST_FAILURES = 0.01
FAILURES_SHOWN = 5
PREFETCH = 4


class EpochSampler(Sampler[Key]):
    """This rank's part of an epoch: every `world`-th item (or pair of items that belong together), in whole batches of
    all ranks together.
    """

    def __init__(self, dataset: EpochDataset, batch_size: int, rank: int = 0, world: int = 1):
        self.dataset = dataset
        self.batch_size = batch_size
        self.rank = rank
        self.world = world
        self.set(0, 0, 0)

    def batches_there(self, epoch: int) -> int:
        """Whole batches in the epoch; what is left over is dropped."""
        return len(self.dataset.order(epoch)) // (self.batch_size * self.world)

    def set(self, epoch: int, start: int, end: int) -> None:
        """What the next iteration yields: the items of the batches `start` to `end` (exclusive) of `epoch`."""
        self.epoch, self.start, self.end = epoch, start, end

    def __iter__(self) -> Iterator[Key]:
        together = self.dataset.together
        units = self.batch_size * self.world // together
        mine = range(self.start * units + self.rank, self.end * units, self.world)
        return ((self.epoch, unit * together + i) for unit in mine for i in range(together))

    def __len__(self) -> int:
        return (self.end - self.start) * self.batch_size


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: images (n, 3, h, w), labels (n, 1) float32, valid (n,) bool, img_name list, failures of all items.

    Items without an image are left out; `image` is None if that are all.
    """
    batch: dict[str, Any] = {"failures": [message for item in items for message in item["failures"]], "image": None}
    batch["lost"] = sum("image" not in item for item in items)
    there = [item for item in items if "image" in item]
    if there:
        batch["image"] = torch.stack([item["image"] for item in there])
        batch["labels"] = torch.tensor([[item["labels"]] for item in there], dtype=torch.float32)
        batch["valid"] = torch.tensor([item["valid"] for item in there], dtype=torch.bool)
        batch["img_name"] = [item["img_name"] for item in there]
    return batch


def make_loader(dataset: EpochDataset, batch_size: int, items: Iterable[Key], workers: int, pinned: bool) -> DataLoader:
    """Batches of the dataset's `items`, made by `workers` processes that stay from epoch to epoch."""
    if workers:
        start_fork_server([__name__])
    return DataLoader(
        dataset,
        batch_size,
        sampler=items,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCH if workers else None,
        multiprocessing_context="forkserver" if workers else None,
        worker_init_fn=start_worker,
        # Seeds of the workers are not used; drawing one must not move the generator that dropout draws from.
        generator=torch.Generator(),
    )


def batches_of(loader: DataLoader) -> Iterator[dict[str, Any]]:
    """The loader's batches. Raises UserError if one of its processes is gone."""
    try:
        yield from loader
    except (RuntimeError, OSError, EOFError) as error:
        # What it was just handing over is an OSError or an EOFError, here or in the thread that pins memory for a GPU;
        # the dataset's own begin with "Caught".
        told = str(error)
        of_torch = isinstance(error, (OSError, EOFError)) or told.startswith(("DataLoader", "Pin memory thread"))
        if told.startswith("Caught") or not of_torch:
            raise
        raise UserError(
            "a process that prepares crops has died (out of memory? --workers N starts fewer);"
            " --resume auto goes on from the last saved state"
        ) from error


def start_worker(worker: int) -> None:
    """Begin a worker process of a data loader: one thread, signals left to the parent."""
    leave_signals_to_parent()
    be_killed_first()
    cv2.setNumThreads(0)
    keep_freed_memory()


class Failures:
    """Items of an epoch that could not be read: more than one in a hundred end the run."""

    def __init__(self, what: str, expected: int):
        self.what, self.expected = what, expected
        self.messages: list[str] = []

    def add(self, batch: Mapping[str, Any]) -> None:
        for message in batch["failures"]:
            if not self.messages:
                tqdm.write(one_line(f"{self.what}: left out, cannot be used: {message}"))
            self.messages.append(message)
        self.refuse_many(len(self.messages), hopeless=batch["lost"] and self.what == "training")

    def refuse_many(self, count: int, hopeless: bool = False) -> None:
        """Raise UserError if so many failed that the epoch, or what is left of it, is worth nothing."""
        if count > MOST_FAILURES * self.expected or hopeless:
            shown = "; ".join(list(dict.fromkeys(self.messages))[:FAILURES_SHOWN]) or "told by another process"
            raise UserError(
                f"{self.what}: {count} tries to read a crop failed, more than 1 % of {self.expected} or too many in a"
                f" row; preprocess again, or leave them out of the table; the first: {shown}"
            )
