"""All five steps as one command: whose options are whose, what is refused before the first step, where it stops."""

import shutil
import subprocess

import pytest

from common.errors import UserError, exit_on_user_error
from preprocessing import pipeline


def test_options_go_where_they_are_known():
    split = pipeline.split_options(["--detector-scale", "0.5", "--workers=3", "--seed", "1", "--strict"])
    assert split[0] == ["--detector-scale", "0.5", "--workers=3", "--strict"]
    assert split[1] == split[2] == split[3] == ["--workers=3", "--strict"]
    assert split[4] == ["--seed", "1"]
    with pytest.raises(UserError, match="no step knows the option --foo"):
        pipeline.split_options(["--foo", "1"])
    with pytest.raises(UserError, match="'stray' is not an option"):
        pipeline.split_options(["stray"])


def test_bad_value_is_found_before_the_first_step(root, capsys):
    with pytest.raises(SystemExit) as end:
        exit_on_user_error(lambda: pipeline.main([str(root), "--n_splits", "x"]))
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (root / "boxes").exists()


def test_table_without_validation_is_refused_before_the_first_step(root, capsys):
    for folder in root.glob("dfdc_train_part_*"):
        if folder.name != "dfdc_train_part_0":
            shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"all crops are in fold 0, .*--allow-empty"):
        pipeline.main([str(root)])
    assert capsys.readouterr().out == "" and not (root / "boxes").exists()


def test_limit_that_leaves_one_fold_is_refused_before_the_first_step(root, capsys):
    with pytest.raises(UserError, match="--limit 1: leaves nothing to train on"):
        pipeline.main([str(root), "--limit", "1"])
    assert capsys.readouterr().out == "" and not (root / "boxes").exists()


def test_run_stops_at_the_first_failing_step(root, capsys):
    for path in root.rglob("*.mp4"):
        path.write_bytes(b"not a video")
    assert pipeline.main([str(root)]) == 1
    captured = capsys.readouterr()
    assert "== step 1 of 5: detect_original_faces" in captured.out and "step 2" not in captured.out
    assert "stopped at step 1" in captured.err


def test_shell_script_runs_the_steps(root, repository):
    done = subprocess.run([repository / "preprocess_data.sh", root, "--workers", "2"], capture_output=True, text=True)
    assert done.returncode == 0 and "== step 5 of 5: generate_folds" in done.stdout
    assert (root / "folds.csv").exists()
    usage = subprocess.run([repository / "preprocess_data.sh"], capture_output=True, text=True)
    assert usage.returncode == 2 and len(usage.stderr.splitlines()) == 1
