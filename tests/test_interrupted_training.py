"""Training that is stopped, killed or runs out of disk goes on bit for bit; several processes train as one."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.training_runs import CONFIG, NAME, command, last_weights, write_config
from training.pipelines.train_classifier import main

# Enough batches that a run can be caught in the middle of an epoch.
SLOW = {**CONFIG, "batches_per_epoch": 12, "optimizer": {**CONFIG["optimizer"], "batch_size": 1}}
SLOW["optimizer"]["schedule"] = {"epochs": 2, "params": {"max_iter": 24}}
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def start(processed, tmp_path_factory, repository):
    """Starts the command in a process of its own; `folder` takes its weights and logs."""
    config = write_config(tmp_path_factory.mktemp("config") / "config.json", SLOW)

    def call(folder, *extra, launcher=("-m", "training.pipelines.train_classifier"), stdout=subprocess.PIPE):
        argv = command(processed, folder, config, "--workers", "1", *extra)
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        return subprocess.Popen(
            [sys.executable, *launcher, *argv],
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )

    return call


@pytest.fixture(scope="module")
def whole(processed, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(command(processed, folder, write_config(folder / "config.json", SLOW), "--workers", "0")) == 0
    return folder


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE)
    return output, process.returncode


def wait_for(path, process):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.005)


def position(folder):
    content = torch.load(folder / "weights" / f"{NAME}_last", weights_only=True)
    return content["training"]["position"]


def same_weights(one, other):
    return all(map(torch.equal, last_weights(one), last_weights(other)))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["terminated", "interrupted"]
)
def test_signal_saves_in_the_middle_of_an_epoch_and_the_same_command_goes_on(start, whole, tmp_path, number, code):
    process = start(tmp_path, "--save-every", "2")
    wait_for(tmp_path / "weights" / f"{NAME}_last", process)
    os.killpg(process.pid, number)  # to the workers as well, as a terminal or a batch system does
    output, returned = finish(process)
    assert returned == code and f"stopped by {number.name} at epoch 0, batch" in output, output
    assert "Traceback" not in output
    assert position(tmp_path)["batch"] >= 2
    output, returned = finish(start(tmp_path, "--resume", "auto"))
    assert returned == 0, output
    assert same_weights(whole, tmp_path)


def test_killed_run_goes_on_from_the_last_saved_state(start, whole, tmp_path):
    process = start(tmp_path, "--save-every", "2")
    wait_for(tmp_path / "weights" / f"{NAME}_last", process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert position(tmp_path) == {"epoch": 0, "batch": position(tmp_path)["batch"]}
    assert 0 < position(tmp_path)["batch"] < 12
    output, returned = finish(start(tmp_path, "--resume", "auto", "--save-every", "2"))
    assert returned == 0 and "resuming" in output, output
    assert same_weights(whole, tmp_path)
    metrics = [next((folder / "logs").glob("*/metrics.csv")).read_text().splitlines() for folder in (whole, tmp_path)]
    losses = [[line.split(",")[:10] for line in lines] for lines in metrics]
    assert losses[0] == losses[1]


def test_workers_end_with_a_killed_run(start, tmp_path):
    process = start(tmp_path, "--save-every", "2")
    wait_for(tmp_path / "weights" / f"{NAME}_last", process)
    process.kill()
    process.wait()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("processes of the run are left")
    process.stdout.close()


def test_full_disk_is_one_line_and_the_last_state_is_still_there(start, whole, tmp_path):
    shutil.copytree(whole / "weights", tmp_path / "weights")
    before = last_weights(tmp_path)
    # A limit on the size of files stands for the disk: it fails in the middle of writing, too.
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000));"
        "sys.argv[0] = 'train'; runpy.run_module('training.pipelines.train_classifier', run_name='__main__')"
    )
    output, code = finish(start(tmp_path, "--overwrite", "--save-every", "2", launcher=("-c", limited)))
    assert code == 1
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "File too large" in errors[0] and NAME in errors[0], output
    assert all(map(torch.equal, before, last_weights(tmp_path)))
    assert not list((tmp_path / "weights").glob("*.tmp"))


def test_two_processes_train_one_network_and_share_validation(start, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    launcher += ("-m", "training.pipelines.train_classifier", "--distributed")
    output, code = finish(start(tmp_path, launcher=launcher))
    assert code == 0, output
    assert "2 processes" in output
    assert sum(line.startswith("fake_loss ") for line in output.splitlines()) == 2
    predictions = next((tmp_path / "logs").glob("*/predictions_0.json")).read_text()
    assert predictions.count(",") > 0 and '"004": [' in predictions
    content = torch.load(tmp_path / "weights" / f"{NAME}_last", weights_only=True)
    assert len(content["training"]["random"]) == 2
    assert content["training"]["order"]["world"] == 2
