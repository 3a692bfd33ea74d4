"""Ten times as many videos, and longer ones: throughput and memory.

    python -m benchmarks.scaling [--out benchmarks/results]

The command preprocesses generated videos, 100 and 1,000 short ones, and one of 1920x1080 at two lengths; prints a table
and writes it as <out>/scaling.md and .json. Linux only: the workers' memory is read from /proc. What 40 and 400 videos
cost in prediction is measured by `python -m benchmarks`.
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
from pathlib import Path

from benchmarks.cost import REPOSITORY, cost_of
from benchmarks.report import Row, add_out_option, write_report
from benchmarks.starting import predicting
from common.arguments import Parser
from common.errors import run_command
from common.ffmpeg import ffmpeg_executable
from demo.sample_videos import make_sample_root

PAIR = ("004", "519")
POLL_S = 0.1
# Time that does not depend on the number of videos is what this few take.
FEW = 4
PREDICTED = (40, 400)


def multiplied(source: Path, target: Path, pairs: int) -> Path:
    """A data root in which one pair of videos stands `pairs` times under different names, in two folds."""
    for index in range(pairs):
        part = target / f"dfdc_train_part_{index % 2 * 3}"
        part.mkdir(parents=True, exist_ok=True)
        for name in PAIR:
            (part / f"{name}_{index}.mp4").symlink_to(source / "dfdc_train_part_0" / f"{name}.mp4")
    for number, part in enumerate(sorted(target.iterdir())):
        entries = {}
        for index in range(number, pairs, 2):
            entries[f"{PAIR[0]}_{index}.mp4"] = {"label": "REAL"}
            entries[f"{PAIR[1]}_{index}.mp4"] = {"label": "FAKE", "original": f"{PAIR[0]}_{index}.mp4"}
        (part / "metadata.json").write_text(json.dumps(entries))
    return target


def preprocess(root: Path) -> tuple[float, float]:
    """Seconds of all five steps, and the largest resident memory of any process of it, in MiB."""
    command = [sys.executable, "-m", "preprocessing.pipeline", str(root), "--allow-empty"]
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=REPOSITORY, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        largest = 0.0
        while process.poll() is None:
            largest = max(largest, _largest_mib(process.pid))
            time.sleep(POLL_S)
    if process.returncode:
        raise SystemExit(f"preprocessing of {root} failed")
    return time.perf_counter() - start, largest


def _largest_mib(session: int) -> float:
    """The largest peak of resident memory among the processes of a session."""
    largest = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session:
                status = (process / "status").read_text()
                largest = max(largest, int(status.partition("VmHWM:")[2].split()[0]))
        except (OSError, IndexError, ValueError):  # it has ended meanwhile
            continue
    return largest / 1024


def long_video(source: Path, target: Path, times: int) -> Path:
    """A data root with one 1920x1080 pair, looped `times` times."""
    part = target / "dfdc_train_part_0"
    part.mkdir(parents=True)
    for name in PAIR:
        command = [ffmpeg_executable(), "-v", "error", "-stream_loop", str(times - 1), "-i"]
        command += [str(source / "dfdc_train_part_0" / f"{name}.mp4"), "-c", "copy", str(part / f"{name}.mp4")]
        subprocess.run(command, check=True)
    shutil.copy(source / "dfdc_train_part_0" / "metadata.json", part)
    return target


def predicted(scratch: Path, rounds: int, counts: Sequence[int] = PREDICTED) -> list[Row]:
    """What a video costs among many against among few, with a small network; the time of FEW videos is taken off."""
    from demo.fresh_network import write_fresh_network

    make_sample_root(scratch / "short", seconds=0.6, width=480, height=270, videos=PAIR)
    originals = sorted((scratch / "short").rglob("*.mp4"))
    network = scratch / "small_network"
    write_fresh_network(network, encoder="mobilenetv3_small_050", size=96)
    costs = {count: [] for count in (FEW, *counts)}
    for count in costs:
        (scratch / f"many_{count}").mkdir()
        for index in range(count):
            (scratch / f"many_{count}" / f"{index:04d}.mp4").symlink_to(originals[index % len(originals)])
    for _ in range(rounds):
        for count, measured in costs.items():
            measured.append(cost_of(predicting(scratch / f"many_{count}", [network], scratch / "many.csv")))
    seconds = {count: statistics.median(cost.seconds for cost in measured) for count, measured in costs.items()}
    memory = {count: statistics.median(cost.gib for cost in measured) for count, measured in costs.items()}
    each = {count: (seconds[count] - seconds[FEW]) / (count - FEW) for count in counts}
    fewer, more = counts
    off = f"the {seconds[FEW]:.1f} s of {FEW} videos taken off"
    return [
        *(Row("a video of many", f"the command, a small network, a video of {n}, {off}", "s", each[n]) for n in counts),
        Row("cost of many", f"a video of {more} over a video of {fewer}", "times", each[more] / each[fewer]),
        *(Row("most of many", f"the command, a small network, {n} videos, at most", "GiB", memory[n]) for n in counts),
        Row("memory of many", f"memory with {more} videos over {fewer}", "times", memory[more] / memory[fewer]),
    ]


def _figures(videos: int, seconds: float, memory: float, rate: float) -> dict[str, float]:
    return {
        "seconds": seconds,
        "videos a second": videos / seconds,
        f"the same without start-up ({FEW} videos taken off)": rate,
        "largest process, MiB": memory,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.scaling", description="Preprocessing of many and of long videos.")
    add_out_option(parser)
    out = parser.parse_args(argv).out
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_sample_root(work / "short", seconds=1, width=480, height=270, videos=PAIR)
        few, _ = preprocess(multiplied(work / "short", work / "few", FEW // 2))
        for videos in (100, 1000):
            seconds, memory = preprocess(multiplied(work / "short", work / f"{videos}", videos // 2))
            name = f"{videos} videos of 480x270, 1 s"
            figures[name] = _figures(videos, seconds, memory, (videos - FEW) / (seconds - few))
        make_sample_root(work / "hd", seconds=10, width=1920, height=1080, videos=PAIR)
        for times in (1, 6):
            seconds, memory = preprocess(long_video(work / "hd", work / f"long{times}", times))
            figures[f"a pair of 1920x1080, {10 * times} s"] = _figures(2, seconds, memory, 2 / (seconds - few))
    columns = list(next(iter(figures.values())))
    rows = [f"| {name} | " + " | ".join(f"{row[c]:.2f}" for c in columns) + " |" for name, row in figures.items()]
    text = "\n".join([f"| what | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *rows]) + "\n"
    write_report(out, "scaling", "# Preprocessing of many and of long videos\n\n" + text, figures)
    return 0


if __name__ == "__main__":
    run_command(main)
