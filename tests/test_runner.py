"""What the runner of the stages does about files that go while it is at work."""

from functools import partial

import pytest

from preprocessing import extract_crops
from preprocessing.data_root import read_data_root
from preprocessing.generate_landmarks import crops_of
from preprocessing.network_options import Decoding
from preprocessing.runner import Stage, StageError, run_stage
from tests.test_preprocessing import read_errors


def test_video_that_went_after_the_root_was_read_is_named_and_the_rest_is_done(root, capsys):
    data = read_data_root(root, "crops")
    boxes, crops = root / "boxes", root / "crops"
    boxes.mkdir()
    for video in data.reals:
        (boxes / f"{video.id}.json").write_text("{}")
    originals = {video.id: video.path for video in data.reals}
    stage = Stage(
        name="extract_crops",
        items=list(data.videos.values()),
        make_work=partial(extract_crops.make_work, originals, boxes, crops, Decoding()),
        artifact_of=lambda video: crops / video.id,
    )
    data.videos["519"].path.unlink()
    options = extract_crops.make_parser().parse_args(["--root-dir", str(root), "--workers", "1"])
    assert run_stage(stage, data, options) == 0
    assert "4 done, 0 skipped, 1 failed" in capsys.readouterr().out
    assert read_errors(root, "extract_crops") == {"519": "cannot be opened: No such file or directory"}


def test_folder_of_crops_that_is_gone_is_no_folder_without_crops(tmp_path):
    (tmp_path / "004").mkdir()
    assert crops_of(tmp_path / "004") == []
    for name in ("0_1.png", "0_0.png", "encodings.npy", ".0_0.png.tmp"):
        (tmp_path / "004" / name).touch()
    assert [path.name for path in crops_of(tmp_path / "004")] == ["0_0.png", "0_1.png"]
    with pytest.raises(StageError, match="no crops of 519; run extract_crops"):
        crops_of(tmp_path / "519")
