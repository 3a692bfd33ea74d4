"""Cross-validation: every fold held out with every seed, judged by its videos; what is done is not done again."""

import json
import shutil

import pandas as pd
import pytest
import torch

from common.errors import UserError
from cross_validate import main, parse_arguments
from evaluation.held_out import always_trained_on, held_out_videos
from evaluation.metrics import auc
from preprocessing.data_root import read_data_root
from tests.conftest import read_csv
from tests.training_runs import CONFIG, write_config
from training.tools.checkpoints import load_checkpoint

PAIRS = {0: ("004", "519"), 1: ("gtyoqwmdre", "hplzkcxiun")}


def arguments(root, config, out, *extra):
    argv = ["--config", config, "--data-dir", root, "--folds-csv", root / "folds.csv", "--out", out]
    argv += ["--initial-weights", "none", "--epochs", "1", "--workers", "0", *extra]
    return [str(argument) for argument in argv]


@pytest.fixture(scope="module")
def done(processed, tmp_path_factory):
    """The folder after fold 0 with seed 1, then after both folds with two seeds, and when the first was scored."""
    out, config = tmp_path_factory.mktemp("validated") / "out", write_config(tmp_path_factory.mktemp("c") / "tiny.json")
    assert main(arguments(processed, config, out, "--folds", "0", "--seeds", "1")) == 0
    first = (out / "scores" / "fold0_seed1.jsonl").stat().st_mtime_ns
    assert main(arguments(processed, config, out, "--folds", "0", "1", "--seeds", "1", "2")) == 0
    return out, config, first


def results(out):
    return json.loads((out / "results.json").read_text())


def test_every_fold_is_scored_from_every_seed(done):
    out, _, _ = done
    runs = results(out)["runs"]
    assert [(run["fold"], run["seed"]) for run in runs] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for run in runs:
        assert sorted(video["filename"] for video in run["videos"]) == [f"{name}.mp4" for name in PAIRS[run["fold"]]]
        assert [video["original"] for video in run["videos"]] == [PAIRS[run["fold"]][0]] * 2
        for score in ("label", "mean of the faces"):
            values = pd.DataFrame(run["videos"])
            of_fold = results(out)["scores"][score]["folds"][str(run["fold"])]
            assert of_fold["seeds"][str(run["seed"])] == auc(values["fake"].to_numpy(), values[score].to_numpy())
    assert len({str(run["videos"]) for run in runs}) == 4  # no two networks say the same


def test_what_is_scored_is_the_network_after_the_last_epoch(done):
    out, _, _ = done
    last = load_checkpoint(out / "weights" / f"seed2_{CONFIG['network']}_{CONFIG['encoder']}_1_last")
    assert last.epoch == 1
    record = json.loads((out / "scores" / "fold1_seed2.jsonl").read_text().splitlines()[0])
    assert record["models"] == [last.name] and len(record["frames"]) == 27  # all frames there are: 32 are asked for


def test_table_is_written_and_logs_are_kept(done):
    out, _, _ = done
    table = (out / "table.md").read_text()
    assert table.startswith("# tiny\n\n2 real and 2 fake videos, each scored by networks that saw neither")
    assert "| fold 1 " in table and "| seed 2 |" in table and "2 identities are too few" in table
    log = (out / "logs" / "fold1_seed1.log").read_text()
    assert "fake_loss" in log and "2 videos, 2 scored" in log


def test_what_is_done_is_not_done_again(done, processed, capsys):
    out, config, first = done
    assert (out / "scores" / "fold0_seed1.jsonl").stat().st_mtime_ns == first
    (out / "table.md").unlink()
    assert main(arguments(processed, config, out, "--folds", "0", "1", "--seeds", "2")) == 0
    output = capsys.readouterr().out
    assert "== fold" not in output and output == (out / "table.md").read_text() + "\n"


def test_run_without_scores_is_scored_and_not_trained_again(done, processed, capsys):
    out, config, _ = done
    scores = out / "scores" / "fold1_seed2.jsonl"
    before, weights = scores.read_text(), sorted(path.stat().st_mtime_ns for path in out.glob("weights/*"))
    scores.unlink()
    assert main(arguments(processed, config, out, "--folds", "1", "--seeds", "2")) == 0
    assert "all 1 epochs are done" in capsys.readouterr().out
    assert sorted(path.stat().st_mtime_ns for path in out.glob("weights/*")) == weights
    labels = [[json.loads(line)["label"] for line in text.splitlines()] for text in (before, scores.read_text())]
    assert labels[0] == labels[1]


@pytest.mark.parametrize("interrupted", [False, True])
def test_video_that_could_not_be_scored_is_tried_again(processed, tmp_path, capsys, interrupted):
    root, out = shutil.copytree(processed, tmp_path / "root"), tmp_path / "out"
    config = write_config(tmp_path / "tiny.json")
    video = next(root.glob("*/hplzkcxiun.mp4"))
    content = video.read_bytes()
    video.write_bytes(b"not readable for now")
    retry = out / "scores" / "fold1_seed1.csv.retry"
    for labels in ([0.5], []):
        assert main(arguments(root, config, out, "--folds", "1", "--seeds", "1")) == 0
        assert [v["label"] for run in results(out)["runs"] for v in run["videos"] if v["label"] == 0.5] == labels
        video.write_bytes(content)
        if labels and interrupted:  # at the beginning of the second try
            retry.rename(retry.with_suffix(".partial"))
    assert "continuing: 1 of 2 videos" in capsys.readouterr().out


def test_mean_of_the_seeds_networks_is_judged_too(done, processed):
    out, config, _ = done
    assert results(out)["scores of averages"] == {}
    assert main(arguments(processed, config, out, "--folds", "0", "1", "--seeds", "1", "2", "--average")) == 0
    after = results(out)
    assert [run["seed"] for run in after["runs"]] == [1, 2, 1, 2, "1+2", "1+2"]
    run = next(run for run in after["runs"] if (run["fold"], run["seed"]) == (1, "1+2"))
    values = pd.DataFrame(run["videos"])
    judged = after["scores of averages"]["label"]["folds"]["1"]["seeds"]
    assert judged == {"1+2": auc(values["fake"].to_numpy(), values["label"].to_numpy())}
    names = [f"seed{seed}_{CONFIG['network']}_{CONFIG['encoder']}_1_last" for seed in ("1", "2", "1+2")]
    first, second, mean = (load_checkpoint(out / "weights" / name).network.fc.weight for name in names)
    assert torch.allclose((first + second) / 2, mean) and not torch.equal(first, second)
    assert "## The label (confident strategy), of the mean of the seeds' networks" in (out / "table.md").read_text()


def test_other_settings_are_refused_where_runs_are(done, processed):
    out, config, _ = done
    with pytest.raises(UserError, match=r"has runs with other config and options of training; choose another --out"):
        main(arguments(processed, config, out, "--epochs", "2", "--folds", "0", "--label-smoothing", "0.1"))


def test_number_of_epochs_takes_the_schedule_along(done):
    out, _, _ = done
    schedule = json.loads((out / "config.json").read_text())["optimizer"]["schedule"]
    before = CONFIG["optimizer"]["schedule"]
    assert (schedule["epochs"], schedule["params"]["max_iter"]) == (1, before["params"]["max_iter"] / before["epochs"])


def test_real_videos_without_fakes_are_never_held_out(processed):
    rows = [("a", 0, "a", 0), ("fa", 1, "a", 0), ("lone", 0, "lone", 0), ("b", 0, "b", 3), ("fb", 1, "b", 3)]
    table = pd.DataFrame(rows, columns=["video", "label", "original", "fold"])
    assert always_trained_on(table)["fold"].tolist() == [0, 0, 4, 3, 3]


def test_held_out_are_all_videos_of_the_folds_originals_with_crops_or_without(processed, tmp_path):
    table = pd.DataFrame(read_csv(processed / "folds.csv")[1:], columns=read_csv(processed / "folds.csv")[0])
    table = table.astype({"label": int, "fold": int})
    root = read_data_root(processed)
    without = table[table["video"] != "519"]
    assert [video.id for video in held_out_videos(without, root, 0)] == ["004", "519"]
    with pytest.raises(UserError, match=r"fold 7 has not both real and fake videos to hold out; .* have fakes: 0, 1"):
        held_out_videos(table, root, 7)


@pytest.mark.parametrize("option", ["--resume=auto", "--train-on-all", "--from-zero"])
def test_what_is_decided_for_each_run_cannot_be_told(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        parse_arguments(arguments(tmp_path, "c.json", "out", "--folds", "0", option))
    assert f"{option} is decided here, for each run" in capsys.readouterr().err


def test_bad_option_of_training_is_refused_before_anything_is_written(processed, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(arguments(processed, write_config(tmp_path / "c.json"), tmp_path / "out", "--folds", "0", "--nonsense"))
    assert "--nonsense" in capsys.readouterr().err and not (tmp_path / "out" / "settings.json").exists()
