"""The runner of the stages: which videos, files that go, other settings, and two runs on one root."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import held
from preprocessing import detect_original_faces, extract_crops, generate_landmarks, pipeline
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


def run(stage, root, *options):
    return stage.main(["--root-dir", str(root), "--workers", "1", *options])


def test_limit_means_the_same_pairs_in_every_step(root):
    # The first real video alone has crops of its own and of its fake; nothing fails for want of an earlier artifact.
    assert pipeline.main([str(root), "--limit", "1", "--strict", "--workers", "1", "--allow-empty"]) == 0
    assert {path.name for path in (root / "crops").iterdir()} == {"004", "519"}
    assert {path.name for path in (root / "diffs").iterdir()} == {"519"}


@pytest.fixture
def halved(root):
    """A root whose boxes were found at half size, but whose last real video cannot be read any more."""
    assert run(detect_original_faces, root, "--detector-scale", "0.5") == 0
    next(root.glob("*/gtyoqwmdre.mp4")).write_bytes(b"")
    return root


def test_artifacts_of_other_settings_are_gone_before_new_ones_are_made(halved):
    assert run(detect_original_faces, halved, "--overwrite") == 0
    assert {path.stem for path in (halved / "boxes").iterdir()} == {"004", "fvkanshbie"}
    assert run(detect_original_faces, halved) == 0  # the settings of what is there


def test_interrupted_removal_leaves_no_folder_that_counts_as_done(root, monkeypatch):
    assert run(detect_original_faces, root) == 0 and run(extract_crops, root) == 0
    before = {path.name: sorted(p.name for p in path.iterdir()) for path in (root / "crops").iterdir()}
    assert run(detect_original_faces, root, "--detector-scale", "0.5", "--overwrite") == 0

    def interrupted(folder, **_):
        for first in Path(folder).glob("*"):
            first.unlink()
            raise KeyboardInterrupt
        if Path(folder).exists():  # that of the video without a face, if it comes first
            Path(folder).rmdir()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", interrupted)
        run(extract_crops, root)
    whole = {path.name for path in (root / "crops").iterdir() if not path.name.startswith(".")}
    assert len(before) - len(whole) in (1, 2)
    assert all(sorted(p.name for p in (root / "crops" / name).iterdir()) == before[name] for name in whole)
    assert run(extract_crops, root) == 0
    assert {path.name for path in (root / "crops").iterdir()} == before.keys()


def test_interrupted_overwriting_says_how_it_goes_on(root, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    boxes = root / "boxes"
    assert run(detect_original_faces, root) == 0
    before = {path.name: path.read_bytes() for path in boxes.iterdir()}
    for path in boxes.iterdir():
        path.write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.runner._progress", interrupted)
        with pytest.raises(KeyboardInterrupt, match="the same command without --overwrite goes on from there"):
            run(detect_original_faces, root, "--overwrite", "--limit", "1")
        assert not (boxes / "004.json").exists() and len(list(boxes.iterdir())) == 2
        with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
            run(detect_original_faces, root)
        with pytest.raises(KeyboardInterrupt, match="the same command without --overwrite goes on from there"):
            pipeline.main([str(root), "--overwrite", "--workers", "1", "--allow-empty"])
        with pytest.raises(KeyboardInterrupt, match="detect_original_faces goes on without --overwrite, by its own"):
            pipeline.main([str(root), "--overwrite", "--limit", "1", "--workers", "1", "--allow-empty"])
    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.settings._remove", interrupted)
        with pytest.raises(KeyboardInterrupt, match="not all removed; the same command goes on"):
            run(detect_original_faces, root, "--overwrite")
    assert run(detect_original_faces, root) == 0
    assert {path.name: path.read_bytes() for path in boxes.iterdir()} == before


def test_each_folder_of_crops_has_settings_of_its_own(root):
    assert run(detect_original_faces, root) == 0 and run(extract_crops, root) == 0
    assert run(detect_original_faces, root, "--detector-scale", "0.5", "--overwrite") == 0
    assert run(extract_crops, root, "--crops-dir", "crops2") == 0
    with pytest.raises(UserError, match="what detect_original_faces had made before: all has to be done again"):
        run(extract_crops, root, "--part", "1/2")


@pytest.mark.parametrize("share", [("--limit", "1"), ("--part", "1/2")])
def test_part_of_the_work_does_not_change_the_settings_of_all(halved, share):
    with pytest.raises(UserError, match="other settings: all has to be done again, not --limit or --part alone"):
        run(detect_original_faces, halved, "--overwrite", *share)
    assert len(list((halved / "boxes").iterdir())) == 3
    assert run(detect_original_faces, halved, "--detector-scale", "0.5") == 0


def test_settings_without_artifacts_bind_nobody(halved):
    for path in (halved / "boxes").iterdir():
        path.unlink()
    assert run(detect_original_faces, halved, "--part", "1/1") == 0
    assert list((halved / "boxes").iterdir())


def test_what_was_made_from_artifacts_of_other_settings_is_made_again(root, capsys):
    for stage in (detect_original_faces, extract_crops, generate_landmarks):
        assert run(stage, root) == 0
    assert run(detect_original_faces, root, "--detector-scale", "0.5", "--overwrite") == 0
    with pytest.raises(UserError, match="what detect_original_faces had made before: all has to be done again"):
        run(extract_crops, root, "--part", "1/2")
    for stage, after in ((extract_crops, "detect_original_faces"), (generate_landmarks, "extract_crops")):
        name = stage.__name__.rpartition(".")[2]
        capsys.readouterr()
        assert run(stage, root) == 0
        out, err = capsys.readouterr()
        assert f"{name}: all is done again, since {after} has made other artifacts" in err and "0 skipped" in out
        assert run(stage, root) == 0 and "0 done" in capsys.readouterr().out


def test_what_was_made_of_artifacts_that_were_made_anew_is_made_again(root, monkeypatch, capsys):
    assert run(detect_original_faces, root) == 0 and run(extract_crops, root) == 0
    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.runner._progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(detect_original_faces, root, "--overwrite")
    assert run(detect_original_faces, root) == 0
    for word in ("5 done, 0 skipped", "0 done, 5 skipped"):
        capsys.readouterr()
        assert run(extract_crops, root) == 0 and word in capsys.readouterr().out
    assert run(detect_original_faces, root, "--overwrite", "--limit", "1") == 0
    assert run(extract_crops, root) == 0 and "0 done, 5 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(("at_work", "refused"), [("", "1/2"), (".2of2", "1/1"), (".2of3", "1/2"), (".1of2", "1/2")])
def test_runs_that_share_videos_are_not_at_work_together(root, at_work, refused):
    (root / "logs").mkdir()
    with (
        held(root / "logs" / f"detect_original_faces{at_work}.lock", "is there"),
        pytest.raises(UserError, match="another detect_original_faces is at work on it; wait for it"),
    ):
        run(detect_original_faces, root, "--part", refused)
    assert run(detect_original_faces, root, "--part", refused) == 0


def test_shares_of_one_cut_are_at_work_together(root):
    (root / "logs").mkdir()
    (root / "logs" / "detect_original_faces.lock").touch()  # of a run that was killed
    with held(root / "logs" / "detect_original_faces.2of2.lock", "is there"):
        assert run(detect_original_faces, root, "--part", "1/2") == 0
