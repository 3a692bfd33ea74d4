"""The sheet of augmented crops."""

import cv2
import pytest

from common.errors import UserError
from tests.generated_crops import make_crops
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


def test_networks_of_clips_and_other_names_are_refused(root):
    with pytest.raises(UserError, match="is of clips; this sheet is of single crops"):
        preview(root, {**CONFIG, "input": "clip", "network": "mc3_18"}, "--out", root / "sheet.png")
    with pytest.raises(UserError, match=r"must end in \.png"):
        preview(root, CONFIG, "--out", root / "sheet.jpg")
