"""Training that is stopped, killed or runs out of disk goes on bit for bit; several processes train as one."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.training_runs import CONFIG, NAME, command, last_weights, write_config
from training.pipelines.train_classifier import main

# Twelve batches an epoch.
SLOW = {**CONFIG, "batches_per_epoch": 12, "optimizer": {**CONFIG["optimizer"], "batch_size": 1}}
SLOW["optimizer"]["schedule"] = {"epochs": 2, "params": {"max_iter": 24}}
PATIENCE = 600  # seconds
TRAIN = ("-m", "training.pipelines.train_classifier")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture(scope="module")
def run(processed, tmp_path_factory, repository):
    """Runs the command in a process of its own; `folder` takes its weights and logs. Returns (exit code, output)."""
    config = write_config(tmp_path_factory.mktemp("config") / "config.json", SLOW)

    def call(folder, *extra, launcher=TRAIN, **environment):
        done = subprocess.run(
            [sys.executable, *launcher, *command(processed, folder, config, "--workers", "1", *extra)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(repository), **environment},
            start_new_session=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout

    return call


@pytest.fixture(scope="module")
def whole(processed, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(command(processed, folder, write_config(folder / "config.json", SLOW), "--workers", "0")) == 0
    return folder


def interrupted(signal, moment):
    return ("-m", "tests.interrupted_run", signal, moment)


def position(folder):
    content = torch.load(folder / "weights" / f"{NAME}_last", weights_only=True)
    return content["training"]["position"]


def same_weights(one, other):
    return all(map(torch.equal, last_weights(one), last_weights(other)))


@pytest.mark.parametrize(
    ("signal", "moment", "code", "stands"),
    [
        ("SIGTERM", "0:4", 143, {"epoch": 0, "batch": 5}),
        ("SIGINT", "0:4", 130, {"epoch": 0, "batch": 5}),
        ("SIGTERM", "1:0", 143, {"epoch": 1, "batch": 1}),
        ("SIGTERM", "0:validation", 143, {"epoch": 0, "batch": 12}),
    ],
    ids=["terminated", "Ctrl-C", "at the beginning of an epoch", "in validation"],
)
def test_signal_to_all_processes_loses_nothing(run, whole, tmp_path, signal, moment, code, stands):
    returned, output = run(tmp_path, launcher=interrupted(signal, moment))
    assert returned == code and f"stopped by {signal} at epoch {stands['epoch']}" in output, output
    assert "Traceback" not in output
    assert position(tmp_path) == stands
    returned, output = run(tmp_path, "--resume", "auto")
    assert returned == 0, output
    assert same_weights(whole, tmp_path)


def test_killed_run_goes_on_from_the_last_saved_state(run, whole, tmp_path):
    # To the group: nothing of it may be left, or this would wait for what it prints.
    assert run(tmp_path, "--save-every", "2", launcher=interrupted("SIGKILL", "0:5"))[0] == -9
    assert position(tmp_path) == {"epoch": 0, "batch": 4}
    returned, output = run(tmp_path, "--resume", "auto", "--save-every", "2")
    assert returned == 0 and "at epoch 0, batch 4" in output, output
    assert same_weights(whole, tmp_path)
    metrics = [next((folder / "logs").glob("*/metrics.csv")).read_text().splitlines() for folder in (whole, tmp_path)]
    losses = [[line.split(",")[:10] for line in lines] for lines in metrics]
    assert losses[0] == losses[1]


def test_workers_end_with_a_process_that_was_killed(run, tmp_path):
    killed_alone = (
        "import os, runpy, signal, sys; from training.trainer import Trainer;"
        "Trainer.train_step = lambda self, batch: os.kill(os.getpid(), signal.SIGKILL);"
        "runpy.run_module('training.pipelines.train_classifier', run_name='__main__')"
    )
    # The output is read to its end: as long as a worker lives, it holds it open.
    assert run(tmp_path, launcher=("-c", killed_alone))[0] == -9


def test_full_disk_is_one_line_and_the_last_state_is_still_there(run, whole, tmp_path):
    shutil.copytree(whole / "weights", tmp_path / "weights")
    last = tmp_path / "weights" / f"{NAME}_last"
    content = torch.load(last, weights_only=True)
    content["training"]["position"] = {"epoch": 1, "batch": 0}
    torch.save(content, last)
    before = last_weights(tmp_path)
    # A limit on the size of files stands for the disk: it fails in the middle of writing, too.
    limited = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000));"
        "runpy.run_module('training.pipelines.train_classifier', run_name='__main__')"
    )
    code, output = run(tmp_path, "--resume", "auto", "--save-every", "2", launcher=("-c", limited))
    assert code == 1, output
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "File too large" in errors[0], output
    assert all(map(torch.equal, before, last_weights(tmp_path)))
    assert not list((tmp_path / "weights").glob("*.tmp"))


def test_full_disk_under_the_logs_is_an_error_at_once(tmp_path, repository):
    full = (
        "import resource, sys, torch; from pathlib import Path;"
        "from training.tools.journal import Journal;"
        "journal = Journal(Path(sys.argv[1]), 0); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "journal.show_crops(torch.rand(4, 3, 64, 64), 0) or journal.board.flush()"
    )
    command = [sys.executable, "-c", full, str(tmp_path)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "OSError: [Errno 27] File too large" in done.stderr.splitlines()[-1]
    assert "Exception in thread" not in done.stderr


@pytest.fixture(scope="module")
def whole_of_two(run, tmp_path_factory):
    """The folder of a run of two processes that nothing interrupted, and what they printed."""
    folder = tmp_path_factory.mktemp("whole_of_two")
    code, output = run(folder, launcher=(*TORCHRUN, *TRAIN, "--distributed"))
    assert code == 0, output
    return folder, output


def test_two_processes_train_one_network_and_share_validation(whole_of_two):
    folder, output = whole_of_two
    assert "2 processes" in output
    assert sum(line.startswith("fake_loss ") for line in output.splitlines()) == 2
    predictions = next((folder / "logs").glob("*/predictions_0.json")).read_text()
    assert '"004": [' in predictions and '"519": [' in predictions
    content = torch.load(folder / "weights" / f"{NAME}_last", weights_only=True)
    assert len(content["training"]["random"]) == 2
    assert content["training"]["order"]["world"] == 2


def test_death_of_one_process_restarts_both_from_the_last_saved_state(run, whole_of_two, tmp_path):
    launcher = (*TORCHRUN, "--max_restarts", "1", *interrupted("SIGKILL", "0:3"), "--distributed")
    apart = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as train.sh has it
    code, output = run(tmp_path, "--resume", "auto", "--save-every", "2", launcher=launcher, **apart)
    assert code == 0, output
    assert "at epoch 0, batch 2" in output, output
    assert same_weights(whole_of_two[0], tmp_path)
