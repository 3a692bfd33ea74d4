"""What is not one of the five steps: survey, contact sheets, own data, compression, pictures, encodings, hulls."""

import csv
import json
import shutil

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from faces.face_hull import dlib_is_there, face_points
from faces.video import VideoFile
from preprocessing import (
    build_data_root,
    check,
    compress_videos,
    contact_sheet,
    extract_images,
    face_encodings,
    generate_hulls,
    pipeline,
)
from preprocessing.data_root import read_data_root
from preprocessing.generate_folds import fold_of
from tests.test_preprocessing import read_errors
from tests.test_video import ffmpeg

needs_dlib = pytest.mark.skipif(not dlib_is_there(), reason="dlib and face_recognition_models are not installed")


def test_survey_tells_what_is_there_and_what_is_wrong(root, capsys):
    part = root / "dfdc_train_part_0"
    ffmpeg("-i", part / "519.mp4", "-vf", "scale=320:180", part / "small.mp4")
    (part / "small.mp4").replace(part / "519.mp4")
    ffmpeg("-i", root / "dfdc_train_part_1" / "fvkanshbie.mp4", "-vf", "lutyuv=y=val/4", part / "dark.mp4")
    entries = json.loads((part / "metadata.json").read_text())
    entries |= {"dark.mp4": {"label": "REAL"}, "ghost.mp4": {"label": "REAL"}, "junk.mp4": {"label": "REAL"}}
    (part / "junk.mp4").write_bytes(b"junk")
    (part / "metadata.json").write_text(json.dumps(entries))
    assert check.main([str(root)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith("  "))
    assert lines["parts"] == "3: dfdc_train_part_0, dfdc_train_part_1, dfdc_train_part_3"
    assert lines["videos"] == "7 usable: 5 real, 2 fake"
    assert lines["pairs"] == "2 real videos have fakes, 3 have none"
    assert "640x360: 5" in lines["resolutions"] and "320x180: 1" in lines["resolutions"]
    assert lines["durations"].startswith("0.9 to 0.9 s")
    assert lines["dark"].endswith(": dark")
    assert lines["sizes"].startswith("1 fakes") and lines["sizes"].endswith("519")
    assert lines["problems"] == "2"


def test_survey_names_each_problem(root, capsys):
    (root / "dfdc_train_part_0" / "004.mp4").write_bytes(b"junk")
    check.main([str(root)])
    assert "  dfdc_train_part_0/004.mp4: is not a readable video" in capsys.readouterr().out


def test_contact_sheets_show_crops_landmarks_and_differences(root, tmp_path, capsys):
    assert pipeline.main([str(root)]) == 0
    out = tmp_path / "sheets"
    assert contact_sheet.main(["--root-dir", str(root), "--out", str(out)]) == 0
    assert sorted(path.stem for path in out.iterdir()) == ["004", "519", "gtyoqwmdre", "hplzkcxiun"]
    real, fake = cv2.imread(str(out / "004.png")), cv2.imread(str(out / "519.png"))
    tile, title = contact_sheet.TILE, 2 * contact_sheet.CAPTION
    assert real.shape == (title + tile, 3 * tile, 3) and fake.shape == (title + 3 * tile, 3 * tile, 3)
    yellow = (real[title:] == contact_sheet.LANDMARK_COLOURS[0]).all(axis=2)
    assert yellow.any()
    assert fake[title + 2 * tile :].max() > 100
    with pytest.raises(UserError, match=r"no such video .*: nobody"):
        contact_sheet.main(["--root-dir", str(root), "nobody"])
    # Files that are no crops, pictures and points that cannot be read.
    for name in ("._0_0.png", "copy_of.png"):
        (root / "crops" / "004" / name).write_bytes(b"junk")
    (root / "crops" / "004" / "10_0.png").write_bytes(b"junk")
    for name, content in (("20_0", b"junk"), ("0_0", b"PK\x03\x04"), ("10_0", b"\x93NUMPY\x01\x00\x04\x00{'a'")):
        (root / "landmarks" / "004" / f"{name}.npy").write_bytes(content)
    assert contact_sheet.main(["--root-dir", str(root), "--out", str(out), "004"]) == 0
    assert cv2.imread(str(out / "004.png")).shape == real.shape
    (out / "004.png").unlink()
    (out / "004.png").mkdir()
    with pytest.raises(OSError, match=r"004\.png"):
        contact_sheet.main(["--root-dir", str(root), "--out", str(out), "004"])


def own_videos(videos, folder):
    """Two real videos and three fakes in folders of one's own."""
    real, fake = folder / "real", folder / "fake" / "deep"
    real.mkdir(parents=True)
    fake.mkdir(parents=True)
    part = videos / "dfdc_train_part_0"
    shutil.copy(part / "004.mp4", real / "anna.mp4")
    shutil.copy(videos / "dfdc_train_part_3" / "gtyoqwmdre.mp4", real / "anna-2.mov")
    for name in ("anna_swap.mp4", "fs_anna-2.mp4", "anna-2_bob.mp4"):
        shutil.copy(part / "519.mp4", fake / name)
    return real, folder / "fake"


def test_folders_become_a_data_root_of_links(videos, tmp_path):
    real, fake = own_videos(videos, tmp_path)
    arguments = [str(tmp_path / "root"), "--real", str(real), "--fake", str(fake)]
    assert build_data_root.main(arguments) == 0
    root = read_data_root(tmp_path / "root")
    assert not root.problems
    assert {video.id: video.original for video in root.videos.values()} == {
        "anna": None,
        "anna-2": None,
        "anna_swap": "anna",
        "fs_anna-2": "anna-2",
        "anna-2_bob": "anna-2",
    }
    assert all(video.path.is_symlink() and video.path.exists() for video in root.videos.values())
    folds = {video.id: fold_of(root.videos[video.source]) for video in root.videos.values()}
    assert folds["anna"] == folds["anna_swap"] != folds["anna-2"] == folds["fs_anna-2"] == folds["anna-2_bob"]
    assert 0 in folds.values()
    assert build_data_root.main(arguments) == 0  # again: the same links are there


def test_table_becomes_a_data_root(videos, tmp_path):
    own_videos(videos, tmp_path)
    rows = [("video", "label", "original"), ("real/anna.mp4", "REAL", ""), ("fake/deep/fs_anna-2.mp4", "1", "anna.mp4")]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert build_data_root.main([str(tmp_path / "root"), "--csv", str(tmp_path / "t.csv")]) == 0
    root = read_data_root(tmp_path / "root")
    assert root.videos["fs_anna-2"].original == "anna" and not root.problems


def test_parts_of_other_videos_are_not_taken_along(videos, tmp_path):
    out = tmp_path / "root"
    assert build_data_root.main([str(out), "--root", str(videos)]) == 0
    one = shutil.copytree(videos, tmp_path / "one", ignore=shutil.ignore_patterns("dfdc_train_part_1"))
    with pytest.raises(UserError, match="dfdc_train_part_1: is of other videos than these; remove it"):
        build_data_root.main([str(out), "--root", str(one)])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("name,label\na,b\n", "needs the columns video,label"),
        ("video,label\nreal/anna.mp4,maybe\n", "line 2: label 'maybe'"),
        ("video,label\nnothing.mp4,real\n", "line 2: no such file"),
        ("video,label\nreal/anna.mp4,fake\n", "line 2: a fake needs its original"),
        ("video,label,original\nreal/anna.mp4,fake,bob\n", "whose original is not among the real videos"),
        ("video,label\nreal/anna.mp4,real\nreal/anna.mp4,real\n", "stand for more than one file"),
    ],
)
def test_bad_tables_are_refused_with_the_line(videos, tmp_path, rows, reason):
    own_videos(videos, tmp_path)
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(UserError, match=reason):
        build_data_root.main([str(tmp_path / "root"), "--csv", str(tmp_path / "t.csv")])
    assert not (tmp_path / "root").exists()


def test_of_several_originals_in_a_fakes_name_the_first_counts(videos, tmp_path, capsys):
    for path in ("real/183.mp4", "real/253.mp4", "real/253_b.mp4", "fake/df_183_253.mp4", "fake/x-253_b.mp4"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(videos / "dfdc_train_part_0" / "004.mp4", tmp_path / path)
    for hidden in ("real/._183.mp4", "fake/.trash/253.mp4"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    argv = ["--real", str(tmp_path / "real"), "--fake", str(tmp_path / "fake")]
    assert build_data_root.main([str(tmp_path / "root"), *argv]) == 0
    assert "df_183_253.mp4 is taken for a fake of 183, not of 253;" in capsys.readouterr().out
    root = read_data_root(tmp_path / "root")
    assert {video.id: video.original for video in root.fakes} == {"df_183_253": "183", "x-253_b": "253_b"}
    assert len(root.reals) == 3
    with pytest.raises(UserError, match="whose videos it is to link; choose a folder elsewhere"):
        build_data_root.main([str(tmp_path / "real" / "root"), *argv])


def test_fakes_without_a_real_video_in_their_name_are_refused(videos, tmp_path):
    real, fake = own_videos(videos, tmp_path)
    shutil.copy(next(fake.rglob("*.mp4")), fake / "stranger.mp4")
    with pytest.raises(UserError, match=r"first stranger\.mp4; name originals in a --csv"):
        build_data_root.main([str(tmp_path / "root"), "--real", str(real), "--fake", str(fake)])


def test_compressed_videos_keep_frames_size_and_sound(root, capsys):
    part = root / "dfdc_train_part_0"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.9"]
    ffmpeg("-i", part / "004.mp4", *tone, "-c:v", "copy", "-c:a", "aac", part / "loud.mp4")
    (part / "loud.mp4").replace(part / "004.mp4")
    assert compress_videos.main(["--root-dir", str(root)]) == 0
    out = capsys.readouterr().out
    assert "5 done, 0 skipped, 0 failed" in out
    made = {path.relative_to(root / "compressed"): path.read_bytes() for path in (root / "compressed").rglob("*.mp4")}
    assert len(made) == 5
    with VideoFile(root / "compressed" / "dfdc_train_part_0" / "004.mp4") as file:
        assert file.frame_count == 27
    assert b"mp4a" in made[next(path for path in made if path.name == "004.mp4")]
    shutil.rmtree(root / "compressed")
    compress_videos.main(["--root-dir", str(root), "--workers", "1"])
    assert all((root / "compressed" / path).read_bytes() == content for path, content in made.items())


def test_quality_is_drawn_from_the_seed_and_the_name(root):
    videos = list(read_data_root(root).videos.values())
    drawn = {seed: [compress_videos.quality_of(video, seed) for video in videos] for seed in range(40)}
    assert {quality for qualities in drawn.values() for quality in qualities} == {23, 28, 32}
    assert drawn[0] == [compress_videos.quality_of(video, 0) for video in reversed(videos)][::-1]


def test_odd_names_reach_ffmpeg_unharmed(root):
    part = root / "dfdc_train_part_0"
    name = "-i; touch 'x' %d $(touch y).mp4"
    shutil.copy(part / "004.mp4", part / name)
    (part / "metadata.json").write_text(json.dumps({name: {"label": "REAL"}}))
    compress_videos.main(["--root-dir", str(root)])
    assert (root / "compressed" / "dfdc_train_part_0" / name).exists()


def test_odd_sides_become_even(root):
    path = root / "dfdc_train_part_0" / "519.mp4"
    ffmpeg("-i", path, "-vf", "scale=321:179", "-c:v", "libx264", "-pix_fmt", "yuv444p", path.with_name("odd.mp4"))
    path.with_name("odd.mp4").replace(path)
    assert compress_videos.main(["--root-dir", str(root)]) == 0
    with av.open(root / "compressed" / "dfdc_train_part_0" / "519.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (322, 180)


def test_broken_video_is_no_compressed_video(root):
    (root / "dfdc_train_part_0" / "004.mp4").write_bytes(b"junk")
    compress_videos.main(["--root-dir", str(root)])
    assert read_errors(root, "compress_videos")["004"].startswith("ffmpeg failed: ")
    assert not (root / "compressed" / "dfdc_train_part_0" / "004.mp4").exists()


def test_playlist_that_is_called_a_video_is_not_followed(root):
    part = root / "dfdc_train_part_0"
    ffmpeg("-i", part / "519.mp4", "-c", "copy", "-f", "mpegts", root / "private.ts")
    lists = {
        "004.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{root / 'private.ts'}\n#EXT-X-ENDLIST\n",
        "519.mp4": f"ffconcat version 1.0\nfile {root / 'private.ts'}\n",
    }
    for name, content in lists.items():
        (part / name).write_text(content)
    compress_videos.main(["--root-dir", str(root)])
    errors = read_errors(root, "compress_videos")
    assert errors["004"].startswith("ffmpeg failed: ") and errors["519"].startswith("ffmpeg failed: ")
    assert not [path for path in (root / "compressed").rglob("*") if path.name in lists]


def test_every_frame_becomes_a_picture(root, capsys):
    assert extract_images.main(["--root-dir", str(root), "--limit", "1"]) == 0
    pictures = sorted(path.name for path in (root / "jpegs").glob("*.jpg"))
    assert len(pictures) == 54 and "004_0.jpg" in pictures and "519_26.jpg" in pictures
    with VideoFile(root / "dfdc_train_part_0" / "004.mp4") as file:
        ((_, frame),) = file.frames([7])
    picture = cv2.imread(str(root / "jpegs" / "004_7.jpg"))
    assert np.abs(picture.astype(int) - frame).mean() < 2
    extract_images.main(["--root-dir", str(root), "--limit", "1"])
    assert "0 done, 2 skipped" in capsys.readouterr().out
    (root / "jpegs" / "004_27.jpg").touch()  # of a longer video that had this name
    (root / "jpegs" / "004_27_0.jpg").touch()  # of another video
    extract_images.main(["--root-dir", str(root), "--limit", "1", "--overwrite"])
    assert not (root / "jpegs" / "004_27.jpg").exists() and (root / "jpegs" / "004_27_0.jpg").exists()
    assert len(list((root / "jpegs").glob("*_*.jpg"))) == 55


def test_faces_are_encoded_the_same_each_time(root):
    pytest.importorskip("face_recognition", reason="face_recognition is not installed", exc_type=ImportError)
    assert pipeline.main([str(root)]) == 0
    arguments = ["--root-dir", str(root), "--workers", "1"]
    assert face_encodings.main(arguments) == 0
    encodings = np.load(root / "crops" / "004" / "encodings.npy")
    assert encodings.shape == (3, 128) and encodings.dtype == np.float64
    assert np.linalg.norm(encodings[0] - encodings[1]) < 0.6  # the recogniser's own bound for one person
    assert np.load(root / "crops" / "fvkanshbie" / "encodings.npy").shape == (0, 128)
    assert face_encodings.main([*arguments, "--overwrite"]) == 0
    assert np.array_equal(np.load(root / "crops" / "004" / "encodings.npy"), encodings)


def test_missing_recogniser_is_one_line_that_says_what_to_install(root, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "face_recognition", None)
    with pytest.raises(UserError, match=r"face_recognition is not installed .*pip install --no-deps"):
        face_encodings.main(["--root-dir", str(root)])


@needs_dlib
def test_points_of_the_faces_in_real_crops_are_found_once(root, capsys):
    assert pipeline.main([str(root)]) == 0
    crops, hulls = root / "crops", root / "hulls"
    cv2.imwrite(str(crops / "004" / "10_0.png"), np.full((120, 100, 3), 90, np.uint8))
    capsys.readouterr()
    assert generate_hulls.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert sorted(path.name for path in hulls.iterdir()) == ["004", "fvkanshbie", "gtyoqwmdre"]  # the real videos
    counted = capsys.readouterr().out.splitlines()[-1]
    found = list(hulls.glob("*/*.npy"))
    assert counted.startswith(f"generate_hulls: 3 done, 0 skipped, 0 failed, {len(found)} hulls")
    assert "crops without a face" in counted and not (hulls / "004" / "10_0.npy").exists()
    points = np.load(hulls / "004" / "0_0.npy")
    crop = cv2.cvtColor(cv2.imread(str(crops / "004" / "0_0.png")), cv2.COLOR_BGR2RGB)
    assert points.dtype == np.int16 and np.array_equal(points, face_points(crop))
    # The eyes are above the mouth, and in the crop.
    assert points[36:48, 1].max() < points[48:, 1].min() and (points[36:] >= 0).all()
    assert (points[36:].max(0) < crop.shape[1::-1]).all()
    # Neither what was found nor what was not is looked for again.
    assert generate_hulls.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert "generate_hulls: 0 done, 3 skipped" in capsys.readouterr().out


@needs_dlib
def test_an_unreadable_crop_leaves_no_half_of_the_points(root):
    assert pipeline.main([str(root)]) == 0
    (root / "crops" / "004" / "20_0.png").write_bytes(b"junk")
    assert generate_hulls.main(["--root-dir", str(root), "--workers", "1"]) == 0
    assert "20_0.png is not a readable image" in read_errors(root, "generate_hulls")["004"]
    assert not (root / "hulls" / "004").exists() and (root / "hulls" / "gtyoqwmdre").is_dir()


def test_missing_dlib_is_one_line_that_says_what_to_install(root, monkeypatch):
    monkeypatch.setattr(generate_hulls, "dlib_is_there", lambda: False)
    with pytest.raises(UserError, match=r"dlib or face_recognition_models is not installed: pip install --no-deps"):
        generate_hulls.main(["--root-dir", str(root)])
