"""Several networks, of one kind or of several, scoring the faces of one video, or of several at once."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from common.batching import in_batches
from common.errors import UserError
from inference.cuda_graphs import Graphs, Pass, Tally, choose_pass
from inference.readings import READINGS
from inference.views import TRACK_PICTURES, Sighting, picture_of
from training.families import family_of
from training.tools.checkpoints import Checkpoint
from training.tools.config import NetworkConfig

# A group of videos has at least so many batches of one kind, of which only the last is filled up with repeats.
GROUP_BATCHES = 4
# Kinds of inputs of which a batch takes many small kernels; those of clips are large.
GRAPHED = ("frame", "tracked")

# What networks read: for each set of them that read the same, the arrays (..., h, w, 3) uint8 of every sighting, none
# of those that they are not shown.
Inputs = list[list[list[np.ndarray]]]


@dataclass
class Member:
    """A network of the ensemble, its name in results and the input it was made for.

    A network that is no module of PyTorch's makes probabilities (n,) float32 of n pictures (..., h, w, 3) uint8.
    `exact` ones are computed in 32 bits where others are by autocast.
    """

    name: str
    network: nn.Module | Callable[[Sequence[np.ndarray]], np.ndarray]
    config: NetworkConfig
    exact: bool = False

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Member":
        """The network as it predicts: in 3-D ones convolutions do the work of the batch norms after them."""
        if checkpoint.config.input != "clip":
            return cls(checkpoint.name, checkpoint.network, checkpoint.config)
        from training.zoo.clips import fold_batchnorms

        return cls(checkpoint.name, fold_batchnorms(checkpoint.network), checkpoint.config)


class Ensemble:
    """Networks on one device in one number format; calls come from one thread at a time, but for those of `inputs`.

    `dtype` float32 runs plainly; half formats convert the networks on a GPU and use autocast on a CPU, where
    whole networks in half precision are slower and less exact. `batch_size` None is what suits the device. `grouped`
    says that videos are to be scored several at once, in batches of constant size, in which a picture's score does not
    depend on how many others there are; None: on a GPU.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        batch_size: int | None = None,
        apply_compression: bool = False,
        grouped: bool | None = None,
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
        self.grouped = device.type != "cpu" if grouped is None else grouped
        # Not those of batches that had to shrink: what makes a group must not depend on when that was.
        self.group_sizes = {kind: GROUP_BATCHES * size for kind, size in self.batch_sizes.items()}
        self.apply_compression = apply_compression
        self.autocast = device.type == "cpu" and dtype != torch.float32
        self.dtype = torch.float32 if self.autocast else dtype
        self.autocast_dtype = dtype
        alike: dict[tuple, list[int]] = {}
        for number, member in enumerate(self.members):
            config = member.config
            kind = picture_of(config)
            shown = (config.tracks if kind in TRACK_PICTURES else None, config.frames if kind == "clip" else None)
            alike.setdefault((kind, config.size, *shown), []).append(number)
            if isinstance(member.network, nn.Module):
                member.network.to(device, self.dtype, memory_format=family_of(config).memory_format).eval()
        self.replayed: dict[int, Pass] = {}  # by a member's number, what stands in its network's place
        # Networks that read the same inputs share them: what they read, and their numbers.
        self.sharing = [(kind, numbers) for (kind, *_), numbers in alike.items()]

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    def use_cuda_graphs(self, mode: str) -> str | None:
        """Have networks of single pictures replayed: `on`, or with `auto` those that it makes faster.

        Returns a line that says what it came to; None where there is nothing to replay: no GPU, no such network, `off`.
        To be called before anything else is done on the device.
        """
        pictures = [(kind, n) for kind, numbers in self.sharing if kind in GRAPHED for n in numbers]
        if mode == "off" or self.device.type != "cuda" or not pictures:
            return None
        graphs, tally = Graphs(self.device), Tally()
        for kind, number in pictures:
            member = self.members[number]
            family = family_of(member.config)
            shape = self.batch_sizes[kind], *family.input_shape(member.config)
            x = torch.zeros(shape, dtype=self.dtype, device=self.device).contiguous(memory_format=family.memory_format)
            self.replayed[number] = choose_pass(
                member.network, member.name, x, mode, graphs.capture, graphs.milliseconds, tally
            )
        torch.cuda.empty_cache()  # of graphs that are not used
        return str(tally)

    def inputs(self, sightings: Sequence[Sighting]) -> Inputs:
        """What the networks read of the sightings; it needs their pictures, which nothing else does."""
        inputs = []
        for kind, numbers in self.sharing:
            config = self.members[numbers[0]].config
            inputs.append(
                [
                    READINGS[kind].inputs(s.pictures[kind], config, self.apply_compression)
                    if s.view.shows(config)
                    else []
                    for s in sightings
                ]
            )
        return inputs

    def fills_group(self, videos: Sequence[Inputs]) -> bool:
        """Whether the inputs of several videos are enough to be scored together; any are if videos are not grouped."""
        return not self.grouped or any(
            sum(len(arrays) for arrays in chain(*shares)) >= self.group_sizes[kind]
            for (kind, _), *shares in zip(self.sharing, *videos, strict=True)
        )

    def probabilities(self, sightings: Sequence[Sighting]) -> np.ndarray:
        """P(fake) of each sighting by each network, as `score` gives it."""
        return self.score(self.inputs(sightings))

    @torch.inference_mode()
    def score(self, *videos: Inputs) -> np.ndarray:
        """P(fake) of each sighting of one or several videos, one video's after the other's, by each network:
        (networks, sightings) float64, NaN where it is not shown them.

        Batches hold consecutive inputs, so the result depends on them and the batch size alone. Raises
        FloatingPointError naming the networks that give anything but numbers.
        """
        inputs = [list(chain(*shares)) for shares in zip(*videos, strict=True)]
        outputs = []
        for (kind, numbers), arrays in zip(self.sharing, inputs, strict=True):
            results, self.batch_sizes[kind] = in_batches(
                lambda batch, kind=kind, numbers=numbers: self._run(batch, kind, numbers),
                list(chain(*arrays)),
                self.batch_sizes[kind],
                "classification",
                constant=self.grouped,
            )
            outputs.append(torch.stack(results) if results else torch.zeros(0, len(numbers)))
        rows = np.full((len(self.members), max(map(len, inputs))), np.nan)
        # Only here does a GPU have to be done with its work.
        for (kind, numbers), arrays, output in zip(self.sharing, inputs, outputs, strict=True):
            results = output.cpu().double().numpy()
            broken = [self.names[n] for n, column in zip(numbers, results.T, strict=True) if _broken(column)]
            if broken:
                raise FloatingPointError(f"no finite output of {', '.join(broken)}; try --precision fp32")
            begin = 0
            for sighting, shown in enumerate(arrays):
                if shown:
                    own = results[begin : begin + len(shown)]
                    rows[numbers, sighting] = [READINGS[kind].combine(column) for column in own.T]
                    begin += len(shown)
        return rows

    @torch.inference_mode()
    def _run(self, inputs: Sequence[np.ndarray], kind: str, numbers: Sequence[int]) -> Tensor:
        """Probabilities (inputs, networks) of one batch, on the device, which may still be at work on them."""
        if any(isinstance(self.members[number].network, nn.Module) for number in numbers):
            pixels = self._on_device(inputs)
        columns = []
        for number in numbers:
            member = self.members[number]
            if not isinstance(member.network, nn.Module):
                columns.append(torch.from_numpy(member.network(inputs)).to(self.device))
                continue
            family = family_of(member.config)
            x = READINGS[kind].tensor(pixels, member.config.normalize).to(self.dtype)
            autocast = self.autocast and not member.exact
            with torch.autocast(self.device.type, self.autocast_dtype) if autocast else nullcontext():
                network = self.replayed.get(number, member.network)
                logits = network(x.contiguous(memory_format=family.memory_format))
            columns.append(family.probabilities(logits.float()))
        return torch.stack(columns, dim=1)

    def _on_device(self, inputs: Sequence[np.ndarray]) -> Tensor:
        """The batch (n, ..., h, w, 3) uint8; a CUDA device fetches it itself, from memory that stays in its place."""
        pinned = self.device.type == "cuda"
        pixels = torch.empty(len(inputs), *inputs[0].shape, dtype=torch.uint8, pin_memory=pinned)
        np.stack(inputs, out=pixels.numpy())
        return pixels.to(self.device, non_blocking=pinned)


def _broken(values: np.ndarray) -> bool:
    return not np.isfinite(values).all()
