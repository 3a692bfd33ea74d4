"""download_weights.sh: where it puts what it fetches, and what it asks for."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.download_weights import RELEASED_MODELS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(tmp_path):
    """download_weights.sh in a checkout of its own, so that its default folder is not the real one."""
    checkout = tmp_path / "check out"
    checkout.mkdir()
    for name in ("common", "inference", "training"):
        (checkout / name).symlink_to(REPOSITORY / name)
    copy = checkout / "download_weights.sh"
    copy.write_bytes((REPOSITORY / "download_weights.sh").read_bytes())
    copy.chmod(0o755)
    return copy


def run(script, *arguments, url, cwd):
    environment = {**os.environ, "WEIGHTS_URL": url, "PYTHON": sys.executable}
    return subprocess.run([script, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_script_downloads_beside_itself_from_any_folder_and_counts(server, script, tmp_path, sound):
    server.files = {"one": sound}
    weights = script.parent / "weights"
    weights.mkdir()
    (weights / "two").write_bytes(sound)
    (weights / "SHA256SUMS").write_text(f"{hashlib.sha256(sound).hexdigest()}  two\n")
    # A folder of the caller's must not stand in for the repository's.
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").write_text("raise SystemExit('the wrong common')")
    done = run(script, "one", "two", url=server.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{weights}: 1 downloaded, 1 already there"
    assert (weights / "one").read_bytes() == sound


def test_script_asks_for_the_released_files_and_takes_the_callers_folder(server, script, tmp_path):
    done = run(script, "--weights-dir", "my weights", url=server.url, cwd=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {server.url}/{RELEASED_MODELS[0]}: the server answers 404")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "my weights").is_dir()


def test_script_shows_its_usage(script, tmp_path):
    done = run(script, "-h", url="", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: download_weights.sh [-h] [--weights-dir DIR] [NAME ...]")


def test_the_seven_released_files_are_named():
    assert [name.removeprefix("final_").split("_")[0] for name in RELEASED_MODELS] == (
        ["111", "555", "777", "777", "888", "888", "999"]
    )
    assert [name.partition("_DeepFakeClassifier_tf_efficientnet_b7_ns_0_")[2] for name in RELEASED_MODELS] == (
        ["36", "19", "29", "31", "37", "40", "23"]
    )
