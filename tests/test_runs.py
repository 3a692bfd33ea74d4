"""The list of training runs, in the terminal and as a page."""

import os
import re

import pytest

from common.errors import UserError, exit_on_user_error
from training import runs
from training.runs import find_runs
from training.tools.config import read_config

HEADER = "epoch,iteration,lr,train_loss,train_fake_loss,train_real_loss,fake_loss,real_loss,bce,auc,best\n"
MARCH = 1772000000


@pytest.fixture
def logs(tmp_path):
    """A folder of three runs: one of three epochs, one that was never validated, one whose loss broke down."""
    rows = {
        "deep/b7_555": "0,10,0.01,0.6,,,0.5,0.7,0.6,0.8,1\n1,20,0.01,0.5,,,0.3,0.3,0.3,0.9,1\n"
        "2,30,0.01,0.4,,,0.4,0.4,0.4,0.88,\n",
        "b7_111": "0,10,0.01,0.7,,,,,,,\n",
        "b7_777": "0,10,0.01,0.7,,,nan,nan,nan,nan,\n1,20,0.01,inf,,,0.2,0.9,0.55,0.7,1\n",
    }
    for name, text in rows.items():
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(HEADER + text)
        os.utime(folder / "metrics.csv", (MARCH, MARCH))
    return tmp_path / "logs"


@pytest.fixture
def command(capsys):
    def call(*argv):
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: runs.main([str(a) for a in argv]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return call


def test_runs_come_with_the_lowest_bce_first_and_unvalidated_ones_last(logs, command):
    code, out, _ = command(logs)
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and rows[0] == ["run", "epochs", "best", "bce", "auc", "date", "config"]
    assert [row[:5] for row in rows[1:]] == [
        ["deep/b7_555", "3", "1", "0.3000", "0.9000"],
        ["b7_777", "2", "1", "0.5500", "0.7000"],
        ["b7_111", "1", "-", "-", "-"],
    ]
    assert all(re.fullmatch(r"2026-02-2\d", row[5]) for row in rows[1:])


def test_recipe_is_told_in_a_line(logs, command, repository):
    config = read_config(repository / "configs" / "small.json")
    (logs / "b7_111" / "config.json").write_text(config.model_dump_json())
    line = command(logs)[1].splitlines()[3]
    optimizer = config.optimizer
    assert f"{config.description}, {config.size} px, {optimizer.type} {optimizer.learning_rate:g}" in line


def test_numbers_that_are_none_are_no_points(logs):
    broken = next(run for run in find_runs(logs) if run.name == "b7_777")
    assert broken.values["bce"] == [None, 0.55] and broken.values["train_loss"] == [0.7, None]


def test_damaged_row_is_left_out(logs):
    with (logs / "b7_111" / "metrics.csv").open("a") as file:
        file.write("1,20,0.01\nxx,\n")
    run = next(run for run in find_runs(logs) if run.name == "b7_111")
    assert (run.epochs, run.values["bce"]) == ([0, 1], [None, None])


def test_folder_without_runs_is_one_line(tmp_path, command):
    assert command(tmp_path) == (2, "", f"error: {tmp_path}: no run in it (a folder with metrics.csv)\n")
    with pytest.raises(UserError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", HEADER, "\x00garbage\xff;;;\n1,2\n"])
def test_metrics_without_epochs_are_named_and_left_out(logs, command, content):
    path = logs / "empty" / "metrics.csv"
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    code, out, err = command(logs)
    assert (code, err) == (0, f"{path}: no epochs in it, left out\n")
    assert len(out.splitlines()) == 4 and "empty" not in out
    code, out, err = command(path.parent)
    assert (code, out) == (2, "") and err.endswith(f"error: {path.parent}: no run in it (a folder with metrics.csv)\n")


def test_page_says_nothing_of_a_recipe_that_is_not_known(logs, command, tmp_path, repository):
    config = read_config(repository / "configs" / "small.json")
    (logs / "b7_111" / "config.json").write_text(config.model_dump_json())
    command(logs, "--html", tmp_path / "runs.html")
    (recipe,) = re.findall(r'<p class="muted">(.*?)</p>', (tmp_path / "runs.html").read_text().partition('runs">')[2])
    assert recipe.startswith(config.description)


def test_page_shows_every_run_as_text_and_data(logs, command, tmp_path):
    (logs / "b7_111").rename(logs / "<b>bold")
    path = tmp_path / "runs.html"
    assert command(logs, "--html", path)[0] == 0
    text = path.read_text()
    assert "&lt;b&gt;bold</a>" in text and "<b>" not in text
    assert '"bce":[0.6,0.3,0.4]' in text and "0.5500" in text
    assert command(logs, "--html", path)[0] == 2
    assert command(logs, "--html", path, "--overwrite")[0] == 0
