"""Preprocessing against the published flow, both whole and in one run, each on its own links to the same videos.

    python -m benchmarks.preprocessing DATA_ROOT [--rounds 1] [--out benchmarks/results]

Prints a table and writes it as <out>/preprocessing-<name of the root>.json and .md.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from benchmarks.cost import REPOSITORY
from benchmarks.report import add_out_option, measured_with, write_report
from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from preprocessing.data_root import METADATA, read_data_root

PACKAGES = ("torch", "facenet-pytorch", "opencv-python-headless", "av", "numpy", "scikit-image")


def linked_copy(source: Path, target: Path) -> Path:
    """A data root of links, so that each measurement begins without artifacts."""
    for part in read_data_root(source).parts:
        (target / part).mkdir(parents=True)
        shutil.copy(source / part / METADATA, target / part)
        for video in (source / part).iterdir():
            if video.name != METADATA:
                (target / part / video.name).symlink_to(video.resolve())
    return target


def seconds_of(command: Sequence[str]) -> float:
    return timed(command)[0]


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Seconds a command takes, and what it prints. UserError with its last words if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    return time.perf_counter() - start, done.stdout


def decode_alone(path: str) -> None:
    """Read every frame with OpenCV, as crops need them at the least."""
    capture = cv2.VideoCapture(path)
    while capture.grab():
        pass


def decoding_seconds(root: Path) -> float:
    """All videos decoded by as many processes as there are cores, and nothing else."""
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode_alone, [str(video.path) for video in read_data_root(root).videos.values()]))
    return time.perf_counter() - start


def ssim_ratio(root: Path) -> float:
    """How many times faster our difference is than scikit-image's on the crops of `root`, on one thread."""
    from skimage.metrics import structural_similarity

    from preprocessing.generate_diffs import structural_difference

    cv2.setNumThreads(1)
    pairs = []
    for fake in read_data_root(root).fakes:
        for path in sorted((root / "crops" / fake.id).iterdir())[:3]:
            a, b = cv2.imread(str(path)), cv2.imread(str(root / "crops" / fake.source / path.name))
            if b is not None and a.shape == b.shape:
                pairs.append((b, a))
    start = time.perf_counter()
    for real, fake in pairs:
        structural_difference(real, fake)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for real, fake in pairs:
        _, ssim = structural_similarity(real, fake, channel_axis=2, full=True, data_range=255)
        cv2.cvtColor(np.clip((1 - ssim) * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
    return (time.perf_counter() - start) / ours


def measure(source: Path, work: Path) -> dict[str, float]:
    """One round: seconds of the published flow, ours at scale 0.5 and auto, and of single steps."""
    figures: dict[str, float] = {}
    published = linked_copy(source, work / "published")
    figures["published flow"], steps = timed(
        [sys.executable, "-m", "benchmarks.published_preprocessing", str(published)]
    )
    for name, options in (("ours, scale 0.5", ["--detector-scale", "0.5"]), ("ours, auto", [])):
        ours = linked_copy(source, work / name)
        figures[name] = seconds_of([str(REPOSITORY / "preprocess_data.sh"), str(ours), *options])
    figures["decoding alone"] = decoding_seconds(ours)
    figures["crops alone"] = seconds_of(
        [sys.executable, "-m", "preprocessing.extract_crops", "--root-dir", str(ours), "--overwrite"]
    )
    figures["scikit-image / our difference"] = ssim_ratio(ours)
    figures |= {f"published flow: {step}": seconds for step, seconds in json.loads(steps.splitlines()[-1]).items()}
    shutil.rmtree(work)
    return figures


def table(source: Path, figures: dict[str, float]) -> str:
    base = figures["published flow"]
    lines = [
        f"# Preprocessing of {source.name}",
        "",
        measured_with(PACKAGES),
        "",
        "| what | seconds | published flow / this |",
        "|---|---|---|",
        *(f"| {name} | {figures[name]:.1f} | {base / figures[name]:.2f} |" for name in list(figures)[:3]),
        "",
        "| what | figure |",
        "|---|---|",
        f"| decoding all videos alone, seconds | {figures['decoding alone']:.1f} |",
        f"| crops alone, seconds | {figures['crops alone']:.1f} |",
        f"| crops / decoding | {figures['crops alone'] / figures['decoding alone']:.2f} |",
        f"| scikit-image's difference / ours, time | {figures['scikit-image / our difference']:.2f} |",
        *(f"| {name}, seconds | {figures[name]:.1f} |" for name in figures if name.startswith("published flow: ")),
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.preprocessing", description="Preprocessing against the published flow.")
    parser.add_argument("root_dir", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--rounds", type=positive_int, default=1, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    source = options.root_dir.resolve()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [measure(source, Path(folder, "round")) for _ in range(options.rounds)]
    figures = {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}
    write_report(options.out, f"preprocessing-{source.name}", table(source, figures), {"rounds": rounds})
    return 0


if __name__ == "__main__":
    run_command(main)
