"""CUDA graphs: the kernels of a network's pass are captured once and then started all at once.

Batches on a GPU have one size, so a graph for each network does. Batches of another size, as after a GPU's memory ran
out, are computed as ever.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from common.errors import one_line

Pass = Callable[[Tensor], Tensor]
# What cuDNN and cuBLAS set up on their first use cannot be captured; the number is that of PyTorch's documentation.
WARM_UP = 3
ROUNDS, PASSES = 5, 4


class Replayed:
    """A network whose passes are replayed on inputs that are like `buffer`, and computed on others.

    `replay` computes what is in `buffer` and returns the output, always in the same memory.
    """

    def __init__(self, network: Pass, buffer: Tensor, replay: Callable[[], Tensor]):
        self.network, self.buffer, self.replay = network, buffer, replay

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape != self.buffer.shape or x.dtype != self.buffer.dtype:
            return self.network(x)
        self.buffer.copy_(x)
        # Copied at once: the next pass, and graphs that share this one's memory, write over it.
        return self.replay().clone()


@dataclass
class Tally:
    """What became of the networks of an ensemble; `milliseconds` of a batch each, as ever and replayed."""

    asked: int = 0
    replayed: int = 0
    failures: list[str] = field(default_factory=list)
    milliseconds: list[tuple[float, float]] = field(default_factory=list)

    def __str__(self) -> str:
        line = f"CUDA graphs: {self.replayed} of {self.asked} networks"
        if self.milliseconds:
            plain, replayed = (sum(values) for values in zip(*self.milliseconds, strict=True))
            line += f"; a batch takes {plain:.1f} ms without them and {replayed:.1f} with them"
        return line + "".join(f"; {failure}" for failure in self.failures)


class Graphs:
    """Captures graphs on one CUDA device, which share their memory: no two are replayed at the same time."""

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

    @torch.inference_mode()
    def capture(self, network: nn.Module, buffer: Tensor) -> Replayed:
        """`network` captured on `buffer`, which it keeps. Raises RuntimeError if that cannot be done."""
        with torch.cuda.device(self.device), self._stream_kept():
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                for _ in range(WARM_UP):
                    network(buffer)
            torch.cuda.current_stream().wait_stream(self.stream)
            graph = torch.cuda.CUDAGraph()
            # What other threads do on the GPU meanwhile is no business of the capture.
            mode = "thread_local"
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode=mode):
                output = network(buffer)

        def replay() -> Tensor:
            graph.replay()
            return output

        return Replayed(network, buffer, replay)

    @contextmanager
    def _stream_kept(self) -> Iterator[None]:
        """A capture that fails leaves its own stream the current one, in PyTorch's earlier versions."""
        before = torch.cuda.current_stream()
        try:
            yield
        finally:
            torch.cuda.set_stream(before)

    @torch.inference_mode()
    def milliseconds(self, network: Pass, x: Tensor) -> float:
        """How long a pass takes, of several in a row."""
        with torch.cuda.device(self.device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            for _ in range(PASSES):
                network(x)
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / PASSES


def choose_pass(
    network: nn.Module,
    name: str,
    x: Tensor,
    mode: str,
    capture: Callable[[nn.Module, Tensor], Replayed],
    milliseconds: Callable[[Pass, Tensor], float],
    tally: Tally,
) -> Pass:
    """The network, or with `mode` on, or auto if it is faster on inputs such as `x`, its passes replayed.

    Where capturing or replaying fails it is the network, and the reason stands in `tally`.
    """
    tally.asked += 1
    try:
        replayed = capture(network, x.clone(memory_format=torch.preserve_format))
        if mode == "auto":
            times = medians_in_turn([network, replayed], x, milliseconds)
            tally.milliseconds.append(times)
            if times[1] >= times[0]:
                return network
    except RuntimeError as error:  # PyTorch's for all that CUDA refuses, too little memory included
        tally.failures.append(f"{name}: {type(error).__name__}: {one_line(error)[:200]}")
        return network
    tally.replayed += 1
    return replayed


def medians_in_turn(
    passes: Sequence[Pass], x: Tensor, milliseconds: Callable[[Pass, Tensor], float]
) -> tuple[float, ...]:
    """Of each pass the median of what it takes; they take turns, and a round before that does not count."""
    rounds = [[milliseconds(each, x) for each in passes] for _ in range(ROUNDS + 1)][1:]
    return tuple(statistics.median(times) for times in zip(*rounds, strict=True))
