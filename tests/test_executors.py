"""Worker processes: results, exceptions, deaths, and that nothing outlives a killed parent."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

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


def test_killed_worker_costs_its_item_alone():
    items = list(range(20))
    results = dict(run_locally(partial(make_work, 0), items, 2))
    assert set(results) == set(items)
    assert isinstance(results.pop(7), WorkerDied) and isinstance(results.pop(3), ValueError)
    assert all(result == item for item, result in results.items())


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
