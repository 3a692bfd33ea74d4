"""Still images are videos of one frame: in a data root, through its steps, and beside videos in a table to train on."""

import json

import cv2
import pytest

from common.errors import UserError
from preprocessing import (
    build_data_root,
    check,
    compress_videos,
    detect_original_faces,
    extract_clips,
    extract_images,
    generate_folds,
    pipeline,
)
from preprocessing.data_root import read_data_root
from tests.conftest import read_csv
from tests.test_preprocessing import read_errors

STILLS = {"s1": ".jpg", "s2": ".png", "s3": ".webp", "s4": ".JPEG"}


@pytest.fixture(scope="module")
def stills(processed, tmp_path_factory):
    """A folder of tight crops of faces: the whole picture is a face with a third of its size around it."""
    folder = tmp_path_factory.mktemp("stills")
    crops = sorted((processed / "crops" / "004").glob("*.png"))
    for number, (name, suffix) in enumerate(STILLS.items()):
        assert cv2.imwrite(str(folder / f"{name}{suffix}"), cv2.imread(str(crops[number % len(crops)])))
    return folder


@pytest.fixture(scope="module")
def root(videos, stills, tmp_path_factory):
    """The videos and the stills as one data root, after all steps."""
    root = tmp_path_factory.mktemp("mixed") / "root"
    assert build_data_root.main([str(root), "--root", str(videos), "--real", str(stills)]) == 0
    assert pipeline.main([str(root), "--workers", "2", "--with-unpaired"]) == 0
    return root


def test_stills_stand_beside_the_videos_of_a_data_root(root, videos):
    mixed, before = read_data_root(root), read_data_root(videos)
    assert mixed.videos.keys() == before.videos.keys() | STILLS.keys() and not mixed.problems
    assert {video.id for video in mixed.videos.values() if video.is_still} == set(STILLS)
    for name, video in before.videos.items():
        linked = mixed.videos[name]
        assert (linked.label, linked.original, linked.part) == (video.label, video.original, video.part)
        assert linked.path.is_symlink() and linked.path.samefile(video.path)


def test_nothing_is_written_beside_the_linked_videos(root, videos):
    assert sorted(path.name for path in videos.iterdir()) == [f"dfdc_train_part_{n}" for n in (0, 1, 3)]
    assert all(path.suffix == ".mp4" or path.name == "metadata.json" for path in videos.glob("*/*"))
    metadata = json.loads((videos / "dfdc_train_part_0" / "metadata.json").read_text())
    assert not STILLS.keys() & {name.partition(".")[0] for name in metadata}


def test_each_still_has_one_crop_with_landmarks_and_a_row(root, stills):
    rows = [row for row in read_csv(root / "folds.csv")[1:] if row[0] in STILLS]
    assert sorted(row[:5] for row in rows) == [[name, "0_0.png", "0", name, "0"] for name in STILLS]
    for name, suffix in STILLS.items():
        whole, crop = cv2.imread(str(stills / f"{name}{suffix}")), cv2.imread(str(root / "crops" / name / "0_0.png"))
        # The box with a third around it is the picture, or what is left of it at its borders.
        assert all(0.7 * a < b <= a for a, b in zip(whole.shape[:2], crop.shape[:2], strict=True))
        assert (root / "landmarks" / name / "0_0.npy").exists()
        assert list(json.loads((root / "boxes" / f"{name}.json").read_text())) == ["0"]
    assert not list(root.glob("logs/*.errors.csv"))


def test_stills_without_a_fake_are_no_rows_unless_asked_for(root, tmp_path):
    assert generate_folds.main(["--root-dir", str(root), "--out", str(tmp_path / "pairs.csv")]) == 0
    assert {row[0] for row in read_csv(tmp_path / "pairs.csv")[1:]} == {"004", "519", "gtyoqwmdre", "hplzkcxiun"}


def test_optional_stages_pass_over_stills_or_take_their_frame(root, capsys):
    assert extract_images.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert all((root / "jpegs" / f"{name}_0.jpg").exists() for name in STILLS)
    assert compress_videos.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert not [path for path in root.glob("compressed/*/*") if path.stem in STILLS]
    assert extract_clips.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert not STILLS.keys() & {row[0] for row in read_csv(root / "clips.csv")}
    assert check.main([str(root)]) == 0
    assert "problems      0" in capsys.readouterr().out


def test_still_that_is_none_is_named(root, tmp_path):
    folder = tmp_path / "root" / "dfdc_train_part_0"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"a.jpg": {"label": "REAL"}}')
    (folder / "a.jpg").write_bytes(b"no picture")
    detect_original_faces.main(["--root-dir", str(tmp_path / "root"), "--workers", "1"])
    assert read_errors(tmp_path / "root", "detect_original_faces") == {"a": "no frame of it can be decoded"}


def test_still_named_as_a_video_is_refused(videos, stills, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "004.jpg").write_bytes((stills / "s1.jpg").read_bytes())
    with pytest.raises(UserError, match=r"1 video names stand for more than one file, first 004"):
        build_data_root.main([str(tmp_path / "root"), "--root", str(videos), "--real", str(tmp_path / "more")])


def test_fakes_of_another_roots_videos_go_where_those_are(videos, tmp_path):
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "swap_gtyoqwmdre.mp4").symlink_to(videos / "dfdc_train_part_0" / "519.mp4")
    part = read_data_root(videos).videos["gtyoqwmdre"].part
    build_data_root.main([str(tmp_path / "root"), "--root", str(videos), "--fake", str(tmp_path / "fakes")])
    fake = read_data_root(tmp_path / "root").videos["swap_gtyoqwmdre"]
    assert (fake.original, fake.part) == ("gtyoqwmdre", part)
