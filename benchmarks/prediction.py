"""Prediction against the published flow: whole videos, a network alone, detection alone, memory, time to a first label.

    python -m benchmarks.prediction VIDEO_FOLDER [--networks 1 7] [--rounds 3]

Both flows take turns in two processes that hold their networks, and medians count. The networks are EfficientNet-B7
with random weights: their scores mean nothing, their speed does. Two rows show that the published flow is run fairly:
its network against timm's own, its detection against facenet-pytorch called plainly.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks import published_flow
from benchmarks.report import add_out_option, measured_with, write_report
from common.errors import Parser, UserError, positive_int, run_command
from common.memory import keep_freed_memory
from demo.fresh_network import write_fresh_network
from faces.detector import FaceDetector
from inference.devices import choose_device
from inference.engines import choose_engine
from inference.ensemble import Ensemble, Member
from inference.inputs import find_videos
from inference.readings import network_input
from inference.strategies import Rule, confident_strategy
from inference.stream import score_videos
from inference.views import SingleFrames, reader_for, views_for
from training.tools.checkpoints import load_checkpoint

PACKAGES = ("torch", "timm", "facenet-pytorch", "opencv-python-headless", "av")
ENCODER = "tf_efficientnet_b7_ns"
WORKERS = 2
IMAGES = 8


class Published:
    """The published flow in a process of its own, so that nothing that ours sets (allocator, threads) touches it."""

    def __init__(self, checkpoints: Sequence[Path]):
        device = choose_device("auto")[0].type
        # Forked processes would share what this one has set.
        self.pool = ProcessPoolExecutor(
            1, get_context("spawn"), published_flow.prepare_process, ([str(path) for path in checkpoints], device)
        )

    def __enter__(self) -> "Published":
        return self

    def __exit__(self, *exc_info) -> None:
        self.pool.shutdown()

    def seconds(self, function: Callable, *arguments: object) -> float:
        """What `function` of published_flow, run in that process, took there."""
        return self.pool.submit(function, *arguments).result()


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternately(rounds: int, **timed: Callable[[], float]) -> dict[str, float]:
    """Medians of the seconds that calls tell, over `rounds` rounds in which they take turns; one before warms up."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, call in timed.items():
            took = call()
            if number:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def whole_videos(folder: Path, checkpoints: Sequence[Path], rounds: int) -> dict[str, float]:
    """Seconds for all videos of a folder, decoding to label."""
    videos = find_videos(folder)
    ensemble, views = ours(checkpoints, len(videos))
    rule = Rule(confident_strategy)
    with Published(checkpoints) as published:
        return alternately(
            rounds,
            published=lambda: published.seconds(published_flow.time_videos, [video.path for video in videos]),
            ours=lambda: seconds(lambda: list(score_videos(videos, reader_for(views), views, ensemble, rule, WORKERS))),
        )


def ours(checkpoints: Sequence[Path], videos: int) -> tuple[Ensemble, list]:
    """The ensemble and views of predict_folder.py's defaults."""
    device, _ = choose_device("auto")
    engine, _ = choose_engine("auto", "auto", device)
    members = []
    for path in checkpoints:
        checkpoint = load_checkpoint(path)
        members.append(
            engine.ready(Member.from_checkpoint(checkpoint), checkpoint.sha256, published_flow.FRAMES, videos)
        )
    views = views_for([member.config for member in members], published_flow.FRAMES, device, None)
    return Ensemble(members, device, engine.dtype), views


def network_alone(folder: Path, checkpoint: Path, rounds: int) -> dict[str, float]:
    """Seconds an image: the published flow's network, timm's own, and ours."""
    view = SingleFrames(FaceDetector(), published_flow.FRAMES, IMAGES)
    sightings = [s for v in find_videos(folder)[:2] for s in view.find(view.prepare(reader_for([view])(v.path)))[0]]
    squares = [network_input(s.pictures["frame"], published_flow.SIZE) for s in sightings[:IMAGES]]
    if not squares:
        raise UserError(f"{folder}: no face in its first videos")
    ensemble, _ = ours([checkpoint], 1000)
    with Published([checkpoint]) as published:
        times = alternately(
            rounds,
            published=lambda: published.seconds(published_flow.time_network, squares),
            timm=lambda: published.seconds(published_flow.time_timm, squares, ENCODER.removesuffix("_ns")),
            ours=lambda: seconds(lambda: ensemble._run(squares, "frame", [0])),
        )
    return {name: value / len(squares) for name, value in times.items()}


def detection_alone(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds a frame at half size: the published flow's, facenet-pytorch called plainly, ours; resizing included."""
    device, _ = choose_device("auto")
    frames = [frame for video in find_videos(folder)[:4] for frame in published_flow.read(video.path)[:IMAGES]]
    detector = FaceDetector(device=device, scale=0.5)
    with Published([]) as published:
        times = alternately(
            rounds,
            published=lambda: published.seconds(published_flow.time_detection, frames),
            facenet=lambda: published.seconds(published_flow.time_facenet, frames),
            ours=lambda: seconds(lambda: detector.detect(frames)),
        )
    return {name: value / len(frames) for name, value in times.items()}


def process(folder: Path, checkpoints: Sequence[Path], *options: str) -> tuple[float, float]:
    """Seconds and GiB at most of the whole command, imports and loading included."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "predict_folder.py", "--test-dir", folder, "--output", f"{scratch}/a.csv", *options]
        command += ["--models", *checkpoints]
        start = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"predict_folder.py ended with {child.returncode}")
        return time.perf_counter() - start, usage.ru_maxrss / 2**20


def rows_of(folder: Path, networks: Sequence[int], rounds: int) -> dict[str, dict[str, float]]:
    """All figures by what they are of: seconds (and GiB) by flow."""
    count = len(find_videos(folder))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # where converted networks go, here and in the commands
        checkpoints = [Path(scratch) / f"b7_{seed}" for seed in range(max(networks))]
        for seed, path in enumerate(checkpoints):
            write_fresh_network(path, seed=seed, encoder=ENCODER, size=published_flow.SIZE)
        # Processes first: what a process takes at most is never told to be less than what its parent held then.
        rows = {}
        for number in networks:
            process(folder, checkpoints[:number])  # converts the networks
            took, peak = process(folder, checkpoints[:number])
            rows[f"the command, {number} B7, all {count} videos, second run"] = {"ours": took, "GiB": peak}
        took, peak = process(folder, checkpoints[:1], "--limit", "1")
        rows["start to first label, 1 B7, second run"] = {"ours": took, "GiB": peak}
        rows["B7 alone, an image"] = network_alone(folder, checkpoints[0], rounds)
        rows["detection at half size, a frame"] = detection_alone(folder, rounds)
        for number in networks:
            times = whole_videos(folder, checkpoints[:number], rounds if number == 1 else 1)
            rows[f"whole videos, {number} B7, a video"] = {name: value / count for name, value in times.items()}
    return rows


def report(folder: Path, rows: dict[str, dict[str, float]]) -> str:
    _, engine = choose_engine("auto", "auto", choose_device("auto")[0])
    lines = [
        f"# Prediction of the {len(find_videos(folder))} videos of {folder.name}",
        "",
        f"{measured_with(PACKAGES)}, {torch.get_num_threads()} threads; {engine}",
        "",
        "| what | published flow, s | library called plainly, s | ours, s | times faster | GiB at most |",
        "|---|---|---|---|---|---|",
    ]
    for what, row in rows.items():
        plain = row.get("timm", row.get("facenet"))
        ratio = row["published"] / row["ours"] if "published" in row else None
        cells = (row.get("published"), plain, row["ours"])
        shown = [f"{value:.3f}" if value is not None else "" for value in cells]
        shown += [f"{ratio:.1f}" if ratio else "", f"{row['GiB']:.2f}" if "GiB" in row else ""]
        lines.append(f"| {what} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.prediction", description="Prediction against the published flow.")
    parser.add_argument("videos", type=Path, metavar="VIDEO_FOLDER")
    parser.add_argument(
        "--networks", type=positive_int, nargs="+", default=[1, 7], metavar="N", help="ensembles of N B7"
    )
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    folder = options.videos.resolve()
    keep_freed_memory()
    rows = rows_of(folder, options.networks, options.rounds)
    write_report(options.out, f"prediction-{folder.name}", report(folder, rows), rows)
    return 0


if __name__ == "__main__":
    run_command(main)
