"""Hostile videos through prediction and the preprocessing of a data root, each in a process of its own, and a table.

    python -m tests.hostile.fuzz [--source FOLDER] [--count 500] [--seed 0] [--out FILE.md]

Every file must end with a result or a reason. A crash is a command that ends otherwise than with its last line, or a
video of which it says nothing; a hang is a command that has not ended in the time its videos may take altogether.
"""

import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.arguments import Parser, positive_int
from common.errors import run_command
from common.files import replacing
from common.spreadsheets import from_text
from demo.fresh_network import write_fresh_network
from faces.video import VIDEO_SUFFIXES
from tests.checked_out import REPOSITORY, commit_here
from tests.hostile.mutated_videos import generated_sources, make_mutated_videos

SECONDS, GIGABYTES = 60.0, 1.0
FRAMES = 4
OUT = Path("benchmarks/results/hostile-videos.md")
STAGES = ("detect_original_faces", "extract_crops")


@dataclass
class Outcome:
    """What became of the hostile files in one command."""

    what: str
    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    exit_code: int | None = None
    hung: bool = False
    seconds: float = 0.0
    slowest: float = 0.0

    @property
    def crashes(self) -> int:
        """Videos nothing is known of, and the command itself if it ended by a signal or an exception."""
        return len(self.silent) + (self.exit_code not in (0, None))

    def reasons(self) -> Counter:
        """How many were refused for which reason, whatever the numbers and names in it."""
        return Counter(_kind_of(reason) for reason in self.refused.values())


def _kind_of(reason: str) -> str:
    """A reason without what differs from file to file."""
    return re.sub(r"\d[\d.x]*", "N", re.sub(r"\S*/\S+", "PATH", reason))


def _run(arguments: Sequence[object], outcome: Outcome, patience: float) -> None:
    start = time.perf_counter()
    try:
        done = subprocess.run([sys.executable, *map(str, arguments)], cwd=REPOSITORY, timeout=patience)
        outcome.exit_code = done.returncode
    except subprocess.TimeoutExpired:
        outcome.hung = True
    outcome.seconds = time.perf_counter() - start


def predict(videos: Path, names: Sequence[str], scratch: Path) -> Outcome:
    """`predict_folder.py` on the folder of hostile videos."""
    weights = scratch / "weights"
    weights.mkdir()
    write_fresh_network(weights / "small", encoder="mobilenetv3_small_050", size=96, seed=1)
    outcome, details = Outcome("predict_folder"), scratch / "details.jsonl"
    options = ["--test-dir", videos, "--weights-dir", weights, "--models", "small", "--frames", FRAMES]
    options += ["--output", scratch / "out.csv", "--details", details, "--report", scratch / "report.html"]
    limits = ["--video-timeout", SECONDS, "--video-memory", GIGABYTES]
    _run(["predict_folder.py", *options, *limits], outcome, SECONDS * len(names))
    records = [json.loads(line) for line in details.read_text().splitlines()] if details.exists() else []
    for record in records:
        if record["error"] is None:
            outcome.done += 1
        else:
            outcome.refused[record["filename"]] = record["error"]
        outcome.slowest = max(outcome.slowest, record["seconds"].get("decode", 0))
    known = {record["filename"] for record in records}
    outcome.searched = [name for name in names if (videos / name).is_dir()]
    outcome.silent = [name for name in names if name not in known and _is_scored(videos / name)]
    return outcome


def _is_scored(path: Path) -> bool:
    """Folders are searched, not scored."""
    return path.suffix in VIDEO_SUFFIXES and not path.is_dir()


def preprocess(videos: Path, names: Sequence[str], scratch: Path) -> list[Outcome]:
    """The steps that read videos, on a data root in which all hostile files are real videos."""
    part = scratch / "root" / "dfdc_train_part_0"
    part.parent.mkdir()
    part.symlink_to(videos.resolve())
    metadata = videos / "metadata.json"
    metadata.write_text(json.dumps({name: {"label": "REAL", "split": "train"} for name in names}))
    outcomes = []
    for stage, folder in zip(STAGES, ("boxes", "crops"), strict=True):
        outcome = Outcome(f"preprocessing.{stage}")
        options = ["--root-dir", part.parent, "--video-timeout", SECONDS, "--video-memory", GIGABYTES, "--workers", 2]
        _run(["-m", f"preprocessing.{stage}", *options], outcome, SECONDS * len(names))
        made = {path.stem if folder == "boxes" else path.name for path in (part.parent / folder).glob("[!.]*")}
        outcome.refused = _errors_of(part.parent / "logs" / f"{stage}.errors.csv")
        outcome.done = len(made)
        told = "\n".join(outcome.refused)
        outcome.silent = [name for name in names if Path(name).stem not in made and Path(name).stem not in told]
        outcomes.append(outcome)
    metadata.unlink()
    return outcomes


def _errors_of(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {from_text(item): reason for item, reason in list(csv.reader(file))[1:]}


def table(outcomes: Sequence[Outcome], kinds: Mapping[str, str], seed: int, source: str) -> str:
    """The outcomes as Markdown."""
    lines = [
        "# Hostile videos",
        "",
        f"{len(kinds)} files of {len(set(kinds.values()))} kinds made by `python -m tests.hostile.mutated_videos` from"
        f" {source}, seed {seed}; limits {SECONDS:g} s and {GIGABYTES:g} GB a video, commit"
        f" {commit_here()}. Written by `make fuzz`.",
        "",
        "| | inputs | done | refused, with a reason | crashes | hangs | slowest video (reading) | altogether |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        slowest = f"{o.slowest:.1f} s" if o.slowest else "-"
        cells = (len(kinds), o.done, len(o.refused), o.crashes, int(o.hung), slowest, f"{o.seconds:.0f} s")
        lines.append(f"| {o.what} | {' | '.join(map(str, cells))} |")
    for o in (o for o in outcomes if o.searched):
        lines += ["", f"{o.what} searches {len(o.searched)} of the inputs, folders named like videos, and scores none."]
    for o in outcomes:
        lines += ["", f"Reasons in {o.what}:", "", "| reason | files |", "|---|---|"]
        lines += [f"| {reason.replace('|', '/')} | {count} |" for reason, count in o.reasons().most_common()]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="fuzz", description="Hostile videos through prediction and preprocessing, and a table.")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="MP4 files to start from (default: generated)")
    parser.add_argument("--count", type=positive_int, default=500, metavar="N", help="how many to make")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other seeds damage other bytes")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="the table to write")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = options.source or generated_sources(scratch / "source")
        kinds = make_mutated_videos(scratch / "videos", source, options.count, options.seed)
        names = list(kinds)
        outcomes = [predict(scratch / "videos", names, scratch), *preprocess(scratch / "videos", names, scratch)]
    what = "real videos" if options.source else "generated videos"
    with replacing(options.out) as temporary:
        temporary.write_text(table(outcomes, kinds, options.seed, what))
    for outcome in outcomes:
        for name in outcome.silent:
            print(f"{outcome.what} says nothing of {name!a}")
    bad = sum(outcome.crashes + outcome.hung for outcome in outcomes)
    print(f"{options.out}: {len(kinds)} files, {bad} crashes and hangs")
    return int(bad > 0)


if __name__ == "__main__":
    run_command(main)
