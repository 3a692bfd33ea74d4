"""Worker processes: results, exceptions, deaths, and that nothing outlives a killed parent."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.limits import Limits, limited
from common.processes import die_with_parent
from preprocessing.executors import WorkerDied, run_locally


def make_work(offset: int):
    """Work on numbers: three raises, seven kills its process, all others come back with the offset added."""

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        if number == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return number + offset

    return work


def make_naming(folder: Path):
    """Work that notes which processes were started and which worked."""
    (folder / f"started {os.getpid()}").touch()
    return lambda number: os.getpid()


def make_measuring():
    """Work that tells how likely its process is to be killed when memory runs out."""
    return lambda number: int(Path("/proc/self/oom_score_adj").read_text())


def make_endless(folder: Path):
    def work(number: int) -> None:
        (folder / str(os.getpid())).touch()
        signal.pause()

    return work


def test_every_item_comes_back_with_its_result():
    assert dict(run_locally(partial(make_work, 100), [1, 2, 4, 5], 2)) == {1: 101, 2: 102, 4: 104, 5: 105}


def test_exceptions_are_results():
    results = dict(run_locally(partial(make_work, 0), [1, 3], 2))
    assert results[1] == 1 and isinstance(results[3], ValueError) and str(results[3]) == "three"


def make_asking():
    return os.environ.get


def test_workers_have_the_environment_that_the_run_has_now(monkeypatch):
    for value in ("before", "after"):  # the second time by a server that has forked workers before
        monkeypatch.setenv("DFDC_TEST", value)
        assert dict(run_locally(make_asking, ["DFDC_TEST"], 1)) == {"DFDC_TEST": value}


def test_killed_worker_costs_its_item_alone():
    items = list(range(20))
    results = dict(run_locally(partial(make_work, 0), items, 2))
    assert set(results) == set(items)
    assert isinstance(results.pop(7), WorkerDied) and isinstance(results.pop(3), ValueError)
    assert all(result == item for item, result in results.items())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills processes for their memory")
def test_system_without_memory_kills_a_worker_before_the_run():
    ((_, likely),) = run_locally(make_measuring, [1], 1)
    assert likely >= 500


def make_hostile():
    """Work by names: some of it never ends, wants too much memory, or gives what cannot be sent."""

    def work(name: str) -> object:
        if name == "endless":
            while True:
                pass
        if name == "huge":
            return len(np.ones(3 << 27, np.uint8)) and name
        return (lambda: name) if name == "unsendable" else name

    return work


def test_item_that_keeps_to_no_limit_ends_alone_and_says_which():
    items = ["endless", "huge", "unsendable", "a", "b", "c"]
    results = dict(run_locally(partial(limited, make_hostile, Limits(seconds=1.5, gigabytes=0.25)), items, 2))
    assert isinstance(results["endless"], WorkerDied) and "longer than --video-timeout" in str(results["endless"])
    assert isinstance(results["huge"], MemoryError)
    assert "lambda" in str(results["unsendable"])
    assert [results[name] for name in "abc"] == ["a", "b", "c"]


def make_failing_on_cuda():
    def work(number: int) -> int:
        if number == 0:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return os.getpid()

    return work


def test_worker_ends_with_an_error_of_cuda():
    first, *others = run_locally(make_failing_on_cuda, [1, 0, 2, 3], 1)
    pids = {number: result for number, result in [first, *others] if number}
    assert pids[2] == pids[3] != pids[1]


def test_work_that_cannot_be_begun_is_every_items_reason():
    results = dict(run_locally(partial(limited, partial(int, "seven"), Limits()), [1, 2, 3], 2))
    assert all(isinstance(result, ValueError) and "seven" in str(result) for result in results.values())


def make_starting(folder: Path):
    """Work that starts another program, notes its number, and is killed."""

    def work(name: str) -> None:
        program = subprocess.Popen(["sleep", "infinity"], preexec_fn=die_with_parent)
        (folder / name).write_text(str(program.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    return work


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a program with the one that started it")
def test_programs_that_a_worker_has_started_end_with_it(tmp_path):
    ((_, result),) = run_locally(partial(make_starting, tmp_path), ["pid"], 1)
    assert isinstance(result, WorkerDied)
    while _state((tmp_path / "pid").read_text()) != "Z":
        pass  # a program that lived on would keep the test here


def test_workers_start_once(tmp_path):
    pids = {pid for _, pid in run_locally(partial(make_naming, tmp_path), list(range(30)), 2)}
    assert len(list(tmp_path.iterdir())) <= 2
    assert {f"started {pid}" for pid in pids} <= {path.name for path in tmp_path.iterdir()}


def test_no_worker_outlives_a_killed_parent(tmp_path, repository):
    code = (
        "from functools import partial; from pathlib import Path; from tests.test_executors import make_endless;"
        "from preprocessing.executors import run_locally;"
        f"list(run_locally(partial(make_endless, Path({str(tmp_path)!r})), [1, 2], 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=repository)
    while len(list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None
    parent.kill()
    parent.wait()
    for path in tmp_path.iterdir():
        while Path("/proc", path.name).exists() and "Z" not in _state(path.name):
            pass  # a worker that lived on would keep the test here


def _state(pid: str) -> str:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
