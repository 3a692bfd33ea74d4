"""The shell scripts: usage, missing arguments, and that they hand on what they were given."""

import os
import subprocess

import pytest

from inference.download_weights import RELEASED_MODELS

SCRIPTS = ["predict_submission.sh", "download_weights.sh"]


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
    """An interpreter that prints its arguments, one a line, instead of running them."""
    path = tmp_path / "python with space"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return str(path)


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


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stop_at_the_first_failure(repository, script):
    assert "set -euo pipefail" in (repository / script).read_text()
