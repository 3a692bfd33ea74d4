"""How long, and with how much memory, one video may be worked on before the process that does it is stopped.

Both are kept by the operating system, so they hold wherever a decoder may hang. The time is a real-time timer whose
signal ends the process. The memory is RLIMIT_DATA, what a process has allocated for itself: beyond it an allocation
fails, and the process can say so, before the machine runs short. RLIMIT_AS would count libraries, and the address space
that CUDA only reserves; watching the resident size would notice an allocation when the memory is gone.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.arguments import decimal_number

GIGABYTE = 1 << 30
DEFAULT_SECONDS, DEFAULT_GIGABYTES = 600.0, 4.0
# What systems take; more, as well as infinitely much, is no limit.
MOST_SECONDS, MOST_GIGABYTES = 1e8, 1e8


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
        return int(min(self.gigabytes, MOST_GIGABYTES) * GIGABYTE)

    @property
    def too_large(self) -> str:
        return f"takes more than {self.gigabytes:g} GB of memory; --video-memory gives it more"


DEFAULT_LIMITS = Limits()


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """`--video-timeout` and `--video-memory`."""
    add, over_zero = parser.add_argument, decimal_number(lambda value: value > 0, "over 0")
    add(
        "--video-timeout",
        type=over_zero,
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help="a video that takes longer is given up",
    )
    add(
        "--video-memory",
        type=over_zero,
        default=DEFAULT_GIGABYTES,
        metavar="GB",
        help="a video that takes more memory is given up",
    )


@contextmanager
def for_one_video(limits: Limits) -> Iterator[None]:
    """In the block an allocation fails that takes more memory than the process has before it and the limit says.

    SIGALRM ends the process if the block takes longer than allowed, in whatever it is doing.
    """
    _limit_memory(limits)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, min(limits.seconds, MOST_SECONDS))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory(limits: Limits) -> None:
    if sys.platform != "linux":  # no other system keeps to it
        return
    import resource

    # Not once for all videos: networks keep what they have made for every size of frame that they have seen.
    allowed = _allocated() + limits.bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))


def _allocated() -> int:
    """Bytes that this process has allocated for itself, touched or not."""
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)


def limited(make_work: Callable[[], Callable[[Any], Any]], limits: Limits) -> Callable[[Any], Any]:
    """What `make_work` makes, in a process in which each call then keeps to the limits, or ends it."""
    work = make_work()

    def within(item: Any) -> Any:
        with for_one_video(limits):
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
