"""The shell scripts: usage, missing arguments, and that they hand on what they were given."""

import os
import subprocess
import sys

import pytest

from inference.download_weights import RELEASED_MODELS

SCRIPTS = ["predict_submission.sh", "download_weights.sh", "preprocess_data.sh"]


def call(repository, script, *arguments, cwd=None, **environment):
    return subprocess.run(
        [str(repository / script), *arguments],
        cwd=cwd or repository,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_prints_usage(repository, script):
    done = call(repository, script, "-h")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script}")


@pytest.mark.parametrize("arguments", [(), ("folder",)])
def test_missing_argument_is_one_line_and_exit_code_2(repository, arguments):
    done = call(repository, "predict_submission.sh", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.fixture
def echoing_python(tmp_path):
    """An interpreter that prints its arguments, one a line, instead of running them; it says it has all packages."""
    path = tmp_path / "python with space"
    path.write_text('#!/bin/sh\n[ "$1" = -c ] || printf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "arguments", [("predict_submission.sh", "a", "b"), ("download_weights.sh",), ("preprocess_data.sh", "a")]
)
def test_missing_packages_are_one_line_that_says_what_to_do(repository, tmp_path, arguments):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    done = call(repository, *arguments, PYTHON=str(bare))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "run: make -C" in done.stderr


def test_submission_uses_the_seven_released_models_and_quotes_everything(repository, tmp_path, echoing_python):
    done = call(
        repository,
        "predict_submission.sh",
        "my videos",
        "out 'x'.csv",
        "--limit",
        "3",
        cwd=tmp_path,
        PYTHON=echoing_python,
    )
    script, *arguments = done.stdout.splitlines()
    assert script == str(repository / "predict_folder.py")
    assert arguments[:4] == ["--test-dir", "my videos", "--output", "out 'x'.csv"]
    models = arguments[arguments.index("--models") + 1 : -2]
    assert models == list(RELEASED_MODELS) and len(models) == 7
    assert arguments[-2:] == ["--limit", "3"]


def test_any_folder_is_fine_to_call_from(repository, tmp_path, echoing_python):
    done = call(
        repository, "preprocess_data.sh", "my root", "--workers", "2", cwd=tmp_path, PYTHON=echoing_python, CDPATH="/"
    )
    assert done.stdout.splitlines() == ["-P", "-m", "preprocessing.pipeline", "my root", "--workers", "2"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_fail_with_their_command(repository, tmp_path, script):
    failing = tmp_path / "python"
    failing.write_text('#!/bin/sh\n[ "$1" = -c ] || exit 7\n')
    failing.chmod(0o755)
    assert call(repository, script, "a", "b", PYTHON=str(failing)).returncode == 7
