"""What `make load` measures: it sees what a process takes, and what grows does not hold."""

import mmap
import os
import threading
from pathlib import Path

import pytest

from tests.faults import load
from tests.faults.load import Load, Use


def test_memory_files_threads_and_processes_are_seen():
    before = Use.of(os.getpid())
    block = mmap.mmap(-1, 100 << 20)  # of its own, where an object might take what others have left
    block.write(bytes(100 << 20))
    files = [Path(os.devnull).open() for _ in range(20)]  # noqa: SIM115 closed below
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    after = Use.of(os.getpid())
    end.set()
    thread.join()
    for file in files:
        file.close()
    assert len(block) / 2**20 == 100 and after.megabytes - before.megabytes > 90
    assert (after.open_files, after.threads) == (before.open_files + 20, before.threads + 1)
    assert before.processes == after.processes >= 1


def test_what_stays_of_the_threads_counts_and_the_most_of_all_else():
    looks = [Use(500, 20, 12, 3), Use(400, 25, 9, 3), Use(450, 21, 14, 4)]
    assert load.summary(looks) == Use(500, 25, 12, 4) and load.summary([]) == Use()


def loaded(last: Use, done: int = 10, exit_code: int = 0) -> Load:
    return Load("run", 10, done, exit_code, 1.0, [Use(500, 100, 20, 3)] * 9 + [last])


def test_load_is_held_if_all_is_done_and_nothing_grows():
    assert loaded(Use(520, 100, 20, 3)).held and loaded(Use(400, 90, 20, 2)).held
    assert not loaded(Use(500, 100, 20, 3), done=9).held
    assert not loaded(Use(500, 100, 20, 3), exit_code=1).held


@pytest.mark.parametrize(
    "last", [Use(530, 100, 20, 3), Use(500, 106, 20, 3), Use(500, 100, 22, 3), Use(500, 100, 20, 4)]
)
def test_what_grows_is_not_held(last):
    assert not loaded(last).held


def test_every_video_of_a_small_load_is_done(tmp_path):
    load.main(["--videos", "10", "--out", str(tmp_path / "load.md")])  # of ten videos a tenth is too little to judge
    text = (tmp_path / "load.md").read_text()
    assert "| predict_folder | 10 | 10 |" in text and "| detect_original_faces | 10 | 10 |" in text
    assert text.count("| 10 | ") >= 2
