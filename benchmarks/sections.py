"""The figures of `python -m benchmarks`, section by section; each runs in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Row, cpu_name, memory_gib, versions
from common.errors import UserError
from common.memory import keep_freed_memory
from inference.inputs import find_videos

PACKAGES = ("torch", "openvino", "timm", "facenet-pytorch", "opencv-python-headless", "av", "albumentations", "numpy")
ON_GPU = "cuda:0"  # what device "auto" is where there are several
PAIRS = 6  # generated where no data root is given
# One step of B7 takes a CPU minutes.
TRAINED_ON_CPU = {"encoder": "tf_efficientnet_b0_ns", "size": 224, "batch_sizes": [8], "steps": 5}
TRAINED_ON_GPU = {"encoder": "tf_efficientnet_b7_ns", "size": 380, "batch_sizes": [12], "steps": 20}


@dataclass(frozen=True)
class Bench:
    """What is measured: videos, perhaps a data root, how many rounds, and where files may be left meanwhile."""

    videos: Path
    root: Path | None
    rounds: int
    scratch: Path


def describe(bench: Bench) -> dict[str, Any]:
    """What the figures depend on. Raises UserError if there is no face in the videos."""
    import torch

    from benchmarks.prediction import found_faces
    from inference.devices import choose_device
    from inference.engines import choose_engine

    found_faces(bench.videos, 1)
    device, why = choose_device("auto")
    gpu = {}
    if device.type == "cuda":
        from benchmarks.gpu import about_gpu

        gpu = about_gpu(device)
    return {
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "CPU": cpu_name(),
        "cores": os.cpu_count(),
        "memory": f"{memory_gib():.0f} GiB",
        "threads": torch.get_num_threads(),
        "device": why.removeprefix("device: "),
        **gpu,
        "engine": choose_engine("auto", "auto", device)[1],
        "videos": f"{len(find_videos(bench.videos))} in {bench.videos.name}",
        "versions": versions(PACKAGES),
    }


def prediction(bench: Bench) -> list[Row]:
    from benchmarks.prediction import NETWORKS, b7_checkpoints, whole_videos

    keep_freed_memory()
    checkpoints = b7_checkpoints(bench.scratch, max(NETWORKS))
    return [whole_videos(bench.videos, checkpoints[:number], bench.rounds) for number in NETWORKS]


def gpu_tests(bench: Bench) -> list[Row]:
    from benchmarks.gpu import tests_on_gpu

    return tests_on_gpu(bench.scratch)


def gpu_choices(bench: Bench) -> list[Row]:
    from benchmarks.gpu import decoding, flow, graphs
    from benchmarks.prediction import NETWORKS, b7_checkpoints

    keep_freed_memory()
    checkpoints = b7_checkpoints(bench.scratch, max(NETWORKS))
    return [
        *graphs(bench.videos, checkpoints[0], bench.rounds),
        *decoding(bench.videos, bench.rounds, ON_GPU),
        *flow(bench.videos, checkpoints[:1], bench.rounds, ON_GPU),
        *flow(bench.videos, checkpoints, bench.rounds, ON_GPU),
    ]


def network(bench: Bench) -> list[Row]:
    from benchmarks.prediction import b7_checkpoints, network_alone

    keep_freed_memory()
    return network_alone(bench.videos, *b7_checkpoints(bench.scratch, 1), bench.rounds)


def detection(bench: Bench) -> list[Row]:
    from benchmarks.prediction import detection_alone

    keep_freed_memory()
    return detection_alone(bench.videos, bench.rounds)


def start(bench: Bench) -> list[Row]:
    from benchmarks.prediction import NETWORKS, b7_checkpoints
    from benchmarks.starting import whole_command

    checkpoints, videos = b7_checkpoints(bench.scratch, max(NETWORKS)), len(find_videos(bench.videos))
    measured = (whole_command(bench.videos, videos, checkpoints[:n], bench.scratch, bench.rounds) for n in NETWORKS)
    return [row for rows in measured for row in rows]


def scaling(bench: Bench) -> list[Row]:
    from benchmarks.scaling import predicted

    return predicted(bench.scratch, bench.rounds)


def exactness(bench: Bench) -> list[Row]:
    from benchmarks import half_precision
    from benchmarks.half_precision import CLEAR

    out = bench.scratch / "exactness"
    with redirect_stdout(sys.stderr):
        half_precision.main([str(bench.videos), "--out", str(out)])
    (path,) = out.glob("*.json")
    rows = []
    for name, gaps in _differences(json.loads(path.read_text())):
        key = "label exactness" if name in (CLEAR, "mean labels") else "exactness"
        rows.append(Row(key, f"{name}: largest difference from 32 bits", "P(fake)", gaps["largest"]))
        rows.append(Row("exactness", f"{name}: mean difference from 32 bits", "P(fake)", gaps["mean"]))
    return rows


def _differences(figures: dict[str, Any], *names: str) -> Iterator[tuple[str, dict[str, float]]]:
    for name, value in figures.items():
        if isinstance(value, dict) and "largest" in value:
            yield ", ".join((*names, name)), value
        elif isinstance(value, dict):
            yield from _differences(value, *names, name)


def preprocessing(bench: Bench) -> list[Row]:
    from benchmarks.preprocessing import measure

    root = _data_root(bench)
    # Minutes for a real root, over whose many videos chance averages out; seconds for the generated one.
    rounds = [measure(root, bench.scratch / "round") for _ in range(1 if bench.root else bench.rounds)]
    figures = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    published, decoding = figures["published flow"], figures["decoding alone"]
    rows = [
        Row(f"preprocessing {name}", f"preprocessing of {root.name}, {name}", "s", figures[f"ours, {name}"], published)
        for name in ("scale 0.5", "auto")
    ]
    ssim = figures["scikit-image / our difference"]
    return [
        *rows,
        Row("crops", "crops alone over decoding alone", "times", figures["crops alone"] / decoding),
        Row("difference", "scikit-image's difference of two crops over ours", "times", ssim),
    ]


def data_loading(bench: Bench) -> list[Row]:
    from benchmarks.data_loading import SIZE, measure, one_core
    from benchmarks.preprocessing import linked_copy

    root = _data_root(bench)
    if not (root / "folds.csv").exists():
        root = linked_copy(root, bench.scratch / "preprocessed" / root.name)
        command = [sys.executable, "-m", "preprocessing.pipeline", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keep_freed_memory()
    one_core()
    figures = {name: statistics.median(values) for name, values in measure(root, bench.rounds).items()}
    what, published = f"items of {root.name} at {SIZE} pixels, one core", figures["published, training"]
    return [
        Row("data loading", f"training {what}", "items/s", figures["ours, training"], published),
        Row("validation items", f"validation {what}", "items/s", figures["ours, validation"]),
    ]


def training(bench: Bench) -> list[Row]:
    import torch

    from benchmarks.training_step import BASE, BASE_ON_CPU, ON_CPU, VARIANTS, run

    keep_freed_memory()
    on_gpu = torch.cuda.is_available()
    settings, base = (TRAINED_ON_GPU, BASE) if on_gpu else (TRAINED_ON_CPU, BASE_ON_CPU)
    with redirect_stdout(sys.stderr):
        measured = run(**settings, variants=VARIANTS if on_gpu else ON_CPU)
    best: dict[str, dict] = {}
    for row in measured:
        if row.get("crops/s", 0) > best.get(row["variant"], {}).get("crops/s", 0):
            best[row["variant"]] = row
    what = f"training step of {settings['encoder']} at {settings['size']} pixels"
    published = best.pop(base)["crops/s"]
    return [
        Row("training step", f"{what}, {name}, batch {row['batch']}", "crops/s", row["crops/s"], published)
        for name, row in best.items()
    ]


def _data_root(bench: Bench) -> Path:
    """The one that was given, else generated pairs."""
    if bench.root:
        return bench.root
    from demo.training_videos import make_training_root

    root = bench.scratch / "generated_pairs"
    make_training_root(root, pairs=PAIRS)
    return root


# In the order of the table.
SECTIONS: dict[str, Callable[[Bench], list[Row]]] = {
    section.__name__: section
    for section in (
        gpu_tests,
        prediction,
        network,
        detection,
        start,
        scaling,
        exactness,
        preprocessing,
        data_loading,
        training,
        gpu_choices,
    )
}
# What only a GPU has; and, as one name of --only, what is to be known of one that is new to the project.
GPU_ONLY = ("gpu_tests", "gpu_choices")
GROUPS = {"gpu": ("gpu_tests", "prediction", "network", "detection", "exactness", "gpu_choices")}


def videos_of(folder: Path) -> Path:
    """The folder itself, if there are videos in it. Raises UserError."""
    from faces.video import VIDEO_SUFFIXES

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if not all(video.path.suffix.lower() in VIDEO_SUFFIXES for video in find_videos(folder)):
        raise UserError(f"{folder}: no videos in it, but images")
    return folder
