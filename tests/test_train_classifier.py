"""The training command: what a run leaves, what it refuses, what it goes on from."""

import json
import os
import shutil
import struct

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.files import held
from predict_folder import predict_folder
from tests.training_runs import CONFIG, NAME, command, last_weights, write_config
from training.pipelines.train_classifier import main
from training.runs import find_runs
from training.tools.checkpoints import load_checkpoint

COLUMNS = (
    "epoch,iteration,lr,train_loss,train_fake_loss,train_real_loss,fake_loss,real_loss,bce,auc,best,items_per_second,"
    "checkpoint"
)


@pytest.fixture
def train(processed, tmp_path, capsys):
    """Runs the command in this process on the small root; returns (exit code, stdout lines)."""

    def call(*extra, out="out", config=CONFIG):
        argv = command(processed, tmp_path / out, write_config(tmp_path / "config.json", config), "--workers", "0")
        code = main([*argv, *map(str, extra)])
        return code, capsys.readouterr().out.splitlines()

    return call


def rows(folder):
    lines = (folder / "logs" / "x_mobilenetv3_small_050_0" / "metrics.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


def event_tags(folder):
    """Tags of the values in the TensorBoard files below `folder`: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    tags = set()
    for path in folder.rglob("events.out.*"):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            tags.update(value.tag for value in event.summary.value)
            content = content[16 + length :]
    return tags


@pytest.fixture(scope="module")
def finished(processed, tmp_path_factory):
    """The folder of an uninterrupted run of two epochs."""
    folder = tmp_path_factory.mktemp("finished")
    argv = command(processed, folder, write_config(folder / "config.json"), "--workers", "0")
    assert main(argv) == 0
    return folder


def test_a_checkpoint_for_every_epoch_the_best_and_the_last(finished):
    names = {path.name for path in (finished / "weights").iterdir()}
    assert names == {f"{NAME}_0", f"{NAME}_1", f"{NAME}_best_dice", f"{NAME}_last"}
    stored = [load_checkpoint(finished / "weights" / f"{NAME}_{epoch}") for epoch in (0, 1)]
    assert [checkpoint.epoch for checkpoint in stored] == [1, 2]
    assert stored[0].config.size == CONFIG["size"] and stored[0].config.network == CONFIG["network"]


def test_what_is_held_out_is_trained_on_as_well_if_asked_for(train, processed):
    crops = len((processed / "folds.csv").read_text().splitlines()) - 1
    _, apart = train(out="apart")
    code, lines = train("--train-on-all", out="all")
    of_training, of_validation = (
        next(line for line in lines if line.startswith(w)) for w in ("training", "validation")
    )
    assert code == 0 and of_training.startswith(f"training: {crops} crops of 4 videos")
    assert of_training not in apart and of_validation in apart
    assert "trained on everything: what validation says is about crops that were trained on" in lines


def test_metrics_have_a_row_an_epoch(finished):
    path = finished / "logs" / "x_mobilenetv3_small_050_0" / "metrics.csv"
    assert path.read_text().splitlines()[0] == COLUMNS
    first, second = rows(finished)
    assert (first["epoch"], second["epoch"]) == ("0", "1")
    for row in (first, second):
        assert float(row["bce"]) == pytest.approx((float(row["fake_loss"]) + float(row["real_loss"])) / 2)
        assert float(row["train_loss"]) == pytest.approx(
            (float(row["train_fake_loss"]) + float(row["train_real_loss"])) / 2
        )
        assert row["checkpoint"] == str(finished / "weights" / f"{NAME}_{row['epoch']}")


def test_run_is_listed_with_its_best_epoch_and_recipe(finished):
    (run,) = find_runs(finished / "logs")
    assert run.name == "x_mobilenetv3_small_050_0" and len(run.epochs) == 2
    assert run.best_bce == min(run.values["bce"])
    assert run.config.startswith("DeepFakeClassifierGWAP with mobilenetv3_small_050, ")


def test_learning_rate_is_that_of_the_iteration(finished):
    # Six batches an epoch of at most eight: the last one of the second epoch is iteration 8 + 5.
    params = CONFIG["optimizer"]["schedule"]["params"]
    expected = CONFIG["optimizer"]["learning_rate"] * (1 - 13 / params["max_iter"]) ** 0.9
    assert float(rows(finished)[1]["lr"]) == pytest.approx(expected, rel=1e-9)


def test_best_checkpoint_is_that_of_the_lowest_bce(finished):
    best = min(rows(finished), key=lambda row: float(row["bce"]))
    loaded = load_checkpoint(finished / "weights" / f"{NAME}_best_dice")
    assert loaded.epoch == int(best["epoch"]) + 1
    assert loaded.bce_best == pytest.approx(float(best["bce"]))


def test_tensorboard_has_losses_rates_crops_and_roc(finished):
    assert event_tags(finished) >= {"train/loss", "val/bce", "group0/lr", "train/crops", "val/roc"}


def test_predictions_hold_every_validation_crop_by_video(finished):
    path = finished / "logs" / "x_mobilenetv3_small_050_0" / "predictions_0.json"
    predictions = json.loads(path.read_text())
    assert predictions["targets"] == {"004": 0, "519": 1}
    assert {video: len(values) for video, values in predictions["probs"].items()} == {"004": 2, "519": 2}
    assert not list(path.parent.glob("faces_*"))  # crops are of frames, not of tracks


def test_stdout_has_the_published_lines(train):
    code, lines = train()
    assert code == 0
    losses = [line.split() for line in lines if line.startswith(("fake_loss ", "real_loss "))]
    assert [name for name, _ in losses] == ["fake_loss", "real_loss"] * 2
    assert all(0 < float(value) < 5 for _, value in losses)


def test_trained_network_predicts_without_being_told_about_itself(finished, folder):
    scores = predict_folder(folder, [f"{NAME}_1"], weights_dir=finished / "weights", frames=4, say=lambda line: None)
    assert len(scores.labels) == 3 and all(0 < label < 1 for label in scores.labels.values())


def test_same_seed_same_weights_whatever_loads_the_crops(finished, train, tmp_path):
    train("--workers", "2", out="again")
    assert all(map(torch.equal, last_weights(finished), last_weights(tmp_path / "again")))


def test_other_seed_other_weights(finished, train, tmp_path):
    train("--seed", "5", out="other")
    assert not all(map(torch.equal, last_weights(finished), last_weights(tmp_path / "other")))


def test_validation_every_second_epoch(train, tmp_path):
    config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "schedule": {"epochs": 3, "params": {"max_iter": 30}}}}
    train("--test_every", "2", config=config)
    assert [bool(row["bce"]) for row in rows(tmp_path / "out")] == [False, True, True]


def test_run_that_is_there_is_not_written_over(train, tmp_path):
    train()
    before = last_weights(tmp_path / "out")
    with pytest.raises(UserError, match=r"_last is there from a run before: --resume auto goes on .* --overwrite"):
        train("--seed", "5")
    assert all(map(torch.equal, before, last_weights(tmp_path / "out")))
    (log,) = (tmp_path / "out").rglob("metrics.csv")
    (log.parent / "faces_0.csv").write_text("of the run before")
    assert train("--seed", "5", "--overwrite")[0] == 0
    assert not (log.parent / "faces_0.csv").exists()
    assert not all(map(torch.equal, before, last_weights(tmp_path / "out")))


def test_finished_run_resumes_to_nothing(train, tmp_path):
    train()
    code, lines = train("--resume", "auto")
    assert code == 0 and "all 2 epochs are done" in lines[-1]


def test_weights_alone_resume_at_their_epoch(train, tmp_path):
    train()
    code, lines = train("--resume", tmp_path / "out" / "weights" / f"{NAME}_0", out="more")
    assert code == 0
    assert any("at epoch 1" in line and "optimizer and random states begin afresh" in line for line in lines)
    assert not (tmp_path / "more" / "weights" / f"{NAME}_0").exists()


def test_from_zero_and_zero_score(train, tmp_path):
    train()
    last = tmp_path / "out" / "weights" / f"{NAME}_last"
    _, lines = train("--resume", last, "--from-zero", "--zero-score", out="more")
    assert any("at epoch 0, best bce 100.0" in line for line in lines)
    assert (tmp_path / "more" / "weights" / f"{NAME}_1").exists()


def test_run_from_zero_goes_on_by_the_same_command(train, tmp_path):
    train()
    last = tmp_path / "out" / "weights" / f"{NAME}_last"
    again = ("--resume", "auto", "--from-zero", "--zero-score")
    code, lines = train(*again)
    assert code == 0 and any("at epoch 0, best bce 100.0" in line for line in lines)
    before = last.read_bytes()
    code, lines = train(*again)
    assert code == 0 and last.read_bytes() == before
    assert any("--from-zero and --zero-score where it began, not again" in line for line in lines)
    assert any("all 2 epochs are done" in line for line in lines)
    # Begun anew it does, and so does another run, which takes the weights and not what this one has been asked.
    code, lines = train("--resume", last, "--from-zero", "--overwrite")
    assert any("at epoch 0" in line for line in lines)
    code, lines = train("--resume", last, "--from-zero", out="more")
    assert any("at epoch 0" in line for line in lines)


def test_other_network_does_not_resume(train, tmp_path):
    train()
    with pytest.raises(UserError, match="does not fit DeepFakeClassifier with"):
        train(
            "--resume",
            tmp_path / "out" / "weights" / f"{NAME}_last",
            config={**CONFIG, "network": "DeepFakeClassifier"},
        )


def test_other_optimizer_does_not_resume(train):
    train()
    config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "type": "AdamW"}}
    with pytest.raises(UserError, match="was trained with SGD, not AdamW; --from-zero"):
        train("--resume", "auto", config=config)
    assert train("--resume", "auto", "--from-zero", config=config)[0] == 0


def test_resumed_run_takes_the_learning_rate_of_its_config(train, tmp_path):
    schedule = {"epochs": 1, "params": {"max_iter": 20}}
    train(config={**CONFIG, "optimizer": {**CONFIG["optimizer"], "schedule": schedule}})
    train("--resume", "auto", config={**CONFIG, "optimizer": {**CONFIG["optimizer"], "learning_rate": 1e-5}})
    assert float(rows(tmp_path / "out")[1]["lr"]) == pytest.approx(1e-5 * (1 - 13 / 20) ** 0.9)


def test_log_of_another_run_is_not_written_over(train, tmp_path):
    train(out="first")
    log = tmp_path / "first" / "logs" / "x_mobilenetv3_small_050_0" / "metrics.csv"
    before = log.read_bytes()
    elsewhere = ("--output-dir", tmp_path / "other")
    with pytest.raises(UserError, match="holds the log of another run; another --prefix or --logdir, or --overwrite"):
        train(*elsewhere, out="first")
    assert log.read_bytes() == before and not list((tmp_path / "other").glob("x_*"))
    assert train(*elsewhere, "--overwrite", out="first")[0] == 0
    (tmp_path / "other" / f"{NAME}_last").rename(tmp_path / "first" / "weights" / f"{NAME}_last")
    with pytest.raises(UserError, match="holds the log of another run"):  # not even to go on with one's own
        train("--resume", "auto", "--from-zero", out="first")


def test_restart_by_torchrun_does_not_begin_anew(train, tmp_path, monkeypatch):
    train(out="first")
    before = last_weights(tmp_path / "first")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(UserError, match="--overwrite would remove what this run has saved"):
        train("--overwrite", "--resume", "auto", out="first")
    assert all(map(torch.equal, last_weights(tmp_path / "first"), before))

    # Nor does it take another run's state for its own: the start before it was refused for that.
    with pytest.raises(UserError, match="is there from a run before: --resume auto goes on with it"):
        train("--resume", tmp_path / "first" / "weights" / f"{NAME}_0", "--from-zero", out="first")
    assert all(map(torch.equal, last_weights(tmp_path / "first"), before))


def test_beginning_anew_removes_what_the_old_run_left(train, tmp_path):
    train()
    schedule = {"epochs": 1, "params": {"max_iter": 20}}
    config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "schedule": schedule}}
    train("--resume", "auto", "--overwrite", config=config)
    assert not (tmp_path / "out" / "weights" / f"{NAME}_1").exists()
    assert len(rows(tmp_path / "out")) == 1
    assert len(list((tmp_path / "out" / "logs").rglob("events.out.*"))) == 1


def test_beginning_anew_from_a_checkpoint_of_the_old_run_keeps_that(train, tmp_path):
    train()
    start = tmp_path / "out" / "weights" / f"{NAME}_0"
    before = start.read_bytes()
    train("--resume", start, "--overwrite")
    assert start.read_bytes() == before


def test_prefix_is_no_path(train):
    with pytest.raises(UserError, match="is the beginning of a name, not a path"):
        train("--prefix", "../x")


def test_network_that_does_not_take_the_size_is_refused(train):
    config = {**CONFIG, "network": "DeepFakeClassifier", "encoder": "vit_tiny_patch16_224"}
    with pytest.raises(UserError, match="vit_tiny_patch16_224 does not take 64 pixels"):
        train(config=config)


def test_network_that_gives_no_map_of_features_is_refused(train):
    config = {**CONFIG, "network": "DeepFakeClassifier", "encoder": "crossvit_tiny_240", "size": 240}
    with pytest.raises(UserError, match="crossvit_tiny_240 does not take 240 pixels"):
        train(config=config)


def test_folder_that_is_not_utf8_is_refused(train, tmp_path):
    with pytest.raises(UserError, match="is not UTF-8"):
        train("--output-dir", os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))


def test_damaged_state_is_refused(train, tmp_path):
    train()
    last = tmp_path / "out" / "weights" / f"{NAME}_last"
    content = torch.load(last, weights_only=True)
    del content["training"]["optimizer"]
    torch.save(content, last)
    with pytest.raises(UserError, match="its training state does not fit"):
        train("--resume", "auto")


def test_changed_table_begins_the_epoch_again(train, processed, tmp_path):
    train()
    last = tmp_path / "out" / "weights" / f"{NAME}_last"
    content = torch.load(last, weights_only=True)
    content["training"]["position"] = {"epoch": 1, "batch": 3}
    content["training"]["order"]["rows"] = "another table"
    torch.save(content, last)
    _, lines = train("--resume", "auto")
    assert any("rows changed since it was interrupted: epoch 1 begins again" in line for line in lines)


def test_second_run_of_the_same_name_is_refused(train, tmp_path):
    (tmp_path / "out" / "weights").mkdir(parents=True)
    with held(tmp_path / "out" / "weights" / f".{NAME}.lock", ""), pytest.raises(UserError, match="another run is"):
        train()


def test_unknown_names_are_refused(train):
    with pytest.raises(UserError, match=r"config\.json: unknown encoder 'mobilnet"):
        train(config={**CONFIG, "encoder": "mobilnet"})
    with pytest.raises(UserError, match=r"config\.json: .*mobilenetv3_small_050"):
        train(config={**CONFIG, "encoder": "mobilenetv3_small_050.of_nobody"})
    with pytest.raises(UserError, match=r"config\.json: unknown network"):
        train(config={**CONFIG, "network": "Classifier"})


def test_epoch_smaller_than_a_batch_is_refused(train):
    config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "batch_size": 64}}
    with pytest.raises(UserError, match="an epoch has 12 crops, less than one batch of 64"):
        train(config=config)


def test_fold_without_crops_is_refused_with_those_there(train):
    with pytest.raises(
        UserError, match=r"with fold 9 held out there is nothing for validation; folds .* 0 \(6 crops\)"
    ):
        train("--fold", "9")


def test_missing_crops_folder_is_refused(train):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        train("--crops-dir", "nowhere")


def test_learning_rate_that_ends_too_early_is_said(train):
    config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "schedule": {"epochs": 1, "params": {"max_iter": 5}}}}
    assert any("the learning rate is 0 before the end" in line for line in train(config=config)[1])
    assert not any("the learning rate is 0" in line for line in train(out="usual")[1])


def test_loss_that_is_not_finite_ends_the_run_and_keeps_what_was(train, tmp_path):
    optimizer = {**CONFIG["optimizer"], "learning_rate": 1e30, "weight_decay": 0.0}
    with pytest.raises(UserError, match="the loss of epoch 0 is not finite; a lower learning rate may help"):
        train(config={**CONFIG, "optimizer": optimizer})
    assert not list((tmp_path / "out" / "weights").glob("*_last"))


def test_unreadable_crops_end_the_run_with_the_first_five(processed, tmp_path):
    root = shutil.copytree(processed, tmp_path / "root")
    for path in (root / "crops" / "gtyoqwmdre").glob("*.png"):
        path.write_bytes(b"no image")
    argv = command(root, tmp_path / "out", write_config(tmp_path / "config.json"), "--workers", "0")
    with pytest.raises(UserError, match=r"training: \d+ tries to read a crop .*gtyoqwmdre/\d+_\d\.png: not a"):
        main(argv)


def test_videos_can_be_held_out_instead_of_a_fold(train, tmp_path):
    (tmp_path / "videos.txt").write_text("519.mp4\n004\nnobody\n")
    code, lines = train("--val-videos", tmp_path / "videos.txt")
    assert code == 0
    assert any("1 of 3 videos" in line and "have no crops" in line for line in lines)
    assert "training: 12 crops of 2 videos, 6 real, 6 fake" in lines


def test_frozen_epochs_change_the_head_alone(train, tmp_path):
    train("--freeze-epochs", "1")
    first = load_checkpoint(tmp_path / "out" / "weights" / f"{NAME}_0").network.state_dict()
    second = load_checkpoint(tmp_path / "out" / "weights" / f"{NAME}_1").network.state_dict()
    torch.manual_seed(777)
    from training.zoo.classifiers import create_network

    drawn = create_network(CONFIG["network"], CONFIG["encoder"]).state_dict()
    encoder = [key for key in drawn if key.startswith("encoder.") and not key.startswith("encoder.classifier")]
    assert all(torch.equal(first[key], drawn[key]) for key in encoder)
    assert not torch.equal(first["fc.weight"], drawn["fc.weight"])
    assert not all(torch.equal(second[key], drawn[key]) for key in encoder)


def test_augmented_crops_differ_from_epoch_to_epoch(finished, processed):
    from training.datasets.classifier_dataset import DeepFakeClassifierDataset
    from training.datasets.folds import read_folds, split_by_fold

    training, _ = split_by_fold(read_folds(processed / "folds.csv"), 0)
    dataset = DeepFakeClassifierDataset(training, processed, size=64)
    crop = [np.flatnonzero(dataset.order(epoch) == 0)[0] for epoch in (0, 1)]
    images = [dataset[epoch, position]["image"] for epoch, position in enumerate(crop)]
    assert not torch.equal(*images)
