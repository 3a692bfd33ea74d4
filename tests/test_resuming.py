"""A prediction that was interrupted: what goes on, what is done again, what is refused."""

import shutil
import signal
import subprocess
import sys

import pytest

import predict_folder as command
from predict_folder import predict_folder
from tests.conftest import read_csv


def interrupted_after(n, monkeypatch):
    """Make the command stop as on Ctrl-C when `n` videos are recorded."""
    append = command.Results.append

    def interrupting(self, stamp, score):
        if sum(1 for _ in self.partial.open()) > n:
            raise KeyboardInterrupt
        append(self, stamp, score)

    monkeypatch.setattr(command.Results, "append", interrupting)


def test_interrupted_run_goes_on_where_it_was(run, labels, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        code, _, err = run()
    assert code == 130 and "the same command goes on" in err
    assert not (tmp_path / "out.csv").exists() and (tmp_path / "out.csv.partial").exists()
    code, out, _ = run()
    assert code == 0 and "continuing: 2 of 3 videos" in out
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == labels


def test_half_written_line_is_done_again(run, labels, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run()
    partial = tmp_path / "out.csv.partial"
    partial.write_bytes(partial.read_bytes()[:-40])
    _, out, _ = run()
    assert "continuing: 1 of 3 videos" in out
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == labels


def test_video_that_changed_meanwhile_is_scored_again(run, folder, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run(test_dir=copy)
    shutil.copy(copy / "fvkanshbie.mp4", copy / "004.mp4")
    _, out, _ = run(test_dir=copy)
    assert "continuing: 1 of 3 videos" in out
    assert dict(read_csv(tmp_path / "out.csv")[1:])["004.mp4"] == "0.5"


def test_other_settings_do_not_continue_a_run(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        run()
    code, out, err = run(frames="5")
    assert code == 2 and "frames was 6, is 5" in err and "--overwrite" in err
    assert out == ""  # before a network is loaded
    assert run("--overwrite", frames="5")[0] == 0


def test_run_begun_with_a_limit_goes_on_without_but_not_the_other_way_round(run, labels, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run()
    code, _, err = run("--limit", "1")
    assert code == 2 and "limit was None, is 1" in err
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        run("--limit", "2", "--overwrite")
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        assert "continuing: 1 of 3 videos" in run()[1]
    code, _, err = run("--limit", "2")
    assert code == 2 and "limit was None, is 2" in err
    code, out, _ = run()
    assert code == 0 and "continuing: 2 of 3 videos" in out
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == labels


def test_other_folder_does_not_continue_a_run(run, folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        run()
    code, _, err = run(test_dir=shutil.copytree(folder, tmp_path / "copy"))
    assert code == 2 and "folder was" in err


def test_second_run_on_one_output_is_refused(run, tmp_path):
    with command.Results(tmp_path / "out.csv"):
        code, _, err = run()
    assert code == 2 and "another run is writing it" in err
    assert run()[0] == 0


def test_run_that_overwrites_can_be_interrupted_too(run, labels, tmp_path, monkeypatch):
    run("--strategy", "max")
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        assert run("--overwrite")[0] == 130
    _, out, _ = run("--overwrite")
    assert "continuing: 2 of 3 videos" in out
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == labels


def test_damaged_line_is_done_again(run, labels, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run()
    partial = tmp_path / "out.csv.partial"
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(lines[0] + bytes(200) + b"\n" + lines[2])
    _, out, _ = run()
    assert "continuing: 1 of 3 videos" in out
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == labels


def test_what_failed_is_tried_again(run, folder, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "0.mp4").write_bytes(b"")
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run(test_dir=copy)
    _, out, _ = run(test_dir=copy)
    assert "continuing: 1 of 4 videos" in out


@pytest.fixture
def with_one_failed(run, folder, tmp_path):
    """The folder with a video that could not be read by a finished run, and can be now."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "0.mp4").write_bytes(b"")
    code, out, _ = run(test_dir=copy)
    assert code == 0 and "1 failed (0.5; the same command tries again)" in out
    assert dict(read_csv(tmp_path / "out.csv")[1:])["0.mp4"] == "0.5"
    shutil.copy(copy / "004.mp4", copy / "0.mp4")
    return copy


def test_what_failed_is_tried_again_by_the_same_command_after_the_end(run, labels, with_one_failed, tmp_path):
    code, out, _ = run(test_dir=with_one_failed)
    assert code == 0 and "continuing: 3 of 4 videos" in out
    found = {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]}
    assert found == {"0.mp4": labels["004.mp4"], **labels}
    assert "0.mp4" not in (tmp_path / "out.csv.errors.csv").read_text()
    assert not list(tmp_path.glob("out.csv.retry")) and not list(tmp_path.glob("out.csv.partial"))
    code, _, err = run(test_dir=with_one_failed)
    assert code == 2 and "exists already" in err


def test_overwriting_a_run_with_failures_begins_anew(run, with_one_failed, tmp_path):
    code, out, _ = run("--overwrite", test_dir=with_one_failed)
    assert code == 0 and "continuing" not in out and not (tmp_path / "out.csv.retry").exists()


def test_failures_of_a_result_that_was_removed_are_forgotten(run, with_one_failed, tmp_path):
    (tmp_path / "out.csv").unlink()
    assert "continuing" not in run(test_dir=with_one_failed)[1]


def test_other_weights_under_the_same_name_do_not_continue_a_run(run, weights, tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        run(models=(folder / "small",))
    shutil.copy(weights / "other", folder / "small")
    code, _, err = run(models=(folder / "small",))
    assert code == 2 and "models was" in err


def test_killed_run_is_finished_by_the_same_command(folder, weights, tmp_path, repository):
    """A real kill -9, right after the first of many videos is counted."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(6):
        shutil.copy(folder / "004.mp4", many / f"{number:02}.mp4")
    argv = [sys.executable, str(repository / "predict_folder.py"), "--test-dir", str(many), "--frames", "6"]
    argv += ["--weights-dir", str(weights), "--models", "small", "--output", str(tmp_path / "out.csv")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        seen = b""
        while b" 1/6 " not in seen:
            piece = process.stderr.read1()
            assert piece, f"ended early: {seen.decode()}"
            seen += piece
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out.csv").exists()
    finished = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert "continuing: " in finished.stdout
    uninterrupted = predict_folder(many, ["small"], weights_dir=weights, frames=6, say=lambda line: None)
    assert {name: float(label) for name, label in read_csv(tmp_path / "out.csv")[1:]} == uninterrupted.labels


def test_interrupted_process_says_so_without_a_traceback(folder, weights, tmp_path, repository):
    """Ctrl-C while decoder threads are at work."""
    argv = [sys.executable, str(repository / "predict_folder.py"), "--test-dir", str(folder)]
    argv += ["--weights-dir", str(weights), "--models", "small", "--output", str(tmp_path / "out.csv")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        seen = b""
        while b"0/3" not in seen:
            seen += process.stderr.read1()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
    assert process.returncode == 130
    assert "the same command goes on from there" in rest and "Traceback" not in rest
