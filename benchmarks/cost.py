"""Seconds and memory of what runs in processes of its own.

    python -m benchmarks.cost COMMAND...      (prints seconds, peak memory in GiB and exit status as JSON)

What a process takes at most is never told to be less than what its parent held when it began: the parent is this
command, which holds nothing.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """Seconds a command takes, and GiB that the largest of its processes holds at most."""

    seconds: float
    gib: float


def cost_of(command: Sequence[str | Path], **environment: str | Path) -> Cost:
    """What `command` costs from its start to its end. Raises RuntimeError with its last words if it fails."""
    outer = [sys.executable, "-m", "benchmarks.cost", *map(str, command)]
    surroundings = os.environ | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(outer, cwd=REPOSITORY, env=surroundings, check=True, capture_output=True, text=True)
    seconds, gib, status = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{command[1]} ended with {status}: {done.stderr[-500:]}")
    return Cost(seconds, gib)


def apart(function: Callable, *arguments: Any) -> Any:
    """What `function` returns in a fresh process, which neither takes over nor leaves behind any state."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    start = time.perf_counter()
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps((seconds, peak / (2**30 if sys.platform == "darwin" else 2**20), done.returncode)))


if __name__ == "__main__":
    main()
