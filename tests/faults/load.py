"""Many videos in one run: memory, open files, threads and processes of all its processes, from the first tenth of the
videos to the last.

    python -m tests.faults.load [--videos 1000] [--out docs/reliability/load.md]

Ends with exit code 1 if a video was left out, or if the last tenth takes over 5 % more of anything than the first.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import cycle
from pathlib import Path
from statistics import median_low

from common.arguments import Parser, positive_int
from common.errors import run_command
from common.files import replacing
from demo.fresh_network import write_fresh_network
from demo.sample_videos import make_sample_root
from tests.checked_out import commit_here
from tests.faults.processes import begun, descendants, kill

OUT = Path("docs/reliability/load.md")
SOURCES = ["004", "519", "cmwenvkyhs", "fvkanshbie", "gtyoqwmdre"]  # one or two faces, none, upright
SECONDS, WIDTH, HEIGHT, FRAMES = 0.5, 320, 180, 4
NETWORK = {"encoder": "mobilenetv3_small_050", "size": 64, "seed": 1}
INTERVAL = 0.05  # seconds between looks: threads that decode come and go faster than videos are done
MOST_GROWTH = 0.05
PAGE_MEGABYTES = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Use:
    """What the processes of a run have: resident megabytes, open files, threads, and how many processes they are."""

    megabytes: float = 0.0
    open_files: int = 0
    threads: int = 0
    processes: int = 0

    @classmethod
    def of(cls, process: int) -> "Use":
        """Of a process and all that it has started; one that ends meanwhile is left out."""
        use = cls()
        for folder in (Path(f"/proc/{number}") for number in (process, *descendants(process))):
            with suppress(OSError):
                resident = int((folder / "statm").read_text().split()[1])
                open_files, threads = (len([*(folder / what).iterdir()]) for what in ("fd", "task"))
                use.megabytes += resident * PAGE_MEGABYTES
                use.open_files += open_files
                use.threads += threads
                use.processes += 1
        return use


@dataclass
class Load:
    """A run under load: of how many videos how many were done, and what it had in each tenth of them.

    Of threads the median is meant, since those that decode come and go, of all else the most.
    """

    what: str
    videos: int
    done: int
    exit_code: int
    seconds: float
    tenths: list[Use]

    @property
    def growth(self) -> dict[str, float]:
        """By what share the last tenth takes more than the first, of everything; below 0: less."""
        first, last = self.tenths[0], self.tenths[-1]
        return {f.name: getattr(last, f.name) / (getattr(first, f.name) or 1) - 1 for f in fields(Use)}

    @property
    def held(self) -> bool:
        return self.exit_code == 0 and self.done == self.videos and max(self.growth.values()) <= MOST_GROWTH


def watched(what: str, command: Sequence[str], videos: int, done: Callable[[], int], out: Callable[[], int]) -> Load:
    """Run a command, looking at it all the while; `done` counts the videos so far, `out` those in its results."""
    looks: list[list[Use]] = [[] for _ in range(10)]
    start = time.perf_counter()
    process = begun([sys.executable, *command])
    try:
        while process.poll() is None:
            if number := done():
                looks[min((number - 1) * 10 // videos, 9)].append(Use.of(process.pid))
            time.sleep(INTERVAL)
    finally:
        kill(process)
    if process.returncode:
        process.told.seek(0)
        print(process.told.read()[-2000:], file=sys.stderr)
    process.told.close()
    tenths = [summary(uses) for uses in looks]
    return Load(what, videos, out(), process.returncode, time.perf_counter() - start, tenths)


def summary(looks: Sequence[Use]) -> Use:
    """The median of the threads that the looks found, and the most of all else."""
    if not looks:
        return Use()
    values = {f.name: [getattr(use, f.name) for use in looks] for f in fields(Use)}
    return Use(**{name: (median_low if name == "threads" else max)(found) for name, found in values.items()})


def make_many(root: Path, videos: int, sources: Path) -> None:
    """A data root of so many real videos, which are a few generated ones under many names."""
    paths = make_sample_root(sources, seconds=SECONDS, width=WIDTH, height=HEIGHT, videos=SOURCES)
    part = root / "dfdc_train_part_0"
    part.mkdir(parents=True)
    names = [f"{number:06}.mp4" for number in range(videos)]
    for name, source in zip(names, cycle(paths), strict=False):
        os.link(source, part / name)
    (part / "metadata.json").write_text(json.dumps({name: {"label": "REAL", "split": "train"} for name in names}))


def predict(root: Path, videos: int, scratch: Path) -> Load:
    """`predict_folder.py` on all of them."""
    output, details, network = scratch / "submission.csv", scratch / "details.jsonl", scratch / "network"
    write_fresh_network(network, **NETWORK)
    options = ["--models", network, "--frames", FRAMES, "--output", output, "--details", details]
    command = ["-m", "predict_folder", "--test-dir", root, *options]
    return watched(
        "predict_folder",
        list(map(str, command)),
        videos,
        lambda: max(_lines(scratch / "submission.csv.partial") - 1, 0),
        lambda: details.exists() and details.read_text().count('"error": null'),
    )


def detect(root: Path, videos: int, scratch: Path) -> Load:
    """The first step of preprocessing on all of them."""

    def done() -> int:
        return len(list((root / "boxes").glob("[!.]*")))

    command = ["-m", "preprocessing.detect_original_faces", "--root-dir", str(root), "--workers", "2"]
    return watched("detect_original_faces", command, videos, done, done)


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def report(loads: Sequence[Load], commit: str) -> str:
    """The loads as Markdown."""
    lines = [
        "# Load",
        "",
        f"Generated videos, {SECONDS:g} s of {WIDTH}x{HEIGHT}, on {os.cpu_count()} CPUs, Python"
        f" {platform.python_version()}, commit {commit}. Memory is what all processes of the run have resident, shared"
        " pages counted in each. Written by `make load`.",
        "",
        "| command | videos | done | held | growth of memory | open files | threads | processes | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load in loads:
        growth = " | ".join(f"{share:+.1%}" for share in load.growth.values())
        held = "yes" if load.held else "no"
        lines.append(f"| {load.what} | {load.videos} | {load.done} | {held} | {growth} | {load.seconds:.0f} s |")
    what = "the most in each; of the threads, of which some come and go, the median"
    lines += ["", f"Growth is from the first tenth of the videos to the last, {what}."]
    for load in loads:
        lines += [
            "",
            f"{load.what}:",
            "",
            "| tenth | memory | open files | threads | processes |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {number} | {use.megabytes:.0f} MB | {use.open_files} | {use.threads} | {use.processes} |"
            for number, use in enumerate(load.tenths, 1)
        ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="tests.faults.load", description="Many videos in one run: does what it takes stay the same?")
    parser.add_argument("--videos", type=positive_int, default=1000, metavar="N", help="how many")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="the table to write")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        make_many(scratch / "root", options.videos, scratch / "sources")
        loads = [run(scratch / "root", options.videos, scratch) for run in (predict, detect)]
    text = report(loads, commit_here())
    with replacing(options.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    return int(not all(load.held for load in loads))


if __name__ == "__main__":
    run_command(main)
