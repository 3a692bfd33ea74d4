"""The state of a run: what a checkpoint holds beside the weights, so that a run goes on bit for bit."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd
import torch

FORMAT = 1


@dataclass
class Position:
    """Where a run stands: so many batches of an epoch (0-based) are trained."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class DataOrder:
    """What the order of the crops follows from, with the position; equal orders continue bit for bit."""

    rows: str  # digest of the training rows
    seed: int
    oversample: bool
    batch_size: int
    world: int
    batches_per_epoch: int
    sampling: str = "published"

    @classmethod
    def of(cls, rows: pd.DataFrame, **others: Any) -> "DataOrder":
        hashes = pd.util.hash_pandas_object(rows[["video", "file", "label"]], index=False)
        return cls(hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest(), **others)

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of what is not as in `other`, the dictionary of an order."""
        return [
            field.name for field in fields(self) if getattr(self, field.name) != other.get(field.name, field.default)
        ]


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """This process's random generators, torch's on the CPU and on the device. Nothing else draws in this process."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def training_state(
    position: Position,
    sums: list[float],
    order: DataOrder,
    optimizer: Mapping[str, Any],
    scaler: Mapping[str, Any],
    lrs: list[float],
    random_states: list[Mapping[str, torch.Tensor]],
    bce_best: float,
    afresh: list[str],
) -> dict[str, Any]:
    """The dictionary for `save_checkpoint(training=...)`; tensors, numbers, strings and containers of them."""
    return {
        "format": FORMAT,
        "position": asdict(position),
        "sums": sums,  # of the losses of the epoch so far
        "order": asdict(order),
        "optimizer": dict(optimizer),
        "scaler": dict(scaler),
        # The schedules are functions of the position; the rates are kept to be looked at.
        "scheduler": {"epoch": position.epoch, "batch": position.batch, "lrs": lrs},
        "random": random_states,
        "bce_best": bce_best,
        "afresh": afresh,  # what the run was asked where it began, not to be done again
    }
