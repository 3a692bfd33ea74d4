"""Clips and sequences train with the command that trains frames; what differs is the family's."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import UserError
from faces.clips import CLIP_SIDE
from predict_folder import predict_folder
from preprocessing import extract_clips
from tests.conftest import read_csv
from tests.training_runs import command
from training.families import TwoClasses, check_options, family_of
from training.history import read_losses
from training.options import make_parser
from training.pipelines.train_classifier import main
from training.tools.checkpoints import load_checkpoint
from training.tools.config import TrainConfig

OPTIMIZER = {
    "type": "AdamW",
    "batch_size": 2,
    "learning_rate": 1e-3,
    "schedule": {"type": "one_cycle", "epochs": 1, "params": {"max_iter": 4}},
}
CLIP = {"input": "clip", "network": "mc3_18", "frames": 4, "size": 32, "cutmix": True, "optimizer": OPTIMIZER}
SEQUENCE = {
    "input": "sequence",
    "network": "MixNetLSTM",
    "encoder": "mobilenetv3_small_050",
    "frames": 10,
    "size": 32,
    "gradient_clip": 0.5,
    "optimizer": OPTIMIZER,
    "augmentation": {"shuffled_frames": 0.5},
}


@pytest.mark.parametrize(
    ("config", "table", "name"),
    [(CLIP, "clips", "x_mc3_18_0"), (SEQUENCE, "sequences", "x_MixNetLSTM_mobilenetv3_small_050_0")],
    ids=["clip", "sequence"],
)
def test_same_command_trains_all_families(clipped, tmp_path, capsys, config, table, name):
    (tmp_path / "config.json").write_text(json.dumps(config))
    argv = command(clipped, tmp_path, tmp_path / "config.json", "--workers", "0")
    argv[argv.index("--folds-csv") + 1] = str(clipped / f"{table}.csv")
    assert main(argv) == 0
    output = capsys.readouterr().out
    loaded = load_checkpoint(tmp_path / "weights" / f"{name}_last")
    assert loaded.config.input == config["input"] and loaded.config.frames == config["frames"]
    logs = next((tmp_path / "logs").iterdir())
    metrics = (logs / "metrics.csv").read_text().splitlines()
    assert len(metrics) == 2 and 0 < float(metrics[1].split(",")[8]) < 10
    # One pair is held out, and each of its videos has one face.
    header, row = read_csv(logs / "faces_0.csv")
    by_faces = dict(zip(header, row, strict=True))
    assert (by_faces["faces"], by_faces["videos"]) == ("1", "2")
    assert sum(int(by_faces[name]) for name in ("tn", "fp", "fn", "tp")) == 2
    shown = [line.split() for line in output.splitlines()]
    assert shown[shown.index(header) + 1][:6] == row[:6]
    # The table does not disturb who reads the losses from what was printed.
    (tmp_path / "log").write_text(output)
    printed, kept = read_losses(tmp_path / "log"), read_losses(logs / "metrics.csv")
    assert replace(printed, name=kept.name) == kept
    summary = predict_folder(clipped / "dfdc_train_part_0", [f"{name}_last"], weights_dir=tmp_path / "weights")
    assert len(summary.labels) == 2 and not summary.unscored


def test_clips_of_another_colour_are_told_from_those_that_were_not_trained_on(repository, tmp_path):
    write_blue_fakes(tmp_path, pairs=24)
    config = json.loads((repository / "configs" / "tiny_clip.json").read_text()) | {"size": 32}
    config["optimizer"]["schedule"] |= {"epochs": 5, "params": {"max_iter": 20}}
    config["batches_per_epoch"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    argv = command(tmp_path, tmp_path, tmp_path / "config.json", "--workers", "0", "--test_every", "5")
    assert main(argv) == 0
    with next((tmp_path / "logs").glob("*/metrics.csv")).open(newline="") as file:
        *_, last = csv.DictReader(file)
    assert float(last["auc"]) == 1


def write_blue_fakes(root, pairs):
    """Clips of noise, the fakes' bluish, with their table in folds.csv; every third pair is in fold 0."""
    rng = np.random.default_rng(3)
    rows = []
    for pair in range(pairs):
        for label, video in enumerate((f"real{pair}", f"fake{pair}")):
            (root / "clips" / video).mkdir(parents=True)
            with extract_clips.ClipWriter(root / "clips" / video / "0_0.mkv") as writer:
                for _ in range(2):
                    noise = rng.integers(40, 160, (CLIP_SIDE // 8, CLIP_SIDE // 8, 3), np.uint8)
                    noise[..., 0] += 60 * label
                    writer.write(noise.repeat(8, axis=0).repeat(8, axis=1))
            rows.append(f"{video},0_0.mkv,{label},real{pair},0,{pair % 3}")
    (root / "folds.csv").write_text("\n".join(["video,file,label,original,frame,fold", *rows]) + "\n")


def test_clips_are_two_classes_of_which_the_first_is_fake():
    family = family_of(TrainConfig.model_validate(CLIP))
    assert family.probabilities(torch.tensor([[9.0, -9.0], [-9.0, 9.0]])).tolist() == pytest.approx([1, 0], abs=1e-6)
    loss = TwoClasses(TrainConfig.model_validate({**CLIP, "cutmix": False}))
    images = torch.zeros(2, 3, 2, 4, 4)
    same, targets = loss.prepare(images, torch.tensor([[1.0], [0.0]]))
    assert torch.equal(same, images)
    right, fake, real = loss(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]), targets, None)
    assert max(right, fake, real) < 1e-6
    wrong, fake, real = loss(torch.tensor([[9.0, -9.0], [9.0, -9.0]]), targets, None)
    assert (fake.item(), real.item(), wrong.item()) == pytest.approx((0, 18, 9), abs=1e-4)


def test_mixed_clips_count_for_both_labels_by_their_shares():
    loss = TwoClasses(TrainConfig.model_validate(CLIP))
    clips = torch.stack([torch.zeros(3, 4, 8, 8), torch.ones(3, 4, 8, 8)])
    torch.manual_seed(5)
    mixed, (own, pasted, share) = loss.prepare(clips, torch.tensor([[1.0], [0.0]]))
    assert (own.tolist(), pasted.tolist()) == ([0, 1], [1, 0])
    assert mixed[0].mean().item() == pytest.approx(1 - share[0].item(), abs=1e-6)
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    entropy = -torch.log_softmax(logits[0], 0)
    expected = [(s * entropy[a] + (1 - s) * entropy[b]).item() for s, a, b in zip(share, own, pasted, strict=True)]
    total, fake, real = loss(logits, (own, pasted, share), None)
    assert (fake.item(), real.item()) == pytest.approx(expected)
    assert total.item() == pytest.approx(sum(expected) / 2)


def test_options_of_frames_are_refused_for_clips():
    config = TrainConfig.model_validate(CLIP)
    parser, needed = make_parser(), ["--config", "clip.json", "--data-dir", "root"]
    check_options(config, parser.parse_args(needed), parser.get_default)
    for flag in (
        *(["--only-changed-frames"], ["--no-hardcore"], ["--freeze-epochs", "1"], ["--padding-part", "10"]),
        *(["--label-smoothing", "0.1"], ["--crops-dir", "faces"]),
    ):
        with pytest.raises(UserError, match=f"{flag[0]}: is for networks of single frames, clip.json is one of clips"):
            check_options(config, parser.parse_args([*needed, *flag]), parser.get_default)


def test_table_of_another_family_is_refused_by_name(clipped, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CLIP))
    argv = command(clipped, tmp_path, tmp_path / "config.json", "--workers", "0")
    argv[argv.index("--folds-csv") + 1] = str(clipped / "sequences.csv")
    with pytest.raises(UserError, match=r"sequences\.csv: neither .*0_0\.png nor .*; clips\.csv is the table for"):
        main(argv)


def test_log_of_another_network_is_not_mixed_with(clipped, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CLIP))
    argv = command(clipped, tmp_path, tmp_path / "config.json", "--workers", "0")
    argv[argv.index("--folds-csv") + 1] = str(clipped / "clips.csv")
    folder = tmp_path / "logs" / "x_mc3_18_0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"network": "DeepFakeClassifier", "encoder": "mc3_18"}))
    with pytest.raises(UserError, match="holds the log of DeepFakeClassifier_mc3_18; another --prefix"):
        main([*argv, "--overwrite"])
    assert [path.name for path in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize("config", [CLIP, SEQUENCE, {}], ids=["clip", "sequence", "frame"])
def test_pictures_of_a_batch_are_what_a_person_can_look_at(config):
    config = TrainConfig.model_validate({**config, "size": 32})
    family = family_of(config)
    pictures = family.pictures(torch.rand(2, *family.input_shape(config)), config)
    assert pictures.shape == (2, 3, 32, 32) and pictures.min() >= 0 and pictures.max() <= 1


def test_knowing_the_families_needs_no_tables_and_no_augmentation(repository):
    code = "import sys, training.families; print({'pandas', 'cv2', 'albumentations', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
