"""From videos to scores: the small config learns on generated pairs, and nothing where labels are shuffled."""

import csv
import json
import random
import shlex
import subprocess
import sys

import pytest
from sklearn.metrics import roc_auc_score

from demo.training_videos import make_training_root
from tests.conftest import read_csv

PAIRS = 30  # ten of them in fold 0, which is held out: 20 videos
EPOCHS, EPOCHS_ON_SHUFFLED = 8, 3


@pytest.fixture(scope="module")
def run(repository):
    """Runs one of the project's commands as a user does; returns its stdout."""

    def call(*argv):
        command = [str(argument) for argument in argv]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture(scope="module")
def root(tmp_path_factory, run, repository):
    """A preprocessed data root of generated pairs."""
    root = tmp_path_factory.mktemp("learning") / "root"
    make_training_root(root, pairs=PAIRS)
    run(repository / "preprocess_data.sh", root)
    return root


def train(run, repository, root, folds, epochs, folder):
    config = json.loads((repository / "configs" / "small.json").read_text())
    schedule = config["optimizer"]["schedule"]
    schedule["epochs"] = epochs
    schedule["params"]["max_iter"] = epochs * config["batches_per_epoch"]
    (folder / "config.json").write_text(json.dumps(config))
    argv = ["--config", folder / "config.json", "--data-dir", root, "--folds-csv", folds, "--initial-weights", "none"]
    argv += ["--output-dir", folder / "weights", "--logdir", folder / "logs", "--prefix", "small_"]
    return run(sys.executable, "-m", "training.pipelines.train_classifier", *argv)


def test_generated_fakes_are_found_by_what_was_trained_on_others(run, repository, root, tmp_path):
    (tmp_path / "log").write_text(train(run, repository, root, root / "folds.csv", EPOCHS, tmp_path))
    output = run(sys.executable, "plot_loss.py", "--log-file", tmp_path / "log", "--choose", "1", "--no-show")
    assert (tmp_path / "log.png").stat().st_size > 10_000
    models = shlex.split(output.splitlines()[-1])
    held_out = root / "dfdc_train_part_0"
    submission = tmp_path / "submission.csv"
    run(sys.executable, "predict_folder.py", "--test-dir", held_out, "--output", submission, "--frames", "8", *models)
    labels = json.loads((held_out / "metadata.json").read_text())
    _, *rows = read_csv(submission)
    assert len(rows) >= 20
    assert roc_auc_score([labels[name]["label"] == "FAKE" for name, _ in rows], [float(p) for _, p in rows]) >= 0.9


def test_nothing_is_learned_from_shuffled_labels(run, repository, root, tmp_path):
    shuffle_labels(root / "folds.csv", tmp_path / "folds.csv")
    train(run, repository, root, tmp_path / "folds.csv", EPOCHS_ON_SHUFFLED, tmp_path)
    with next((tmp_path / "logs").glob("*/metrics.csv")).open(newline="") as file:
        aucs = [float(row["auc"]) for row in csv.DictReader(file)]
    assert len(aucs) == EPOCHS_ON_SHUFFLED
    assert 0.3 <= sum(aucs) / len(aucs) <= 0.7


def shuffle_labels(folds, out):
    """A table in which half of each fold's pairs have the labels of real and fake exchanged."""
    with folds.open(newline="") as file:
        rows = list(csv.DictReader(file))
    fold_of = {row["original"]: row["fold"] for row in rows}
    exchanged = set()
    for fold in sorted(set(fold_of.values())):
        originals = sorted(original for original in fold_of if fold_of[original] == fold)
        exchanged.update(random.Random(1).sample(originals, len(originals) // 2))
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            label = int(row["label"])
            writer.writerow({**row, "label": 1 - label if row["original"] in exchanged else label})
