"""Faults, one at a time: a job is begun, something happens to it, and the same command must then finish it.

Each trial raises AssertionError with what was wrong, and returns whether the fault met the job at work. The reference
is what an undisturbed run of the job left.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.disks import Impossible, mount, resize, small_disk
from tests.faults.jobs import Job
from tests.faults.memory_groups import memory_group
from tests.faults.processes import WATCH, after_work, begun, finished, kill, work_of, workers_of


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run of a job leaves, its megabytes on disk, and how many CPU seconds it takes."""

    artifacts: Mapping[str, str]
    megabytes: float
    work: float


def reference(job: Job, folder: Path) -> Reference:
    before = megabytes(prepared(job, folder))
    process, work = begun(job.command(folder)), 0.0
    while process.poll() is None:
        work = max(work, work_of(process))
        time.sleep(WATCH)
    code, output = finished(process)
    assert code == 0, output
    return Reference(job.artifacts(folder), megabytes(folder) - before, work)


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def prepared(job: Job, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    job.prepare(folder)
    return folder


# --- what must hold after a fault ---


def refused_in_one_line(code: int, output: str) -> None:
    """A command that could not go on says so, and shows no traceback."""
    assert code > 0 and "Traceback" not in output and output.strip(), f"exit code {code}: {output}"


def went_on_or_refused(job: Job, folder: Path, expected: Reference, code: int, output: str) -> None:
    """A command that lost something on its way did the rest and names what it lost, or says why it could not go on."""
    if code:
        refused_in_one_line(code, output)
    assert "Traceback" not in output, output
    nothing_half_written(job, folder, expected, losing=True)
    if code == 0 and job.told and job.artifacts(folder) != expected.artifacts:
        assert job.told(folder), f"nothing is said of what is missing: {output}"


def nothing_half_written(job: Job, folder: Path, expected: Reference, losing: bool = False) -> None:
    """What an interrupted run left under its final name is what it shall be; `losing`: some of its items failed."""
    found = job.artifacts(folder)
    wrong = [n for n in expected.artifacts.keys() & found.keys() if found[n] != expected.artifacts[n]]
    wrong = [name for name in wrong if not (job.growing(name) or (losing and job.of_all_items(name)))]
    assert not wrong, f"half written: {wrong}"


def goes_on(job: Job, folder: Path, expected: Reference) -> None:
    """What was left is whole, or the same command makes it so: the same artifacts and nothing beside them."""
    if job.artifacts(folder) == expected.artifacts:
        return
    code, output = finished(begun(job.command(folder)))
    assert code == 0, output
    assert_same(job.artifacts(folder), expected.artifacts)


def assert_same(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    assert not (missing or more or other), f"missing {missing}, too much {more}, other content {other}"


# --- faults ---


def killed(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """kill -9 of all its processes at a random moment; whether it was still at work then."""
    process = begun(job.command(prepared(job, folder)))
    after_work(process, rng.random() * expected.work)
    at_work = kill(process)
    nothing_half_written(job, folder, expected)
    goes_on(job, folder, expected)
    return at_work


def worker_killed(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """kill -9 of one of its processes, at a random moment at which it has any."""
    process = begun(job.command(prepared(job, folder)))
    victims = _workers_at(rng.uniform(0.3, 0.8) * expected.work, process)
    if victims:
        with suppress(ProcessLookupError):
            os.kill(rng.choice(victims), signal.SIGKILL)
    went_on_or_refused(job, folder, expected, *finished(process))
    goes_on(job, folder, expected)
    return bool(victims)


def out_of_memory(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """From a random moment on its processes get no more memory, and the system kills one that asks for some."""
    prepared(job, folder)
    with memory_group() as group:
        process = begun(job.command(folder), start=group.enter)
        _workers_at(rng.uniform(0.3, 0.8) * expected.work, process)
        group.allow_no_more()
        code, output = finished(process)
        kills = group.kills()
    if kills and code in (-signal.SIGKILL, 128 + signal.SIGKILL):  # the command itself
        nothing_half_written(job, folder, expected)
    else:
        went_on_or_refused(job, folder, expected, code, output)
    goes_on(job, folder, expected)
    return kills > 0


def file_removed(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """One of the files (or a folder of crops) that it reads is gone at a random moment, and there again afterwards."""
    process = begun(job.command(prepared(job, folder)))
    _workers_at(rng.uniform(0, 0.8) * expected.work, process)  # when there are any, it knows what there is to do
    path = rng.choice(sorted(job.inputs(folder)))
    away = folder.with_suffix(".away")
    path.rename(away)
    try:
        code, output = finished(process)
    finally:
        away.rename(path)
    went_on_or_refused(job, folder, expected, code, output)
    met = job.artifacts(folder) != expected.artifacts
    goes_on(job, folder, expected)
    return met


def _workers_at(work: float, process: subprocess.Popen) -> list[int]:
    """The job's workers after so many CPU seconds, or when there are some; none if it has ended before."""
    after_work(process, work)
    while process.poll() is None:
        if workers := workers_of(process):
            return workers
        time.sleep(WATCH)
    return []


def disk_full(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """The disk has room for a random share of the artifacts; with more room the same command goes on."""
    with small_disk(folder) as disk:
        prepared(job, disk)
        used = shutil.disk_usage(disk).used / 2**20
        resize(disk, used + expected.megabytes * rng.random())
        went_on_or_refused(job, disk, expected, *finished(begun(job.command(disk))))
        resize(disk, 4096)
        met = job.artifacts(disk) != expected.artifacts
        goes_on(job, disk, expected)
        return met


def read_only(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """Nothing can be written: a line says so, and once it can the same command goes on."""
    with small_disk(folder) as disk:
        prepared(job, disk)
        before = job.artifacts(disk)
        mount("-o", "remount,ro", str(disk))
        code, output = finished(begun(job.command(disk)))
        refused_in_one_line(code, output)
        assert job.artifacts(disk) == before
        mount("-o", "remount,rw", str(disk))
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
    process = begun(job.command(folder), **faked, FAKETIME_DONT_FAKE_MONOTONIC="1")
    after_work(process, rng.uniform(0.2, 0.9) * expected.work)
    told.write_text("+40d\n")
    code, output = finished(process)
    assert code == 0, output
    assert_same(job.artifacts(folder), expected.artifacts)
    goes_on(job, folder, expected)
    return True


def two_at_once(job: Job, folder: Path, expected: Reference, rng: random.Random) -> bool:
    """The same command a second time while it is at work: one of them does it, the other waits or is refused."""
    prepared(job, folder)
    first = begun(job.command(folder))
    after_work(first, rng.uniform(0, 0.3) * expected.work)
    second = begun(job.command(folder))
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
    "a worker that runs out of memory": out_of_memory,
    "a file gone that is to be read": file_removed,
    "full disk": disk_full,
    "read-only disk": read_only,
    "jumping clock": clock_jumps,
    "the same command twice at a time": two_at_once,
}
