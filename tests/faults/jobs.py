"""What the fault suite interrupts: each command on a prepared folder, and what it leaves there when it is done."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from demo.fresh_network import write_fresh_network
from demo.sample_videos import make_sample_root
from preprocessing import (
    compress_videos,
    detect_original_faces,
    extract_clips,
    extract_crops,
    extract_images,
    face_encodings,
    generate_diffs,
    generate_folds,
    generate_hulls,
    generate_landmarks,
)
from tests.training_runs import CONFIG, NAME, command, write_config

# In the order in which one needs another's artifacts.
STAGES = (
    *(detect_original_faces, extract_crops, generate_landmarks, generate_diffs, generate_folds),
    *(extract_clips, generate_hulls, face_encodings, compress_videos, extract_images),
)
READ_FROM_ROOT = {
    extract_crops: ("*/*.mp4", "boxes/*.json"),
    **dict.fromkeys((detect_original_faces, extract_clips, compress_videos, extract_images), ("*/*.mp4",)),
}
TABLES = ("folds.csv", "clips.csv", "sequences.csv")
VIDEOS = ["004", "519", "fvkanshbie", "gtyoqwmdre", "hplzkcxiun"]
# Long enough for a clip, of at least 30 frames.
SECONDS, WIDTH, HEIGHT, FRAMES = 1.2, 640, 360, 8
NETWORK = {"encoder": "mobilenetv3_small_050", "size": 64, "seed": 1}
TRAINING = {**CONFIG, "batches_per_epoch": 24}


@dataclass(frozen=True)
class Job:
    """A command that is begun in a folder which `prepare` has filled, and begun again after a fault.

    `artifacts` tells by name a digest of everything that stays when it is done. Other content, which must still be
    readable, may be left of those in `growing` by an interrupted run, and of those `of_all_items` by one that has lost
    an item. `inputs` are files and folders that it reads, `told` says why items were lost; None: it ends at the first.
    """

    name: str
    prepare: Callable[[Path], None]
    command: Callable[[Path], list[str]]
    artifacts: Callable[[Path], dict[str, str]]
    inputs: Callable[[Path], Iterable[Path]]
    told: Callable[[Path], str] | None = None
    growing: Callable[[str], bool] = lambda name: False
    of_all_items: Callable[[str], bool] = lambda name: False


def jobs(ground: Path) -> Iterable[Job]:
    """All jobs, on generated videos and what is made of them below `ground`."""
    root = ground / "root"
    make_sample_root(root, seconds=SECONDS, width=WIDTH, height=HEIGHT, videos=VIDEOS)
    for number, stage in enumerate(STAGES):
        before = shutil.copytree(root, ground / f"before_{number}", ignore=shutil.ignore_patterns("logs"))
        assert stage.main(_options(stage, root)) == 0
        yield _stage_job(stage, before)
    yield _training_job(root)
    write_fresh_network(ground / "network", **NETWORK)
    yield _prediction_job(root, ground / "network")


def _options(stage: ModuleType, root: Path) -> list[str]:
    last = ["--out", str(root / "folds.csv")] if stage is generate_folds else ["--workers", "2"]
    return ["--root-dir", str(root), *last]


def _stage_job(stage: ModuleType, before: Path) -> Job:
    name = stage.__name__.rpartition(".")[2]

    def told(folder: Path) -> str:
        errors = folder / "root" / "logs" / f"{name}.errors.csv"
        return errors.read_text() if errors.exists() else ""

    return Job(
        name,
        lambda folder: shutil.copytree(before, folder / "root") and None,
        lambda folder: [sys.executable, "-m", stage.__name__, *_options(stage, folder / "root")],
        lambda folder: _digests(folder / "root", lambda path: "logs" not in path.parts),
        lambda folder: _found(folder / "root", *READ_FROM_ROOT.get(stage, ("crops/*",))),
        None if stage is generate_folds else told,
        of_all_items=lambda name: name in TABLES,
    )


def _training_job(root: Path) -> Job:
    def prepare(folder: Path) -> None:
        write_config(folder / "config.json", TRAINING)

    def argv(folder: Path) -> list[str]:
        options = ("--workers", "1", "--save-every", "3", "--resume", "auto")
        module = [sys.executable, "-m", "training.pipelines.train_classifier"]
        return module + command(root, folder, folder / "config.json", *options)

    def artifacts(folder: Path) -> dict[str, str]:
        # A checkpoint knows when it was made; what counts is what it computes with.
        paths = (folder / "weights").glob("*")
        return {path.name: _digest_of_weights(path) if path.name.startswith("x_") else "" for path in paths}

    return Job(
        "train_classifier",
        prepare,
        argv,
        artifacts,
        lambda folder: _found(root, "crops/*/*.png"),
        growing=lambda name: name in (f"{NAME}_last", f"{NAME}_best_dice"),
    )


def _prediction_job(root: Path, network: Path) -> Job:
    def argv(folder: Path) -> list[str]:
        out = folder / "out"
        return [
            *(sys.executable, "-m", "predict_folder", "--test-dir", str(root), "--models", str(network)),
            *("--frames", str(FRAMES), "--output", str(out / "submission.csv")),
            *("--details", str(out / "details.jsonl")),
        ]

    def artifacts(folder: Path) -> dict[str, str]:
        found = _digests(folder / "out", lambda path: path.suffix != ".jsonl")
        details = folder / "out" / "details.jsonl"
        return found | ({"details.jsonl": _digest_of_details(details)} if details.exists() else {})

    return Job(
        "predict_folder",
        lambda folder: (folder / "out").mkdir(),
        argv,
        artifacts,
        lambda folder: _found(root, "*/*.mp4"),
        lambda folder: (folder / "out" / "submission.csv.errors.csv").read_text(),
        of_all_items=lambda name: True,
    )


def _found(folder: Path, *patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _digests(folder: Path, wanted: Callable[[Path], bool]) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    inside = {str(path.relative_to(folder)): path for path in paths}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inside.items() if wanted(Path(name))}


def _digest_of_weights(path: Path) -> str:
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _digest_of_details(path: Path) -> str:
    """Of all but the times, which no two runs share."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    told = [{name: value for name, value in record.items() if name != "seconds"} for record in records]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
