"""Faults, one at a time: a job is begun, something happens to it, and the same command must then finish it.

Each trial raises AssertionError with what was wrong. The reference is what an undisturbed run of the job left.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.jobs import Job

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds after which a command hangs


class Impossible(Exception):
    """A fault that cannot be brought about here, and why."""


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run of a job leaves, its megabytes on disk, and how many seconds it takes."""

    artifacts: Mapping[str, str]
    megabytes: float
    seconds: float


def reference(job: Job, folder: Path) -> Reference:
    before = megabytes(prepared(job, folder))
    start = time.perf_counter()
    code, output = finished(begun(job, folder))
    assert code == 0, output
    return Reference(job.artifacts(folder), megabytes(folder) - before, time.perf_counter() - start)


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def prepared(job: Job, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    job.prepare(folder)
    return folder


def begun(job: Job, folder: Path, **environment: str) -> subprocess.Popen:
    """The job's command in a process group of its own; what it prints goes to a file."""
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115 the process has it
    process = subprocess.Popen(
        job.command(folder),
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
    """kill -9 of the whole group; whether it was still at work."""
    at_work = process.poll() is None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    process.wait()
    return at_work


def refused_in_one_line(code: int, output: str) -> None:
    """A command that could not go on says so, and shows no traceback."""
    assert code > 0 and "Traceback" not in output and output.strip(), f"exit code {code}: {output}"


def goes_on(job: Job, folder: Path, expected: Reference) -> None:
    """What was left is whole, or the same command makes it so: the same artifacts and nothing beside them."""
    if job.artifacts(folder) == expected.artifacts:
        return
    code, output = finished(begun(job, folder))
    assert code == 0, output
    assert_same(job.artifacts(folder), expected.artifacts)


def assert_same(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    assert not (missing or more or other), f"missing {missing}, too much {more}, other content {other}"


def nothing_half_written(job: Job, folder: Path, expected: Reference) -> None:
    """What an interrupted run left under its final name is what it shall be."""
    found = job.artifacts(folder)
    wrong = [n for n in expected.artifacts.keys() & found.keys() if found[n] != expected.artifacts[n]]
    assert not (wrong := [name for name in wrong if not job.growing(name)]), f"half written: {wrong}"


# --- faults ---


def killed(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """kill -9 of all its processes at a random moment; whether it was still at work then."""
    process = begun(job, prepared(job, folder))
    time.sleep(rng.uniform(0, expected.seconds))
    at_work = kill(process)
    nothing_half_written(job, folder, expected)
    goes_on(job, folder, expected)
    return at_work


def worker_killed(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """One of its processes is killed, as the system does for want of memory: the job goes on, or says so and stops."""
    process = begun(job, prepared(job, folder))
    until = time.monotonic() + rng.uniform(0.5, 1.0) * expected.seconds
    while time.monotonic() < until or (process.poll() is None and not workers_of(process)):
        if process.poll() is not None:
            break
        time.sleep(0.02)
    victims = workers_of(process)
    if victims:
        os.kill(rng.choice(victims), signal.SIGKILL)
    code, output = finished(process)
    if code == 0:
        assert "Traceback" not in output, output
    else:
        refused_in_one_line(code, output)
    nothing_half_written(job, folder, expected)
    goes_on(job, folder, expected)
    return bool(victims)


def workers_of(process: subprocess.Popen) -> list[int]:
    """The numbers of the processes that do its work, not of those that only start or watch others."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[2]) == process.pid and status.parent.name != str(process.pid) and b"resource_tracker" not in line:
            found.append((int(status.parent.name), int(fields[1])))
    parents = {parent for _, parent in found}
    return [number for number, _ in found if number not in parents]


def disk_full(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """The disk has room for a random share of the artifacts; with more room the same command goes on."""
    with small_disk(folder) as disk:
        prepared(job, disk)
        used = shutil.disk_usage(disk).used / 2**20
        _resize(disk, used + expected.megabytes * rng.random())
        code, output = finished(begun(job, disk))
        if code:
            refused_in_one_line(code, output)
        _resize(disk, 4096)
        nothing_half_written(job, disk, expected)
        goes_on(job, disk, expected)
        return bool(code)


def read_only(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """Nothing can be written: a line says so, and once it can the same command goes on."""
    with small_disk(folder) as disk:
        prepared(job, disk)
        before = job.artifacts(disk)
        _mount("-o", "remount,ro", str(disk))
        code, output = finished(begun(job, disk))
        refused_in_one_line(code, output)
        assert job.artifacts(disk) == before
        _mount("-o", "remount,rw", str(disk))
        goes_on(job, disk, expected)
    return True


def clock_jumps(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """The clock goes back ten days, then on by forty, then is right: nothing that is done depends on it."""
    library = next((str(path) for path in Path("/usr/lib").rglob("libfaketimeMT.so.1")), None)
    if library is None:
        raise Impossible("libfaketime is not installed")
    prepared(job, folder)
    told = folder.with_suffix(".clock")
    told.write_text("-10d\n")
    faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1"}
    process = begun(job, folder, **faked, FAKETIME_DONT_FAKE_MONOTONIC="1")
    time.sleep(rng.uniform(0.2, 0.9) * expected.seconds)
    told.write_text("+40d\n")
    code, output = finished(process)
    assert code == 0, output
    assert_same(job.artifacts(folder), expected.artifacts)
    goes_on(job, folder, expected)
    return True


def two_at_once(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """The same command a second time while it is at work: one of them does it, the other waits or is refused."""
    prepared(job, folder)
    first = begun(job, folder)
    time.sleep(rng.uniform(0, 0.7) * expected.seconds)
    second = begun(job, folder)
    ends = [finished(process) for process in (first, second)]
    assert 0 in [code for code, _ in ends], ends
    for code, output in ends:
        if code:
            refused_in_one_line(code, output)
    goes_on(job, folder, expected)
    return any(code for code, _ in ends)


FAULTS: dict[str, Callable[[Job, Path, Reference, random.Random], bool]] = {
    "kill -9 of all processes at a random moment": killed,
    "kill -9 of one worker": worker_killed,
    "full disk": disk_full,
    "read-only disk": read_only,
    "jumping clock": clock_jumps,
    "the same command twice at a time": two_at_once,
}


# --- disks ---


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own at `folder`, 4 GB at first. Raises Impossible where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=4g", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def _mount(*options: str) -> None:
    if os.geteuid() or not shutil.which("mount"):
        raise Impossible("mounting a small disk needs root")
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"mount: {done.stderr.strip()}")


def _resize(disk: Path, megabytes: float) -> None:
    _mount("-o", f"remount,size={int(megabytes * 1024)}k", str(disk))
