"""Prediction against the published flow: whole videos, a network alone, detection alone.

    python -m benchmarks.prediction VIDEO_FOLDER [--networks 1 7] [--rounds 3]

Both flows take turns in two processes that hold their networks, and medians count. The networks are EfficientNet-B7
with random weights: their scores mean nothing, their speed does. That the published flow is run fairly is shown by its
libraries: timm's own network, and facenet-pytorch's detector, called plainly.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks import published_flow
from benchmarks.report import Row, add_out_option, measured_with, table, write_report
from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.limits import DEFAULT_LIMITS
from common.memory import keep_freed_memory
from demo.fresh_network import write_fresh_network
from faces.decoders import Decoders
from faces.detector import FaceDetector, shrink
from inference.devices import choose_device
from inference.engines import choose_engine
from inference.ensemble import Ensemble, Member
from inference.inputs import find_videos
from inference.readings import network_input
from inference.strategies import Rule, confident_strategy
from inference.stream import score_videos
from inference.views import Sighting, SingleFrames, reader_for, views_for
from training.tools.checkpoints import load_checkpoint

PACKAGES = ("torch", "timm", "facenet-pytorch", "opencv-python-headless", "av")
ENCODER = "tf_efficientnet_b7_ns"
NETWORKS = (1, 7)
WORKERS = 2
# The default of predict_folder.py would keep a GPU waiting.
WORKERS_ON_GPU = max(min(os.cpu_count() or 1, 12) - 2, 2)
# The published flow takes three minutes for a video with seven B7.
VIDEOS_OF_SEVERAL = 1
IMAGES = {"cuda": 32, "cpu": 8}
FRAMES_OF_A_VIDEO = 8


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


def b7_checkpoints(scratch: Path, count: int) -> list[Path]:
    """So many B7 with random weights in `scratch`; those that are there already are taken."""
    paths = [scratch / f"b7_{seed}" for seed in range(count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            write_fresh_network(path, seed=seed, encoder=ENCODER, size=published_flow.SIZE)
    return paths


def whole_videos(folder: Path, checkpoints: Sequence[Path], rounds: int) -> Row:
    """Videos a second, decoding to label."""
    on_gpu = choose_device("auto")[0].type == "cuda"
    videos = find_videos(folder)[: None if on_gpu or len(checkpoints) == 1 else VIDEOS_OF_SEVERAL]
    ensemble, views = ours(checkpoints, len(videos))
    rule, workers = Rule(confident_strategy), WORKERS_ON_GPU if on_gpu else WORKERS
    with Published(checkpoints) as published, Decoders(DEFAULT_LIMITS, ready=workers) as decoders:
        read = reader_for(views, decoders.read)
        times = alternately(
            rounds,
            published=lambda: published.seconds(published_flow.time_videos, [video.path for video in videos]),
            ours=lambda: seconds(lambda: list(score_videos(videos, read, views, ensemble, rule, workers))),
        )
    rates = {name: len(videos) / value for name, value in times.items()}
    what = f"whole videos, {len(checkpoints)} B7 ({len(videos)} videos)"
    key = f"prediction {len(checkpoints)}{' on a GPU' if on_gpu else ''}"
    return Row(key, what, "videos/s", **rates)


def ours(checkpoints: Sequence[Path], videos: int, cuda_graphs: str = "auto") -> tuple[Ensemble, list]:
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
    ensemble = Ensemble(members, device, engine.dtype)
    ensemble.use_cuda_graphs(cuda_graphs)
    return ensemble, views


def network_alone(folder: Path, checkpoint: Path, rounds: int) -> list[Row]:
    """The published flow's network, timm's own, and ours: seconds an image, images a second."""
    device, _ = choose_device("auto")
    sightings = found_faces(folder, IMAGES["cuda" if device.type == "cuda" else "cpu"])
    squares = [network_input(sighting.pictures["frame"], published_flow.SIZE) for sighting in sightings]
    # The size of the network's input already: what remains is the network.
    shown = [replace(s, pictures={"frame": square}) for s, square in zip(sightings, squares, strict=True)]
    ensemble, _ = ours([checkpoint], 1000)
    with Published([checkpoint]) as published:
        times = alternately(
            rounds,
            published=lambda: published.seconds(published_flow.time_network, squares),
            plain=lambda: published.seconds(published_flow.time_timm, squares, ENCODER.removesuffix("_ns")),
            ours=lambda: seconds(lambda: ensemble.probabilities(shown)),
        )
    apiece = {name: value / len(squares) for name, value in times.items()}
    rates = {name: 1 / value for name, value in apiece.items()}
    return [
        Row("network", "B7 alone, an image", "s", **apiece),
        Row("network rate on a GPU" if device.type == "cuda" else "network rate", "B7 alone", "images/s", **rates),
    ]


def found_faces(folder: Path, count: int) -> list[Sighting]:
    """`count` faces of the first videos that have some, some of them repeated if there are fewer."""
    view = SingleFrames(FaceDetector(), published_flow.FRAMES, count)
    found: list[Sighting] = []
    for video in find_videos(folder):
        found += view.find(view.prepare(reader_for([view])(video.path)))[0]
        if len(found) >= count:
            return found[:count]
    if not found:
        raise UserError(f"{folder}: no face in its videos")
    return (found * count)[:count]


def detection_alone(folder: Path, rounds: int) -> list[Row]:
    """Seconds a frame: the published flow's, facenet-pytorch called plainly, ours; with and without the resizing."""
    device, _ = choose_device("auto")
    large = [f for video in find_videos(folder)[:4] for f in published_flow.read(video.path)[:FRAMES_OF_A_VIDEO]]
    small = [shrink(frame, 0.5) for frame in large]
    rows = []
    for key, what, frames, divisor in (
        ("detection", "detection at half size, resizing included, a frame", large, 2),
        ("small detection", "detection alone, on the same frames of half size, a frame", small, 1),
    ):
        detector = FaceDetector(device=device, scale=1 / divisor)
        with Published([]) as published:
            times = alternately(
                rounds,
                published=lambda p=published, f=frames, d=divisor: p.seconds(published_flow.time_detection, f, d),
                plain=lambda p=published, f=frames, d=divisor: p.seconds(published_flow.time_facenet, f, d),
                ours=lambda f=frames, detector=detector: seconds(lambda: detector.detect(f)),
            )
        rows.append(Row(key, what, "s", **{name: value / len(frames) for name, value in times.items()}))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.prediction", description="Prediction against the published flow.")
    parser.add_argument("videos", type=Path, metavar="VIDEO_FOLDER")
    parser.add_argument(
        "--networks", type=positive_int, nargs="+", default=NETWORKS, metavar="N", help="ensembles of N B7"
    )
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    folder, rounds = options.videos.resolve(), options.rounds
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # where converted networks go
        checkpoints = b7_checkpoints(Path(scratch), max(options.networks))
        rows = [*network_alone(folder, checkpoints[0], rounds), *detection_alone(folder, rounds)]
        rows += [whole_videos(folder, checkpoints[:number], rounds) for number in options.networks]
    records = [row.record() for row in rows]
    _, engine = choose_engine("auto", "auto", choose_device("auto")[0])
    measured = f"{measured_with(PACKAGES)}, {torch.get_num_threads()} threads; {engine}"
    text = f"# Prediction of the videos of {folder.name}\n\n{measured}\n\n{table(records)}"
    write_report(options.out, f"prediction-{folder.name}", text, records)
    return 0


if __name__ == "__main__":
    run_command(main)
