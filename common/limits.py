"""How long, and with how much memory, one video may be worked on before the process that does it is stopped.

Both are kept by the operating system, so they hold wherever a decoder may hang. The time is a real-time timer whose
signal ends the process. The memory is RLIMIT_DATA, what a process has allocated for itself: beyond it an allocation
fails, and the process can say so, before the machine runs short. RLIMIT_AS would count libraries, and the address space
that CUDA only reserves; watching the resident size would notice an allocation when the memory is gone.
"""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIGABYTE = 1 << 30
DEFAULT_SECONDS, DEFAULT_GIGABYTES = 600.0, 4.0


@dataclass(frozen=True)
class Limits:
    """What one video may take: seconds, and gigabytes (2^30 bytes) of memory beyond what the process has anyway."""

    seconds: float = DEFAULT_SECONDS
    gigabytes: float = DEFAULT_GIGABYTES

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Limits":
        return cls(options.video_timeout, options.video_memory)

    @property
    def bytes(self) -> int:
        return int(self.gigabytes * GIGABYTE)

    @property
    def too_large(self) -> str:
        return f"takes more than {self.gigabytes:g} GB of memory; --video-memory gives it more"


DEFAULT_LIMITS = Limits()


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """`--video-timeout` and `--video-memory`."""
    add = parser.add_argument
    add(
        "--video-timeout",
        type=_positive,
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help="a video that takes longer is given up",
    )
    add(
        "--video-memory",
        type=_positive,
        default=DEFAULT_GIGABYTES,
        metavar="GB",
        help="a video that takes more memory is given up",
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0")
    return value


class Allowance:
    """What this process may take for one video after another, beyond what it has when this is made.

    Memory that it has freed may stay with it, so a video may take up to twice the limit, and never less than it.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._most = _allocated() + 2 * limits.bytes

    @contextmanager
    def for_one_video(self) -> Iterator[None]:
        """In the block too large an allocation fails. SIGALRM ends the process if the block takes longer, in whatever
        it is doing.
        """
        self._limit_memory()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.limits.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _limit_memory(self) -> None:
        if sys.platform == "linux":  # no other system keeps to it
            import resource

            allowed = min(_allocated() + self.limits.bytes, self._most)
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            soft = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allocated() -> int:
    """Bytes that this process has allocated for itself, touched or not; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)


def limited(make_work: Callable[[], Callable[[Any], Any]], limits: Limits) -> Callable[[Any], Any]:
    """What `make_work` makes, in a process in which each call then keeps to the limits, or ends it."""
    work = make_work()
    allowance = Allowance(limits)

    def within(item: Any) -> Any:
        with allowance.for_one_video():
            return work(item)

    return within


def how_it_ended(exitcode: int | None) -> str:
    """Why a process is gone that worked on a video, by its exit code as Python tells it: -N for signal N."""
    if exitcode == -signal.SIGALRM:
        return "took longer than --video-timeout allows"
    if exitcode == -signal.SIGKILL:
        return "its worker process was killed (out of memory?)"
    if exitcode is not None and exitcode < 0:
        return f"its worker process crashed ({signal.Signals(-exitcode).name})"
    return f"its worker process has ended (exit code {exitcode})"
