"""The five steps on generated and real videos: artifacts, resuming, options, what is said about bad data."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from faces.video import VideoFile
from preprocessing import (
    detect_original_faces,
    extract_crops,
    generate_diffs,
    generate_landmarks,
    pipeline,
)

STEPS = (detect_original_faces, extract_crops, generate_landmarks, generate_diffs)


def artifacts(root: Path) -> dict[str, bytes]:
    """Every file the steps made, logs left out."""
    made = ("boxes", "crops", "landmarks", "diffs", "folds.csv")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] in made
    }


def read_errors(root, stage):
    with (root / "logs" / f"{stage}.errors.csv").open(newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def test_boxes_are_in_full_pixels_largest_first_and_null_without_a_face(processed):
    boxes = json.loads((processed / "boxes" / "gtyoqwmdre.json").read_text())
    assert list(boxes) == ["0", "10", "20"]
    for found in boxes.values():
        assert len(found) == 2
        areas = [(xmax - xmin) * (ymax - ymin) for xmin, ymin, xmax, ymax in found]
        assert areas == sorted(areas, reverse=True)
        assert all(0 <= xmin < xmax <= 640 for xmin, _, xmax, _ in found)
    assert json.loads((processed / "boxes" / "fvkanshbie.json").read_text()) == {"0": None, "10": None, "20": None}
    assert sorted(path.stem for path in (processed / "boxes").iterdir()) == ["004", "fvkanshbie", "gtyoqwmdre"]


def test_crops_of_a_fake_are_where_its_originals_are(processed):
    for fake, original in (("519", "004"), ("hplzkcxiun", "gtyoqwmdre")):
        sizes = [
            sorted((path.name, cv2.imread(str(path)).shape) for path in (processed / "crops" / video).iterdir())
            for video in (fake, original)
        ]
        assert sizes[0] == sizes[1] and sizes[0]
    assert {path.name for path in (processed / "crops" / "hplzkcxiun").iterdir()} == {
        f"{frame}_{actor}.png" for frame in (0, 10, 20) for actor in (0, 1)
    }
    assert list((processed / "crops" / "fvkanshbie").iterdir()) == []


def test_landmarks_are_five_points_on_each_real_crop(processed):
    files = sorted((processed / "landmarks").rglob("*.npy"))
    assert {path.parent.name for path in files} == {"004", "gtyoqwmdre"}
    for path in files:
        points = np.load(path)
        height, width = cv2.imread(str(processed / "crops" / path.parent.name / f"{path.stem}.png")).shape[:2]
        assert points.shape == (5, 2) and points.dtype == np.int16
        assert (points > 0).all() and (points < [width, height]).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
        assert left_eye[1] < nose[1] < left_mouth[1]


def test_diffs_are_bright_on_the_faked_face(processed):
    diffs = sorted((processed / "diffs" / "519").iterdir())
    assert [path.name for path in diffs] == ["0_0_diff.png", "10_0_diff.png", "20_0_diff.png"]
    for path in diffs:
        diff = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        height, width = diff.shape
        middle = diff[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
        assert middle.mean() > 2 * diff[: height // 10].mean()


def test_folds_hold_pairs_together(processed):
    with (processed / "folds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "file", "label", "original", "frame", "fold"]
    seen = {(row["video"], row["label"], row["original"], row["fold"]) for row in rows}
    assert seen == {
        ("004", "0", "004", "0"),
        ("519", "1", "004", "0"),
        ("gtyoqwmdre", "0", "gtyoqwmdre", "1"),
        ("hplzkcxiun", "1", "gtyoqwmdre", "1"),
    }
    assert len(rows) == 2 * (3 + 6)
    assert {row["file"] for row in rows if row["video"] == "004"} == {"0_0.png", "10_0.png", "20_0.png"}


def test_second_run_does_nothing_again(processed, capsys):
    before = {path: path.stat().st_mtime_ns for path in processed.rglob("*.*") if path.parent.name in ("boxes", "004")}
    assert pipeline.main([str(processed)]) == 0
    out = capsys.readouterr().out
    assert "detect_original_faces: 0 done, 3 skipped, 0 failed" in out
    assert "extract_crops: 0 done, 5 skipped, 0 failed" in out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_shares_one_after_another_make_the_same_as_one_run(root, processed, capsys):
    for part in ("2/3", "1/3", "3/3"):
        assert pipeline.main([str(root), "--workers", "1", "--part", part]) == 0
    assert "0 failed" in capsys.readouterr().out and not (root / "folds.csv").exists()
    assert pipeline.main([str(root), "--workers", "3"]) == 0
    assert "extract_crops: 0 done, 5 skipped" in capsys.readouterr().out
    assert artifacts(root) == artifacts(processed)


def test_fakes_are_in_the_share_of_their_original(processed):
    from preprocessing.data_root import read_data_root
    from preprocessing.runner import share_of

    root = read_data_root(processed)
    for count in (2, 5, 16):
        shares = {video.id: share_of(video.source, count) for video in root.videos.values()}
        assert all(shares[fake.id] == shares[fake.original] for fake in root.fakes)
        assert all(1 <= share <= count for share in shares.values())


def test_second_run_of_a_step_on_one_root_is_refused(root):
    from filelock import FileLock

    (root / "logs").mkdir()
    with (
        FileLock(root / "logs" / "detect_original_faces.lock"),
        pytest.raises(UserError, match="another detect_original"),
    ):
        pipeline.main([str(root)])
    assert not (root / "boxes").exists()
    assert detect_original_faces.main(["--root-dir", str(root)]) == 0
    assert not list((root / "logs").glob("*.lock"))


# Artifacts that are files, and folders; `make faults` does it to all steps.
@pytest.mark.parametrize("step", (STEPS[0], STEPS[3]), ids=lambda step: step.__name__.rpartition(".")[2])
def test_killed_steps_are_finished_by_the_same_command(root, processed, repository, step):
    """A real kill -9 of the whole process group, as soon as an artifact or the beginning of one is there."""
    done_before = STEPS[: STEPS.index(step)]
    folders = dict(zip(STEPS, ("boxes", "crops", "landmarks", "diffs"), strict=True))
    for earlier in done_before:
        shutil.copytree(processed / folders[earlier], root / folders[earlier])
    argv = [sys.executable, "-m", step.__name__, "--root-dir", str(root), "--workers", "2"]
    process = subprocess.Popen(argv, cwd=repository, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any((root / folders[step]).glob("*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Leftovers of the worst moments: a half written file and a half filled folder under their temporary names.
    (root / folders[step]).mkdir(exist_ok=True)
    subprocess.run(argv, cwd=repository, check=True, capture_output=True)
    made = {name: content for name, content in artifacts(root).items() if name.startswith(folders[step])}
    expected = {name: content for name, content in artifacts(processed).items() if name.startswith(folders[step])}
    assert made == expected


@pytest.mark.parametrize(("number", "what"), [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGINT, "interrupted")])
def test_interrupted_steps_say_that_the_same_command_goes_on(root, repository, number, what):
    argv = [sys.executable, "-m", "preprocessing.pipeline", str(root), "--workers", "1"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(argv, cwd=repository, start_new_session=True, **pipes)
    while process.poll() is None and not any((root / "boxes").glob("*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert err.splitlines()[-1] == f"{what}: what is done is kept, the same command goes on from there"
    assert not list((root / "boxes").glob("*tmp*"))


def test_broken_videos_are_named_and_the_rest_is_done(root, capsys):
    (root / "dfdc_train_part_0" / "004.mp4").write_bytes(b"")
    assert detect_original_faces.main(["--root-dir", str(root)]) == 0
    assert "2 done, 0 skipped, 1 failed" in capsys.readouterr().out
    assert read_errors(root, "detect_original_faces") == {"004": "is empty (0 bytes)"}
    assert extract_crops.main(["--root-dir", str(root)]) == 0
    errors = read_errors(root, "extract_crops")
    assert set(errors) == {"004", "519"} and errors["519"].startswith("no boxes of 004; run detect_original_faces")
    assert detect_original_faces.main(["--root-dir", str(root), "--strict"]) == 1


def test_failed_video_leaves_no_folder(root):
    detect_original_faces.main(["--root-dir", str(root)])
    path = root / "dfdc_train_part_0" / "519.mp4"
    content = bytearray(path.read_bytes())
    media = content.index(b"mdat")
    content[media + 8 : media + 60_000] = bytes(60_000 - 8)
    path.write_bytes(content)
    extract_crops.main(["--root-dir", str(root)])
    assert sorted(folder.name for folder in (root / "crops").iterdir()) == [
        "004",
        "fvkanshbie",
        "gtyoqwmdre",
        "hplzkcxiun",
    ]


def test_nothing_possible_is_a_failure(root):
    for path in root.rglob("*.mp4"):
        path.write_bytes(b"not a video")
    assert detect_original_faces.main(["--root-dir", str(root)]) == 1


def test_problems_are_told_by_one_share_and_an_empty_share_is_no_failure(root, capsys):
    metadata = root / "dfdc_train_part_0" / "metadata.json"
    entries = json.loads(metadata.read_text())
    ghosts = {f"ghost{number}.mp4": {"label": "REAL"} for number in range(9)}
    # No text at all, and what would end a line of the file of errors.
    odd = {"\ud800.mp4": {"label": "REAL"}, "carriage\rreturn.mp4": {"label": "REAL"}}
    metadata.write_text(json.dumps(entries | ghosts | odd))
    for part in range(1, 6):
        assert detect_original_faces.main(["--root-dir", str(root), "--part", f"{part}/5"]) == 0
    counts = [re.findall(r"\d+", line)[:3] for line in capsys.readouterr().out.splitlines() if " done, " in line]
    assert len(counts) == 5 and ["0", "0"] in [line[:2] for line in counts if line[2] != "0"]
    assert [sum(int(line[column]) for line in counts) for column in range(3)] == [3, 0, 11]
    told = [row for path in root.glob("logs/*.errors.csv") for row in csv.reader(path.open(newline=""))]
    told = [row for row in told if row != ["item", "reason"]]
    assert len(told) == 11 and all(len(row) == 2 for row in told)


def test_problems_of_the_data_are_counted_by_the_first_steps(root, capsys):
    metadata = root / "dfdc_train_part_0" / "metadata.json"
    entries = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**entries, "ghost.mp4": {"label": "REAL"}}))
    assert detect_original_faces.main(["--root-dir", str(root)]) == 0
    assert "3 done, 0 skipped, 1 failed" in capsys.readouterr().out
    assert read_errors(root, "detect_original_faces") == {"dfdc_train_part_0/ghost.mp4": "the file is missing"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"0": [[1, 2]]}', '{"x": [[1, 2, 3, 4]]}', '{"0": "abc"}', '{"-10": [[1,2,3,4]]}']
)
def test_damaged_boxes_are_named(root, content, capsys):
    assert detect_original_faces.main(["--root-dir", str(root)]) == 0
    (root / "boxes" / "004.json").write_text(content)
    assert extract_crops.main(["--root-dir", str(root)]) == 0
    assert "is not a file of boxes" in read_errors(root, "extract_crops")["004"]


def test_fake_of_another_size_gets_scaled_boxes_and_says_so_once(root, capsys):
    from tests.test_video import ffmpeg

    path = root / "dfdc_train_part_0" / "519.mp4"
    ffmpeg("-i", path, "-vf", "scale=320:180", path.with_name("small.mp4"))
    path.with_name("small.mp4").replace(path)
    detect_original_faces.main(["--root-dir", str(root)])
    extract_crops.main(["--root-dir", str(root)])
    assert capsys.readouterr().err.count("519: 320x180, its original 640x360: boxes are scaled") == 1
    assert (root / "logs" / "extract_crops.notes.csv").read_text().splitlines()[0] == "item,note"
    small, large = (cv2.imread(str(root / "crops" / video / "0_0.png")).shape for video in ("519", "004"))
    assert abs(small[0] - large[0] / 2) <= 2 and abs(small[1] - large[1] / 2) <= 2
    generate_diffs.main(["--root-dir", str(root)])
    assert "3 crops of unequal shape" in capsys.readouterr().out


def test_boxes_are_scaled_by_the_first_frame_of_the_original_that_can_be_decoded(root):
    from tests.test_video import ffmpeg

    part = root / "dfdc_train_part_0"
    ffmpeg("-i", part / "519.mp4", "-vf", "scale=320:180", part / "small.mp4")
    (part / "small.mp4").replace(part / "519.mp4")
    detect_original_faces.main(["--root-dir", str(root)])
    ffmpeg("-i", part / "004.mp4", "-g", 5, "-bf", 0, part / "keys.mp4")
    content = bytearray((part / "keys.mp4").read_bytes())
    with av.open(part / "keys.mp4") as container:
        for packet in islice(container.demux(video=0), 5):
            content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    (part / "keys.mp4").unlink()
    (part / "004.mp4").write_bytes(content)
    with VideoFile(part / "004.mp4") as video:
        assert not list(video.frames([0])) and list(video.frames([10]))
    extract_crops.main(["--root-dir", str(root)])
    assert (
        '519,"320x180, its original 640x360: boxes are scaled"'
        in (root / "logs" / "extract_crops.notes.csv").read_text()
    )


def test_other_settings_are_refused_unless_everything_is_done_again(root, capsys):
    assert detect_original_faces.main(["--root-dir", str(root)]) == 0
    with pytest.raises(UserError, match="--frame-step 10 --detector-scale auto; use the same, or --overwrite"):
        detect_original_faces.main(["--root-dir", str(root), "--detector-scale", "0.5"])
    assert detect_original_faces.main(["--root-dir", str(root), "--detector-scale", "0.5", "--overwrite"]) == 0
    assert "3 done" in capsys.readouterr().out


def test_frame_step_and_limit(root):
    assert detect_original_faces.main(["--root-dir", str(root), "--frame-step", "5", "--limit", "1"]) == 0
    assert [path.name for path in (root / "boxes").iterdir()] == ["004.json"]
    assert list(json.loads((root / "boxes" / "004.json").read_text())) == ["0", "5", "10", "15", "20", "25"]


def test_crops_can_lie_elsewhere(root, processed):
    assert pipeline.main([str(root), "--crops-dir", "faces"]) == 0
    assert not (root / "crops").exists()
    assert (root / "folds.csv").read_bytes() == (processed / "folds.csv").read_bytes()
    assert (root / "faces" / "519" / "0_0.png").read_bytes() == (processed / "crops" / "519" / "0_0.png").read_bytes()


def test_golden_artifacts_are_reproduced(samples, golden, parity):
    """All five steps on real pairs, against what the published solution made of them."""
    for video, frames in golden("boxes_scale_0.5.json").items():
        ours = json.loads((parity / "boxes" / f"{video}.json").read_text())
        assert ours.keys() == frames.keys()
        for frame, boxes in frames.items():
            assert (ours[frame] is None) == (boxes is None)
            assert boxes is None or np.abs(np.array(ours[frame]) - 2 * np.array(boxes)).max() < 0.05
    tables = {name: read_golden_table(samples, name) for name in ("crops", "diffs", "folds")}
    for row in tables["crops"]:
        crop = cv2.imread(str(parity / "crops" / row["video"] / row["file"]))
        assert hashlib.sha256(crop.tobytes()).hexdigest()[:16] == row["sha256_16"]
    assert len(list((parity / "crops").rglob("*.png"))) == len(tables["crops"])
    for name, points in golden("landmarks.json").items():
        assert np.abs(np.load(parity / "landmarks" / f"{name}.npy") - np.array(points)).max() <= 1
    for row in tables["diffs"]:
        diff = cv2.imread(str(parity / "diffs" / row["video"] / row["file"]), cv2.IMREAD_UNCHANGED)
        assert abs(diff.mean() - float(row["mean"])) < 0.1
        for level in (20, 102):
            assert (diff > level).sum() == pytest.approx(int(row[f"count_gt_{level}"]), rel=0.01)
    with (parity / "folds.csv").open(newline="") as file:
        ours = {tuple(row.values()) for row in csv.DictReader(file)}
    early = {row for row in ours if int(row[4]) <= 310 and int(row[1].split("_")[1].split(".")[0]) <= 1}
    assert early == {tuple(row.values()) for row in tables["folds"]}


def read_golden_table(samples, name):
    with (samples.parent / "golden" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("module", ["extract_crops", "generate_diffs", "generate_folds", "compress_videos", "check"])
def test_steps_without_a_network_do_not_import_torch(repository, module):
    code = f"import sys, preprocessing.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
