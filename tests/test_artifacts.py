"""Files of pixels and of points: what they hold, and that none counts as written whose end is missing."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from preprocessing.artifacts import PNG_OPTIONS, write_array, write_png

# So large may a file be: then the process is told so, as of a full disk.
UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from preprocessing.artifacts import write_array, write_png
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
write = {"png": write_png, "npy": write_array}[sys.argv[1]]
write(Path(sys.argv[2]), np.random.RandomState(0).randint(0, 256, (30, 40, 3)).astype(np.uint8))
"""
NOISE = np.random.RandomState(0).randint(0, 256, (30, 40, 3)).astype(np.uint8)


def test_pictures_and_arrays_come_back(tmp_path):
    write_png(tmp_path / "a.png", NOISE)
    write_array(tmp_path / "a.npy", NOISE)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), NOISE)
    assert np.array_equal(np.load(tmp_path / "a.npy"), NOISE)
    cv2.imwrite(str(tmp_path / "b.png"), NOISE, PNG_OPTIONS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("kind", "write"), [("png", write_png), ("npy", write_array)])
def test_missing_end_is_an_error(tmp_path, kind, write):
    write(tmp_path / "whole", NOISE)
    size = (tmp_path / "whole").stat().st_size
    for limit, code in ((size, 0), (size - 1, 1), (size // 2, 1)):
        command = [sys.executable, "-c", UNDER_A_LIMIT, kind, str(tmp_path / "cut"), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code and ("File too large" in done.stderr) == bool(code)
