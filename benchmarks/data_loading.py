"""Training items a second on one core, ours against the published dataset, in alternation.

    python -m benchmarks.data_loading DATA_ROOT [--rounds 5] [--out benchmarks/results]

DATA_ROOT is preprocessed. Prints a table and writes it as <out>/data-loading-<name of the root>.json and .md.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.report import add_out_option, measured_with, write_report
from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.memory import keep_freed_memory

PACKAGES = ("albumentations", "opencv-python-headless", "numpy", "scipy", "scikit-image", "torch", "dlib-bin")
SIZE = 380


def one_core() -> None:
    """Keep this process to a single core and thread."""
    import cv2
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def items_per_second(make: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    for i in range(count):
        make(i)
    return count / (time.perf_counter() - start)


def measure(root: Path, rounds: int) -> dict[str, list[float]]:
    """Items a second of each dataset in each round; a first round warms up and does not count."""
    import pandas as pd

    from benchmarks import published_dataset
    from training.datasets.classifier_dataset import DeepFakeClassifierDataset
    from training.datasets.folds import read_folds

    table: pd.DataFrame = read_folds(root / "folds.csv")
    augmented = DeepFakeClassifierDataset(table, root, "train", size=SIZE)
    plain = DeepFakeClassifierDataset(table, root, "val", size=SIZE)
    pipeline = published_dataset.transforms()
    rows = list(table.itertuples())
    figures: dict[str, list[float]] = {"published, training": [], "ours, training": [], "ours, validation": []}
    for epoch in range(rounds + 1):
        random.seed(epoch)
        count = len(augmented.order(epoch))
        results = (
            items_per_second(lambda i: published_dataset.item(rows[i], root, pipeline), count),
            items_per_second(lambda i, epoch=epoch: augmented[epoch, i], count),
            items_per_second(lambda i: plain[0, i], len(rows)),
        )
        if epoch:
            for values, result in zip(figures.values(), results, strict=True):
                values.append(result)
    return figures


def report(root: Path, figures: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(values) for name, values in figures.items()}
    base = medians["published, training"]
    lines = [
        f"# Training items of {root.name} at {SIZE} pixels, one core",
        "",
        measured_with(PACKAGES),
        "",
        "| what | items/s, median | lowest | highest | over published |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {medians[name]:.0f} | {min(values):.0f} | {max(values):.0f} | {medians[name] / base:.2f} |"
            for name, values in figures.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.data_loading", description="Training items a second on one core.")
    parser.add_argument("root_dir", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    root = options.root_dir.resolve()
    if not (root / "folds.csv").exists():
        raise UserError(f"{root}: is not preprocessed; preprocess_data.sh {root}")
    keep_freed_memory()
    one_core()
    figures = measure(root, options.rounds)
    write_report(options.out, f"data-loading-{root.name}", report(root, figures), figures)
    return 0


if __name__ == "__main__":
    run_command(main)
