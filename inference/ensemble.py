"""Several networks, of one kind or of several, scoring the faces of a video."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from common.batching import in_batches
from common.errors import UserError
from inference.readings import READINGS
from inference.views import TRACK_PICTURES, Sighting, picture_of
from training.families import family_of
from training.tools.checkpoints import Checkpoint
from training.tools.config import NetworkConfig


@dataclass
class Member:
    """A network of the ensemble, its name in results and the input it was made for.

    A network that is no module of PyTorch's makes probabilities (n,) float32 of n pictures (..., h, w, 3) uint8.
    """

    name: str
    network: nn.Module | Callable[[Sequence[np.ndarray]], np.ndarray]
    config: NetworkConfig

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Member":
        """The network as it predicts: in 3-D ones convolutions do the work of the batch norms after them."""
        if checkpoint.config.input != "clip":
            return cls(checkpoint.name, checkpoint.network, checkpoint.config)
        from training.zoo.clips import fold_batchnorms

        return cls(checkpoint.name, fold_batchnorms(checkpoint.network), checkpoint.config)


class Ensemble:
    """Networks on one device in one number format; calls come from one thread at a time.

    `dtype` float32 runs plainly; half formats convert the networks on a GPU and use autocast on a CPU, where
    whole networks in half precision are slower and less exact. `batch_size` None is what suits the device.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        batch_size: int | None = None,
        apply_compression: bool = False,
    ):
        if device.type == "cpu" and dtype == torch.float16 and any(m.config.input == "clip" for m in members):
            raise UserError("--precision fp16: takes a CPU minutes for every clip; bf16 and fp32 do not")
        self.members = list(members)
        self.device = device
        # What is computed picture by picture anyway comes in larger batches, which keep all cores busy.
        in_torch = {picture_of(member.config) for member in members if isinstance(member.network, nn.Module)}
        self.batch_sizes = {
            kind: batch_size or (reading.cpu_batch if device.type == "cpu" and kind in in_torch else reading.gpu_batch)
            for kind, reading in READINGS.items()
        }
        self.apply_compression = apply_compression
        self.autocast = device.type == "cpu" and dtype != torch.float32
        self.dtype = torch.float32 if self.autocast else dtype
        self.autocast_dtype = dtype
        for member in self.members:
            if not isinstance(member.network, nn.Module):
                continue
            member.network.to(device, self.dtype, memory_format=family_of(member.config).memory_format).eval()

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    def probabilities(self, sightings: Sequence[Sighting]) -> np.ndarray:
        """P(fake) of each sighting by each network: (networks, sightings) float64, NaN where it is not shown them.

        Batches hold consecutive inputs, so the result depends on them and the batch size alone. Raises
        FloatingPointError naming the networks that give anything but numbers.
        """
        rows = np.full((len(self.members), len(sightings)), np.nan)
        # Networks that read the same inputs share them.
        alike: dict[tuple, list[int]] = {}
        for number, member in enumerate(self.members):
            config = member.config
            kind = picture_of(config)
            shown = (config.tracks if kind in TRACK_PICTURES else None, config.frames if kind == "clip" else None)
            alike.setdefault((kind, config.size, *shown), []).append(number)
        for (kind, *_), chosen in alike.items():
            config, reading = self.members[chosen[0]].config, READINGS[kind]
            shown = [number for number, sighting in enumerate(sightings) if sighting.view.shows(config)]
            inputs = [
                reading.inputs(sightings[number].pictures[kind], config, self.apply_compression) for number in shown
            ]
            results, self.batch_sizes[kind] = in_batches(
                lambda batch, kind=kind, chosen=chosen: self._run(batch, kind, chosen),
                [array for arrays in inputs for array in arrays],
                self.batch_sizes[kind],
                "classification",
            )
            results = np.array(results, dtype=np.float64).reshape(-1, len(chosen))
            broken = [self.names[member] for member, column in zip(chosen, results.T, strict=True) if _broken(column)]
            if broken:
                raise FloatingPointError(f"no finite output of {', '.join(broken)}; try --precision fp32")
            begin = 0
            for number, arrays in zip(shown, inputs, strict=True):
                rows[chosen, number] = [reading.combine(c) for c in results[begin : begin + len(arrays)].T]
                begin += len(arrays)
        return rows

    @torch.inference_mode()
    def _run(self, inputs: Sequence[np.ndarray], kind: str, chosen: Sequence[int]) -> list[list[float]]:
        """Probabilities of one batch, per input one value for each chosen member."""
        members = [self.members[number] for number in chosen]
        if any(isinstance(member.network, nn.Module) for member in members):
            pixels = torch.from_numpy(np.stack(inputs)).to(self.device)
        columns = []
        for member in members:
            if not isinstance(member.network, nn.Module):
                columns.append(torch.from_numpy(member.network(inputs)).to(self.device))
                continue
            family = family_of(member.config)
            x = READINGS[kind].tensor(pixels, member.config.normalize).to(self.dtype)
            with torch.autocast(self.device.type, self.autocast_dtype) if self.autocast else nullcontext():
                logits = member.network(x.contiguous(memory_format=family.memory_format))
            columns.append(family.probabilities(logits.float()))
        return torch.stack(columns, dim=1).cpu().tolist()


def _broken(values: np.ndarray) -> bool:
    return not np.isfinite(values).all()
