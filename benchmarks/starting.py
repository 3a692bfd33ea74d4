"""What the command takes as a whole, with one and seven B7: seconds and memory, its first run and the second.

The first run converts the networks where OpenVINO computes them, the second finds them converted.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cost import apart, cost_of
from benchmarks.report import Row


def predicting(folder: Path, checkpoints: Sequence[Path], output: Path, *options: str) -> list[str | Path]:
    """predict_folder.py on a folder with defaults but for `options`."""
    command = [sys.executable, "predict_folder.py", "--test-dir", folder, "--output", output, "--overwrite"]
    return [*command, *options, "--models", *checkpoints]


def time_opening(checkpoints: Sequence[Path], cache: Path) -> tuple[float, float]:
    """Seconds in which a process reads the checkpoints, and in which it opens their converted networks."""
    os.environ["XDG_CACHE_HOME"] = str(cache)
    from inference.devices import choose_device
    from inference.engines import choose_engine
    from inference.ensemble import Member
    from training.tools.checkpoints import load_checkpoint

    engine, _ = choose_engine("auto", "auto", choose_device("auto")[0])
    times = [time.perf_counter()]
    loaded = [load_checkpoint(path) for path in checkpoints]
    times.append(time.perf_counter())
    members = [engine.ready(Member.from_checkpoint(c), c.sha256, frames=32, videos=1000) for c in loaded]
    times.append(time.perf_counter())
    assert all("openvino" in engine.format_of(member) for member in members)
    return times[1] - times[0], times[2] - times[1]


def whole_command(folder: Path, videos: int, checkpoints: Sequence[Path], scratch: Path, rounds: int) -> list[Row]:
    """Rows of one ensemble; converting counts where anything is converted."""
    number, output = len(checkpoints), scratch / "labels.csv"
    cache = scratch / f"converted_{number}"
    what = f"the command, {number} B7, {videos} videos"
    command = predicting(folder, checkpoints, output)
    rows = []
    first = cost_of(command, XDG_CACHE_HOME=cache)
    if any(cache.rglob("*.blob")):
        rows.append(Row("converting", f"{what}: the run that converts the networks", "s", first.seconds))
        rows.append(Row("converting memory", f"{what}: the run that converts the networks, at most", "GiB", first.gib))
    later = [cost_of(command, XDG_CACHE_HOME=cache) for _ in range(rounds if number == 1 else 1)]
    rows.append(Row("command", f"{what}, second run", "s", statistics.median(cost.seconds for cost in later)))
    rows.append(
        Row(
            f"command memory {number}",
            f"{what}, second run, at most",
            "GiB",
            statistics.median(cost.gib for cost in later),
        )
    )
    if number == 1:
        command = predicting(folder, checkpoints, output, "--limit", "1")
        times = [cost_of(command, XDG_CACHE_HOME=cache).seconds for _ in range(rounds)]
        rows.append(Row("first label", "start to first label, 1 B7, second run", "s", statistics.median(times)))
    if any(cache.rglob("*.blob")):
        read, opened = zip(*(apart(time_opening, checkpoints, cache) for _ in range(rounds)), strict=True)
        rows.append(Row("reading", f"second start, {number} B7: checkpoints read", "s", statistics.median(read)))
        what = f"second start, {number} B7: converted networks opened"
        rows.append(Row("opening", what, "s", statistics.median(opened)))
    return rows
