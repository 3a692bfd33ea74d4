"""Several devices: the same results as one, each message once, and no end of a process that is not told in a line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from inference.devices import check_alive, choose_devices
from predict_folder import predict_folder


@pytest.fixture
def many(folder, tmp_path):
    """A folder of a dozen videos, one of them unreadable."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(11):
        shutil.copy(folder / ("519.mp4" if number % 3 else "004.mp4"), many / f"{number:02}.mp4")
    (many / "empty.mp4").write_bytes(b"")
    return many


@pytest.fixture
def process(repository, many, weights, tmp_path):
    """The command on `many` and two devices, in a session of its own, as a terminal would start it."""
    argv = [sys.executable, str(repository / "predict_folder.py"), "--test-dir", str(many), "--frames", "4"]
    argv += ["--weights-dir", str(weights), "--models", "small", "--output", str(tmp_path / "out.csv")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*argv, "--device", "cpu,cpu"], **pipes, start_new_session=True) as process:
        yield process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_a_score(process):
    """Until a video, or several at once, are counted."""
    seen = b""
    while not re.search(rb" [1-9]\d*/12 ", seen):
        piece = process.stderr.read1()
        assert piece, f"ended early: {seen.decode()}"
        seen += piece


def lanes_of(process):
    """The processes that another has started with multiprocessing, less its resource tracker."""
    assert process.poll() is None
    lanes = []
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with suppress(OSError):  # it has ended meanwhile
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                lanes.append(int(pid))
    return lanes


def has_torch(pid):
    """Whether a process has begun to import it, which takes a while."""
    with suppress(OSError):
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    return False


def results_of(device, folder, weights, out):
    """The bytes of the CSV and of the errors, the details without times, what was said."""
    said, options = [], {"weights_dir": weights, "frames": 4, "engine": "torch", "strategy": "max", "clip_labels": 0.49}
    files = {"output": out / "a.csv", "details": out / "a.jsonl"}
    summary = predict_folder(folder, ["small", "other"], **files, **options, device=device, say=said.append)
    records = [json.loads(line) for line in files["details"].read_text().splitlines()]
    times = [record.pop("seconds") for record in records]
    return (files["output"].read_bytes(), summary.errors_file.read_bytes(), records), times, said


def test_two_devices_give_the_bytes_of_one_and_say_everything_once(folder, weights, tmp_path):
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    (mixed / "empty.mp4").write_bytes(b"")
    shutil.copy(folder / "004.mp4", mixed / "more.mp4")
    one, _, said = results_of("cpu", mixed, weights, tmp_path / "one")
    two, times, said_by_two = results_of("cpu,cpu", mixed, weights, tmp_path / "two")
    assert one == two and len(times) == 5
    assert said_by_two[0].startswith("2 devices: cpu; cpu; PyTorch in ") and len(said) == 3
    assert said_by_two[1:] == said[1:]


def test_process_that_is_killed_is_named_and_the_same_command_goes_on(process, many, weights, tmp_path):
    wait_for_a_score(process)
    lanes = lanes_of(process)
    assert len(lanes) == 2
    os.kill(lanes[1], signal.SIGKILL)
    # The pipes end when the last process that has them does.
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in err.decode()
    last = err.decode().splitlines()[-1]
    assert last.startswith("error: --device cpu: its process has ended (killed, out of memory?); what is done is kept")
    said, options = [], {"weights_dir": weights, "frames": 4, "device": "cpu"}
    summary = predict_folder(many, ["small"], tmp_path / "out.csv", say=said.append, **options)
    assert any(line.startswith("continuing: ") for line in said)
    assert len(summary.labels) == 12 and list(summary.failures) == ["empty.mp4"]


ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "stopped by SIGTERM")}


@pytest.mark.parametrize(
    ("moment", "number"),
    [("start", signal.SIGINT), ("import", signal.SIGTERM), ("work", signal.SIGINT), ("work", signal.SIGTERM)],
)
def test_interruption_of_all_processes_is_one_line_and_leaves_none(process, moment, number):
    if moment == "work":
        wait_for_a_score(process)
    while len(lanes_of(process)) < 2 or (moment == "import" and not all(map(has_torch, lanes_of(process)))):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    code, what = ENDS[number]
    assert process.returncode == code and "Traceback" not in err.decode()
    assert f"{what}: what is done is kept, the same command goes on from there" in err.decode()


def test_processes_end_with_a_killed_command(process):
    while len(lanes_of(process)) < 2:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_failure_at_the_start_names_the_device(many, tmp_path):
    (tmp_path / "broken").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"--device cpu: .*broken"):
        predict_folder(many, [str(tmp_path / "broken")], device="cpu,cpu", say=lambda line: None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ("cpu,cuda:7", "cuda:7 is not there"),
        ("cuda:0,cuda:1", "cuda:0 is not there"),
        ("auto,cpu", "auto stands alone"),
        ("cpu,", "a comma without a device"),
        ("cpu,gpu", "--device gpu: not one of auto, cpu"),
    ],
)
def test_each_device_of_a_list_must_be_there(devices, reason):
    with pytest.raises(UserError, match=reason):
        choose_devices(devices)


def test_devices_of_two_kinds_are_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match="must be of one kind"):
        choose_devices("cpu,mps")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU that works")
def test_device_of_which_all_that_is_asked_fails_ends_the_run_and_is_no_fault_of_the_videos():
    check_alive(torch.device("cpu"))
    with pytest.raises(UserError, match=r"cuda:1 has failed: .*; what is done is kept"):
        check_alive(torch.device("cuda:1"))


def test_one_device_may_still_be_missing():
    devices, line = choose_devices("cpu")
    assert devices == [torch.device("cpu")] and line.startswith("device: cpu")
