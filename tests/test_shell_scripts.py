"""The shell scripts: usage, missing arguments, and that they hand on what they were given."""

import itertools
import os
import signal
import subprocess
import sys

import pytest

from inference.download_weights import RELEASED_MODELS
from training.tools.config import read_config

SCRIPTS = ["predict_submission.sh", "predict_clips.sh", "download_weights.sh", "preprocess_data.sh", "train.sh"]


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


@pytest.mark.parametrize("script", ["predict_submission.sh", "predict_clips.sh"])
@pytest.mark.parametrize("arguments", [(), ("folder",)])
def test_missing_argument_is_one_line_and_exit_code_2(repository, script, arguments):
    done = call(repository, script, *arguments)
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


def test_clips_use_the_eight_networks_of_their_configs_under_the_names_that_training_gives(
    repository, tmp_path, echoing_python
):
    done = call(repository, "predict_clips.sh", "my videos", "out.csv", "--limit", "3", PYTHON=echoing_python)
    script, *arguments = done.stdout.splitlines()
    assert script == str(repository / "predict_folder.py") and arguments[-2:] == ["--limit", "3"]
    assert arguments[arguments.index("--clip-labels") + 1] == "0.001"
    models = arguments[arguments.index("--models") + 1 : -2]
    configs = ["i3d", "resnet34_3d", "mc3_18_112", "mc3_18_224", "r2plus1d_18", "i3d_cutmix", "r2plus1d_18_cutmix", "seresnext50"]  # fmt: skip  # noqa: E501
    titles = {name: read_config(repository / "configs" / f"{name}.json").title for name in configs}
    assert models == [f"clips_{name}_{title}_0_best_dice" for name, title in titles.items()]


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
    done = call(repository, script, "a", "0", PYTHON=str(failing), LOGS=str(tmp_path / "logs"))
    assert done.returncode == 7


def test_one_process_is_started_again_too(repository, tmp_path, echoing_python):
    environment = {"PYTHON": echoing_python, "LOGS": str(tmp_path), "SEEDS": "111", "MAX_RESTARTS": "2"}
    arguments = call(repository, "train.sh", "root", "0", **environment).stdout.splitlines()
    assert arguments[:4] == ["== seed 111", "-P", "-m", "torch.distributed.run"]
    assert arguments[arguments.index("--max_restarts") + 1] == "2" and "cpu" in arguments


def test_training_of_five_runs_is_not_begun_anew_by_an_option(repository, tmp_path, echoing_python):
    done = call(repository, "train.sh", "root", "0", "--overwrite", PYTHON=echoing_python, LOGS=str(tmp_path))
    assert done.returncode == 2 and "set other WEIGHTS and LOGS" in done.stderr and not list(tmp_path.glob("b7_*"))
    done = call(repository, "train.sh", "root", "0", "--resume=x", PYTHON=echoing_python, LOGS=str(tmp_path))
    assert done.returncode == 2 and "--initial-weights FILE" in done.stderr and not list(tmp_path.glob("b7_*"))


@pytest.mark.parametrize("arguments", [(), ("root",), ("root", "many"), ("root", "-1")])
def test_training_wants_a_root_and_a_number_of_gpus(repository, arguments):
    done = call(repository, "train.sh", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def trained(repository, tmp_path, python, *arguments, **environment):
    """Arguments of each run that train.sh starts."""
    done = call(repository, "train.sh", *arguments, PYTHON=python, LOGS=str(tmp_path / "logs"), **environment)
    assert done.returncode == 0, done.stderr
    return [run.splitlines()[1:] for run in done.stdout.split("== seed ")[1:]]


def test_training_runs_the_published_recipe_with_five_seeds(repository, tmp_path, echoing_python):
    runs = trained(repository, tmp_path, echoing_python, "my root", "0", "--workers", "3")
    options = [dict(itertools.pairwise(run)) for run in runs]
    assert [o["--seed"] for o in options] == ["111", "555", "777", "888", "999"]
    for o in options:
        assert o["-m"] == "training.pipelines.train_classifier"
        assert (o["--data-dir"], o["--folds-csv"], o["--fold"]) == ("my root", "my root/folds.csv", "0")
        assert (o["--prefix"], o["--config"]) == (f"b7_{o['--seed']}_", str(repository / "configs" / "b7.json"))
        assert (o["--resume"], o["--freeze-epochs"], o["--test_every"]) == ("auto", "0", "1")
        assert (o["--label-smoothing"], o["--gpu"], o["--workers"]) == ("0.01", "cpu", "3")
    assert (tmp_path / "logs" / "b7_888").read_text().splitlines() == runs[3]


def test_training_on_several_gpus_and_machines_is_started_by_torchrun(repository, tmp_path, echoing_python):
    (run,) = trained(repository, tmp_path, echoing_python, "root", "4", SEEDS="111")
    assert run[run.index("--nproc_per_node") + 1] == "4" and "--standalone" in run and "--distributed" in run
    machines = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first"}
    (run,) = trained(repository, tmp_path, echoing_python, "root", "8", SEEDS="111", **machines)
    values = {"--nnodes": "2", "--node_rank": "1", "--master_addr": "first", "--nproc_per_node": "8"}
    assert {name: run[run.index(name) + 1] for name in values} == values
    assert "--max_restarts" not in run


def test_training_is_restarted_when_asked_and_machines_then_meet_anew(repository, tmp_path, echoing_python):
    (run,) = trained(repository, tmp_path, echoing_python, "root", "4", SEEDS="111", MAX_RESTARTS="3")
    assert run[run.index("--max_restarts") + 1] == "3" and "--standalone" in run and run[-2:] == ["--resume", "auto"]
    machines = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first", "MAX_RESTARTS": "3"}
    (run,) = trained(repository, tmp_path, echoing_python, "root", "8", SEEDS="111", **machines)
    values = {"--nnodes": "2", "--rdzv_backend": "c10d", "--rdzv_endpoint": "first:29500", "--max_restarts": "3"}
    assert {name: run[run.index(name) + 1] for name in values} == values and "--node_rank" not in run


def test_restarted_processes_do_not_look_for_dead_ones(repository, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "apart: $TORCH_DISABLE_SHARE_RDZV_TCP_STORE"\n')
    python.chmod(0o755)
    options = {"PYTHON": str(python), "LOGS": str(tmp_path), "SEEDS": "111"}
    assert "apart: 1" in call(repository, "train.sh", "root", "4", **options, MAX_RESTARTS="3").stdout
    assert "apart: 1" not in call(repository, "train.sh", "root", "4", **options).stdout


def test_training_on_several_machines_wants_their_ranks(repository, tmp_path, echoing_python):
    done = call(repository, "train.sh", "root", "8", PYTHON=echoing_python, LOGS=str(tmp_path), NNODES="2")
    assert done.returncode != 0 and "NODE_RANK" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_passes_a_request_to_stop_on_and_reports_what_came_of_it(repository, tmp_path, number, code):
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/bash\n[ "$1" = -c ] && exit 0\ntrap stop=1 TERM\necho ready\n'
        'while [ -z "$stop" ]; do sleep 0.05; done\necho saved\nexit 143\n'
    )
    python.chmod(0o755)
    process = subprocess.Popen(
        [str(repository / "train.sh"), "root", "0"],
        env={**os.environ, "PYTHON": str(python), "LOGS": str(tmp_path / "logs")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert [process.stdout.readline() for _ in range(2)] == ["== seed 111\n", "ready\n"]
    os.killpg(process.pid, number)
    assert process.communicate(timeout=60)[0] == "saved\n"
    assert process.returncode == code
    assert (tmp_path / "logs" / "b7_111").read_text() == "ready\nsaved\n"


def test_training_that_ends_well_in_spite_of_a_request_to_stop_is_the_last_one(repository, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/bash\n[ \"$1\" = -c ] && exit 0\ntrap '' TERM\nkill -TERM $PPID\nsleep 1\n")
    python.chmod(0o755)
    done = call(repository, "train.sh", "root", "0", PYTHON=str(python), LOGS=str(tmp_path), SEEDS="111 555")
    assert done.stdout == "== seed 111\n" and done.returncode == 143
