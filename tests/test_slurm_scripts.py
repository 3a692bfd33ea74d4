"""The example scripts for Slurm: what they run in a job, and that all of them can be parsed."""

import os
import subprocess

import pytest

SCRIPTS = ["preprocess.sh", "predict.sh", "ray.sh", "train.sh"]


@pytest.fixture
def submit(repository, tmp_path):
    """Runs a script as Slurm would, with an interpreter that prints its arguments, one a line."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || printf "%s\\n" "$@"\n')
    python.chmod(0o755)

    def call(script, *arguments, **environment):
        set_by_slurm = {"SLURM_SUBMIT_DIR": str(repository), "SLURM_CPUS_PER_TASK": "16", **environment}
        return subprocess.run(
            [repository / "examples" / "slurm" / script, *arguments],
            env={**os.environ, "PYTHON": str(python), **set_by_slurm},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return call


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_parse_it(repository, script):
    assert subprocess.run(["bash", "-n", repository / "examples" / "slurm" / script]).returncode == 0


def test_task_of_an_array_preprocesses_its_share(submit):
    done = submit("preprocess.sh", "/data", "--seed", "5", SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="8")
    assert done.stdout.split()[-7:] == ["/data", "--workers", "16", "--part", "3/8", "--seed", "5"]


def test_job_that_is_no_array_preprocesses_all_that_is_left(submit):
    assert submit("preprocess.sh", "/data").stdout.split()[-3:] == ["/data", "--workers", "16"]


def test_last_job_does_not_do_again_what_the_array_has_done(submit):
    done = submit("preprocess.sh", "/data", "--overwrite")
    assert done.returncode == 2 and not done.stdout and "give it to the array alone" in done.stderr
    task = submit("preprocess.sh", "/data", "--overwrite", SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="8")
    assert task.stdout.split()[-3:] == ["--part", "3/8", "--overwrite"]


def test_task_of_an_array_predicts_its_subfolder(submit, tmp_path):
    for name in ("part 10", "part 1", "part 2"):
        (tmp_path / "videos" / name).mkdir(parents=True)
    videos, results = str(tmp_path / "videos"), str(tmp_path / "results")
    lines = submit("predict.sh", videos, results, "--frames", "8", SLURM_ARRAY_TASK_ID="3").stdout.splitlines()
    assert lines[lines.index("--test-dir") + 1] == f"{videos}/part 2"
    assert lines[lines.index("--output") + 1] == f"{results}/part 2.csv"
    assert lines[-2:] == ["--frames", "8"]


def test_task_without_a_subfolder_is_one_line(submit, tmp_path):
    (tmp_path / "videos" / "only").mkdir(parents=True)
    done = submit("predict.sh", str(tmp_path / "videos"), str(tmp_path / "results"), SLURM_ARRAY_TASK_ID="2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"predict.sh: there is no subfolder 2 in {tmp_path}/videos, only 1\n"
