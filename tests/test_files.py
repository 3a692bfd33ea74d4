"""Files that appear complete or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.files import replacing

WRITES = """
from common.errors import exit_on_user_error
from common.files import replacing

def main():
    with replacing("out.csv") as temporary:
        temporary.write_text("a" * 5000)

exit_on_user_error(main)
"""


def test_what_stood_there_stays_until_all_is_written(tmp_path):
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(ValueError, match="half way"), replacing(tmp_path / "out.csv") as temporary:
        temporary.write_text("half")
        raise ValueError("half way")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "before")]
    with replacing(tmp_path / "out.csv") as temporary:
        temporary.write_text("after")
        assert (tmp_path / "out.csv").read_text() == "before"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "after")]


def test_file_that_finds_no_room_is_named(tmp_path):
    pythonpath = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    limited = ["bash", "-c", 'ulimit -f 1; exec "$0" -c "$1"', sys.executable, WRITES]
    ended = subprocess.run(limited, cwd=tmp_path, env=pythonpath, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: [Errno 27] File too large: 'out.csv'\n")
    assert not list(tmp_path.iterdir())
