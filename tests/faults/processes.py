"""The processes of a command that is being interrupted: begun, awaited, found, killed."""

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.checked_out import REPOSITORY

PATIENCE = 1800  # seconds after which a command hangs
WATCH = 0.05  # seconds between looks at what it is doing
TICKS = os.sysconf("SC_CLK_TCK")
# They only start or watch others.
SERVANTS = (b"resource_tracker", b"forkserver")


def begun(command: list[str], start: str = "", **environment: str) -> subprocess.Popen:
    """A command in a process group of its own; what it prints goes to a file. `start` is shell to run before it."""
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115 the process has it
    process = subprocess.Popen(
        ["sh", "-c", f'{start}\nexec "$@"', "sh", *command],
        cwd=REPOSITORY,
        stdout=told,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    process.told = told
    return process


def finished(process: subprocess.Popen) -> tuple[int, str]:
    """Its exit code, and what it printed. AssertionError if it does not end."""
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        raise AssertionError(f"hangs: {process.args}") from None
    with process.told as told:
        told.seek(0)
        return code, told.read()


def kill(process: subprocess.Popen) -> bool:
    """kill -9 of all its processes; whether it was still at work."""
    at_work = process.poll() is None
    for number in descendants(process.pid):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return at_work


def descendants(ancestor: int) -> list[int]:
    """The numbers of all processes that a process, or one of those, has started."""
    return [number for number, _ in _family(ancestor)[1:]]


def work_of(process: subprocess.Popen) -> float:
    """CPU seconds that a command has taken with all its processes: how far it is, however busy the machine is."""
    return sum(work for _, work in _family(process.pid))


def after_work(process: subprocess.Popen, work: float) -> None:
    """Wait until a command has taken so many CPU seconds, has ended, or hangs."""
    until = time.monotonic() + PATIENCE
    while process.poll() is None and work_of(process) < work and time.monotonic() < until:
        time.sleep(WATCH)


def _family(ancestor: int) -> list[tuple[int, float]]:
    """A process and all that it, or one of those, has started; the CPU seconds of each and of its dead children."""
    work: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            told = status.read_text().rpartition(")")[2].split()
            number = int(status.parent.name)
            children.setdefault(int(told[1]), []).append(number)
            work[number] = sum(map(int, told[11:15])) / TICKS
    found = [ancestor]
    for number in found:  # which grows meanwhile
        found += children.get(number, [])
    return [(number, work.get(number, 0)) for number in found]


def workers_of(process: subprocess.Popen) -> list[int]:
    """The numbers of the processes that do its work."""
    return [number for number in descendants(process.pid) if _works(number)]


def _works(number: int) -> bool:
    """Forked workers have the command line of the server they are forked from: what has children of its own serves."""
    try:
        line = Path(f"/proc/{number}/cmdline").read_bytes()
        parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        forked = b"forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(line) and (forked or not any(servant in line for servant in SERVANTS))
