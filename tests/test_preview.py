"""The sheet of augmented crops."""

import cv2
import numpy as np
import pytest

from common.errors import UserError
from tests.generated_crops import make_crops
from tests.pair_crops import make_pair_crops
from tests.training_runs import CONFIG, write_config
from training.preview import DRAWS, GAP, HEADER, TILE, main


@pytest.fixture
def root(tmp_path):
    make_crops(tmp_path)
    return tmp_path


def preview(root, config, *extra):
    argv = ["--config", write_config(root / "config.json", config), "--folds-csv", root / "folds.csv", *extra]
    return main([str(argument) for argument in argv])


def test_sheet_has_a_row_for_every_crop_and_the_last_columns_differ(root):
    assert preview(root, CONFIG, "--out", root / "sheet.png", "--crops", "4") == 0
    sheet = cv2.imread(str(root / "sheet.png"))
    side = TILE + GAP
    assert sheet.shape[0] == HEADER + 4 * side and sheet.shape[1] % side == 0
    row = sheet[HEADER : HEADER + TILE]
    drawn = [row[:, -(k + 1) * side :][:, :TILE] for k in range(DRAWS)]
    assert all((drawn[0] != other).any() for other in drawn[1:])


PAIRS = {**CONFIG, "sampling": "pairs", "augmentation": {"self_blending": 1.0, "blending": "hull"}}


def test_sheet_of_pairs_shows_each_real_crop_above_its_fake(tmp_path, capsys):
    make_pair_crops(tmp_path)
    assert preview(tmp_path, PAIRS, "--out", tmp_path / "sheet.png", "--crops", "6") == 0
    sheet, side = cv2.imread(str(tmp_path / "sheet.png")).astype(int), TILE + GAP
    assert sheet.shape[:2] == (HEADER + 3 * (HEADER + 2 * side), 3 * DRAWS * side)
    made = []
    for top in range(2 * HEADER, sheet.shape[0], HEADER + 2 * side):
        for left in range(0, sheet.shape[1], 3 * side):
            real, fake = (sheet[y : y + TILE, left : left + TILE] for y in (top, top + side))
            difference = np.abs(real - fake)
            assert difference.any() and (difference.max(2) > 0).mean() < 0.7
            made.append(fake.tobytes())
    assert len(set(made)) == 3 * DRAWS
    assert "pairs: 20 an epoch, of 20 real crops" in capsys.readouterr().out


def test_no_pair_to_show_is_told(tmp_path):
    table = make_pair_crops(tmp_path)
    table[table["video"] == "519"].to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(UserError, match="no real crop has a fake or can be blended"):
        preview(tmp_path, {**PAIRS, "augmentation": {}}, "--out", tmp_path / "sheet.png")


def test_networks_of_clips_and_other_names_are_refused(root):
    clips = {**CONFIG, "input": "clip", "network": "mc3_18"}
    del clips["encoder"]
    with pytest.raises(UserError, match="is of clips; this sheet is of single crops"):
        preview(root, clips, "--out", root / "sheet.png")
    with pytest.raises(SystemExit, match="2"):
        preview(root, CONFIG, "--out", root / "sheet.png", "--seed", "-1")
    with pytest.raises(UserError, match=r"must end in \.png"):
        preview(root, CONFIG, "--out", root / "sheet.jpg")
