"""Seconds a clip takes a 3-D network on the CPU, as prediction runs it, and how much of that its convolutions take.

    python -m benchmarks.clip_network [--network I3D] [--frames 64]

Convolutions are timed within the same forward pass by PyTorch's profiler; a pass without the profiler stands beside it,
and the network as it is trained (batch norms not folded, channels first) in the same rounds.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.report import add_out_option, measured_with, write_report
from common.arguments import Parser, positive_int
from common.errors import run_command
from common.memory import keep_freed_memory
from training.zoo.clips import CLIP_NETWORKS, create_clip_network, fold_batchnorms

PACKAGES = ("torch",)
BATCH = 2  # a clip and its mirror image
SIZE = 224


def seconds(network: nn.Module, clips: Tensor) -> float:
    start = time.perf_counter()
    network(clips)
    return time.perf_counter() - start


def convolution_seconds(network: nn.Module, clips: Tensor) -> tuple[float, float]:
    """Seconds of a profiled pass: of its convolutions, and of all its operators together."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        network(clips)
    events = profiled.key_averages()
    convolutions = sum(e.self_cpu_time_total for e in events if "convolution" in e.key or "conv3d" in e.key)
    return convolutions / 1e6, sum(e.self_cpu_time_total for e in events) / 1e6


@torch.inference_mode()
def measure(name: str, frames: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per clip of each round but the first, which warms up."""
    random = np.random.default_rng(0)
    clips = torch.from_numpy(random.standard_normal((BATCH, 3, frames, SIZE, SIZE), dtype=np.float32))
    plain = create_clip_network(name).eval()
    folded = fold_batchnorms(plain).to(memory_format=torch.channels_last_3d)
    last = clips.contiguous(memory_format=torch.channels_last_3d)
    figures: dict[str, list[float]] = {key: [] for key in ("as predicted", "profiled", "convolutions", "as trained")}
    for number in range(rounds + 1):
        values = (
            seconds(folded, last),
            *reversed(convolution_seconds(folded, last)),
            seconds(plain, clips),
        )
        if number:
            for key, value in zip(figures, values, strict=True):
                figures[key].append(value / BATCH)
    return figures


def report(title: str, figures: dict[str, list[float]]) -> str:
    base = statistics.median(figures["convolutions"])
    lines = [
        f"# {title}",
        "",
        measured_with(PACKAGES) + f", {torch.get_num_threads()} threads",
        "",
        "| what | seconds a clip, median | lowest | highest | over its convolutions |",
        "|---|---|---|---|---|",
        *(
            f"| {key} | {statistics.median(v):.3f} | {min(v):.3f} | {max(v):.3f} | {statistics.median(v) / base:.2f} |"
            for key, v in figures.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.clip_network", description="Seconds a clip takes a 3-D network on the CPU.")
    parser.add_argument("--network", choices=list(CLIP_NETWORKS), default="I3D")
    parser.add_argument("--frames", type=positive_int, default=64)
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    keep_freed_memory()
    figures: dict[str, Any] = measure(options.network, options.frames, options.rounds)
    title = f"{options.network}, a clip of {options.frames} frames of {SIZE}x{SIZE}"
    write_report(options.out, f"clip-network-{options.network}-{options.frames}", report(title, figures), figures)
    return 0


if __name__ == "__main__":
    run_command(main)
