"""A folder of videos becomes a CSV: what is in it, what goes wrong in which words, and what survives interruption."""

import json
import math
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from inference.inputs import find_videos
from predict_folder import predict_folder
from tests.conftest import read_csv


def test_one_call_gives_the_labels(labels):
    assert list(labels) == ["004.mp4", "519.mp4", "fvkanshbie.mp4"]
    assert labels["fvkanshbie.mp4"] == 0.5
    assert all(0 < label < 1 and label != 0.5 for name, label in labels.items() if name != "fvkanshbie.mp4")


def test_csv_holds_filename_and_label_sorted_by_name(run, labels, tmp_path):
    code, out, _ = run()
    assert code == 0
    header, *rows = read_csv(tmp_path / "out.csv")
    assert header == ["filename", "label"]
    assert [(name, float(label)) for name, label in rows] == list(labels.items())
    assert out.splitlines()[0].startswith("device: ") and out.splitlines()[1].startswith("loaded small: ")
    assert "3 videos, 2 scored (2 with warnings, told by --details), 1 without a face (0.5)" in out.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.errors.csv"]


def test_two_runs_and_any_number_of_workers_give_the_same_bytes(run, tmp_path):
    contents = set()
    for workers in ("1", "4", "4"):
        run("--workers", workers, "--overwrite")
        contents.add((tmp_path / "out.csv").read_bytes())
    assert len(contents) == 1


def test_ensemble_is_the_mean_of_its_networks(run, tmp_path):
    run("--details", tmp_path / "details.jsonl", models=("small", "other"))
    record = json.loads((tmp_path / "details.jsonl").read_text().splitlines()[0])
    assert set(record["labels"]) == {"small", "other"}
    assert record["label"] == pytest.approx(np.mean(list(record["labels"].values())))


def test_details_tell_every_face(run, labels, tmp_path):
    run("--details", tmp_path / "details.jsonl", "--strategy", "mean")
    records = [json.loads(line) for line in (tmp_path / "details.jsonl").read_text().splitlines()]
    assert [record["filename"] for record in records] == list(labels)
    record = records[0]
    assert (record["width"], record["height"], record["models"], record["error"]) == (640, 360, ["small"], None)
    assert record["frames"] == [0, 9, 18, 28, 37, 47]
    assert [face["frame"] for face in record["faces"]] == record["frames"]
    for face in record["faces"]:
        xmin, ymin, xmax, ymax = face["box"]
        assert 0 < xmin < xmax < 640 and 0 < ymin < ymax < 360 and 0.8 < face["score"] <= 1
    assert record["label"] == pytest.approx(np.mean([face["probabilities"][0] for face in record["faces"]]))
    assert set(record["seconds"]) == {"decode", "detect", "classify"}
    assert record["warnings"] == ["few faces: 6 in 6 frames"]
    assert records[2]["warnings"] == ["no face found"] and records[2]["faces"] == []


def test_options_reach_what_they_are_for(run, tmp_path):
    run("--details", tmp_path / "a.jsonl", "--strategy", "max", "--limit", "1")
    run(
        "--details",
        tmp_path / "b.jsonl",
        "--strategy",
        "median",
        "--limit",
        "1",
        "--detector-scale",
        "0.6",
        "--overwrite",
    )
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.jsonl", "b.jsonl"))
    assert a["label"] == max(face["probabilities"][0] for face in a["faces"])
    assert b["label"] == pytest.approx(np.median([face["probabilities"][0] for face in b["faces"]]))
    assert a["faces"][0]["box"] != b["faces"][0]["box"]


def test_batch_size_reaches_the_networks(run, monkeypatch):
    from inference.ensemble import Ensemble

    sizes = []
    forward = Ensemble._run
    monkeypatch.setattr(Ensemble, "_run", lambda self, inputs, *rest: sizes.append(len(inputs)) or forward(self, inputs, *rest))  # fmt: skip  # noqa: E501
    run("--batch-size", "4", "--limit", "1")
    assert sizes == [4, 2]


def test_at_most_four_faces_a_frame_less_one_are_scored(run, tmp_path, sample_root):
    from PIL import Image

    from faces.video import read_evenly

    frame = read_evenly(sample_root / "dfdc_train_part_0" / "004.mp4", 1).images[0]
    Image.fromarray(np.tile(frame[:, 160:480], (2, 3, 1))).save(tmp_path / "crowd.png")
    run("--details", tmp_path / "d.jsonl", test_dir=tmp_path / "crowd.png", frames="1")
    record = json.loads((tmp_path / "d.jsonl").read_text())
    assert len(record["faces"]) == 3
    assert record["warnings"][-1] == "many faces: 3 beyond the first 3 were left out"


def test_one_video_or_one_image_is_a_folder_of_one(run, video, tmp_path):
    assert run(test_dir=video)[0] == 0
    assert read_csv(tmp_path / "out.csv")[1][0] == "004.mp4"
    capture = cv2.VideoCapture(str(video))
    cv2.imwrite(str(tmp_path / "face.jpg"), capture.read()[1])
    assert run("--overwrite", test_dir=tmp_path / "face.jpg")[0] == 0
    name, label = read_csv(tmp_path / "out.csv")[1]
    assert name == "face.jpg" and float(label) != 0.5


def test_files_that_cannot_be_read_score_half_and_are_named(run, folder, labels, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    (mixed / "a zero.mp4").write_bytes(b"")
    (mixed / "b text.mov").write_text("hello " * 1000)
    (mixed / "not looked at.txt").write_text("hello")
    # As fewer videos are computed by default.
    code, out, _ = run("--engine", "torch", "--precision", "fp32", test_dir=mixed)
    assert code == 0
    rows = dict(read_csv(tmp_path / "out.csv")[1:])
    assert rows["a zero.mp4"] == rows["b text.mov"] == "0.5"
    assert float(rows["004.mp4"]) == labels["004.mp4"]
    assert "1 without a face (0.5), 2 failed (0.5; the same command tries again); reasons in" in out.splitlines()[-1]
    header, *errors = read_csv(tmp_path / "out.csv.errors.csv")
    assert header == ["filename", "reason"]
    assert dict(errors).keys() == {"a zero.mp4", "b text.mov", "fvkanshbie.mp4"}
    assert dict(errors)["a zero.mp4"] == "is empty (0 bytes)"
    assert run("--strict", "--overwrite", test_dir=mixed)[0] == 1


def test_names_of_any_kind_survive_the_csv(run, video, tmp_path):
    names = [
        'comma, and "quotes".mp4',
        "new\nline.mp4",
        "return\r.mp4",
        "ünï 影片.mp4",
        "=formula.mp4",
        "sub folder/004.mp4",
    ]
    for name in names:
        path = tmp_path / "named" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, path)
    assert run(test_dir=tmp_path / "named", frames="1")[0] == 0
    rows = read_csv(tmp_path / "out.csv")[1:]
    assert sorted(name for name, _ in rows) == sorted(names)
    assert len({label for _, label in rows}) == 1


def test_name_that_is_not_utf8_is_escaped_so_that_the_csv_stays_readable(run, video, tmp_path):
    (tmp_path / "odd").mkdir()
    shutil.copy(video, bytes(tmp_path / "odd") + b"/\xff\xfe.mp4")
    assert run(test_dir=tmp_path / "odd", frames="1")[0] == 0
    ((name, label),) = read_csv(tmp_path / "out.csv")[1:]
    assert name == "\\udcff\\udcfe.mp4" and label != "0.5"


def test_inputs_are_never_written_over(run, folder, weights, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = (copy / "004.mp4").read_bytes()
    for extra in (("--output", copy / "004.mp4"), ("--details", copy / "004.mp4"), ("--details", weights / "small")):
        code, _, err = run(*extra, "--overwrite", test_dir=copy)
        assert code == 2 and "one of the inputs" in err
    sample = tmp_path / "sample.csv"
    sample.write_text("filename,label\n004.mp4,0.5\n")
    code, _, err = run("--sample-submission", sample, "--details", sample, "--overwrite", test_dir=copy)
    assert code == 2 and "one of the inputs" in err and sample.read_text().startswith("filename")
    assert (copy / "004.mp4").read_bytes() == before


@pytest.mark.parametrize("suffix", ["", ".partial", ".retry", ".errors.csv", ".lock"])
def test_details_do_not_collide_with_the_commands_own_files(run, tmp_path, suffix):
    code, _, err = run("--details", tmp_path / f"out.csv{suffix}")
    assert code == 2 and "--details is the same file" in err


def test_devices_are_not_replaced_and_links_stay_links(run, tmp_path):
    code, _, err = run("--overwrite", output="/dev/null")
    assert code == 2 and "device" in err
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    assert run("--limit", "1", output=tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink() and len(read_csv(tmp_path / "target.csv")) == 2


def test_empty_names_are_refused(run):
    for options in ({"test_dir": ""}, {"output": ""}):
        code, _, err = run(**options)
        assert code == 2 and len(err.splitlines()) == 1


@pytest.mark.parametrize("what", ["missing", "empty", "no video", "not a video"])
def test_nothing_to_score_is_one_line_and_exit_code_2(run, tmp_path, what):
    place = tmp_path / "place"
    if what != "missing":
        place.mkdir()
    if what in ("no video", "not a video"):
        (place / "notes.txt").write_text("x")
    code, out, err = run(test_dir=place / "notes.txt" if what == "not a video" else place)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert str(place) in err
    assert not (tmp_path / "out.csv").exists()


def test_unknown_model_is_one_line_that_names_the_known_ones(run, tmp_path):
    code, _, err = run(models=("small", "nothing"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "nothing" in err and "there: other, small" in err


@pytest.mark.parametrize(
    "extra", [("--frames", "0"), ("--strategy", "best"), ("--nonsense",), ("--detector-scale", "0"), ("--device", "x")]
)
def test_bad_options_are_one_line_and_exit_code_2(run, extra):
    code, _, err = run(*extra)
    assert (code, len(err.splitlines())) == (2, 1)


def test_finished_output_is_not_replaced_unasked(run, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    code, _, err = run()
    assert code == 2 and "--overwrite" in err
    assert (tmp_path / "out.csv").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no disk that takes nothing, not even from root")
@pytest.mark.parametrize("option", ["--output", "--details", "--report"])
def test_disk_that_takes_nothing_is_found_out_at_once(run, tmp_path, option):
    code, out, err = run(option, "/proc/self/a.csv")
    assert (code, out) == (2, "")
    assert err.startswith("error: /proc/self/a.csv: cannot be written (") and len(err.splitlines()) == 1


def test_output_that_cannot_be_written_is_found_out_at_once(run, tmp_path):
    (tmp_path / "dir.csv").mkdir()
    code, out, err = run(output=tmp_path / "dir.csv")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    code, out, err = run("--details", tmp_path / "dir.csv")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_sample_submission_gives_rows_and_order(run, folder, labels, tmp_path):
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("filename,label\n519.mp4,0.5\nghost.mp4,0.5\n004.mp4,0.5\n")
    code, out, _ = run("--sample-submission", sample)
    assert code == 0
    rows = read_csv(tmp_path / "out.csv")[1:]
    assert [name for name, _ in rows] == ["519.mp4", "ghost.mp4", "004.mp4"]
    assert [float(label) for _, label in rows] == [labels["519.mp4"], 0.5, labels["004.mp4"]]
    assert "1 files missing, their rows say 0.5: ghost.mp4" in out
    assert "1 files not in the sample submission, left out: fvkanshbie.mp4" in out
    assert read_csv(tmp_path / "out.csv.errors.csv")[1:] == [["ghost.mp4", "is missing"]]


@pytest.mark.parametrize("content", ["label\n0.5\n", "filename\na.mp4\na.mp4\n", ""])
def test_unfit_sample_submission_is_refused(run, tmp_path, content):
    (tmp_path / "sample.csv").write_text(content)
    code, _, err = run("--sample-submission", tmp_path / "sample.csv")
    assert code == 2 and "sample.csv" in err


def test_scale_from_python_is_what_it_is_in_a_command(folder, weights):
    options = {"weights_dir": weights, "frames": 4, "say": lambda line: None}
    labels = predict_folder(folder, ["small"], **options).labels
    assert predict_folder(folder, ["small"], detector_scale="auto", **options).labels == labels
    for wrong in (0, -1, 9):
        with pytest.raises(UserError, match=f"detector_scale: {wrong} is neither auto nor a factor up to 8"):
            predict_folder(folder, ["small"], detector_scale=wrong, **options)


def test_empty_names_cannot_be_written_to(run):
    for option in ("--output", "--details", "--report"):
        code, _, err = run(option, "")
        assert code == 2 and "an empty name cannot be written to" in err


@pytest.mark.parametrize("name", [".", "/"])
def test_folder_is_no_output(run, name):
    code, _, err = run("--output", name)
    assert code == 2 and "is a directory, not a file to write" in err


def test_numbers_of_numpy_are_numbers_and_infinity_is_no_limit(folder, weights, tmp_path):
    options = {"weights_dir": weights, "video_timeout": math.inf, "video_memory": math.inf, "say": lambda line: None}
    numbers = {"frames": np.int64(4), "limit": np.int64(1)}
    summary = predict_folder(folder, ["small"], tmp_path / "a.csv", **options, **numbers)
    assert not summary.failures and list(summary.labels) == ["004.mp4"]


def test_limit_takes_the_first_videos(run, tmp_path):
    run("--limit", "1")
    assert [name for name, _ in read_csv(tmp_path / "out.csv")[1:]] == ["004.mp4"]


def test_existing_details_are_not_replaced_unasked(run, tmp_path):
    (tmp_path / "d.jsonl").write_text("mine")
    code, _, err = run("--details", tmp_path / "d.jsonl")
    assert code == 2 and "d.jsonl: exists already" in err
    code, _, err = run("--details", tmp_path / "out.csv")
    assert code == 2 and "the same file" in err


def test_refused_run_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    run()
    run(models=("nothing",), output=tmp_path / "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_call_without_output_tells_why(folder, weights, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    shutil.copy(folder / "fvkanshbie.mp4", tmp_path)
    summary = predict_folder(tmp_path, ["small"], weights_dir=weights, frames=2, say=lambda line: None)
    assert summary.unscored == {"broken.mp4": "is empty (0 bytes)", "fvkanshbie.mp4": "no face found"}


def test_a_pipe_is_no_video(run, tmp_path):
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "a.mp4")
    assert run(test_dir=tmp_path / "pipes")[0] == 0
    assert "not a regular file" in (tmp_path / "out.csv.errors.csv").read_text()


def test_linked_folders_are_searched_once(folder, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(folder)
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    assert [video.name for video in find_videos(tmp_path / "root")] == [
        "link/004.mp4",
        "link/519.mp4",
        "link/fvkanshbie.mp4",
    ]


def test_hidden_files_are_no_videos(video, tmp_path):
    shutil.copy(video, tmp_path / "._004.mp4")
    with pytest.raises(UserError, match="no videos"):
        find_videos(tmp_path)


def test_what_preprocessing_made_is_not_scored(video, tmp_path):
    for place in ("dfdc_train_part_0", "clips/a", "compressed/dfdc_train_part_0"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(video, tmp_path / place)
    assert len(find_videos(tmp_path)) == 3  # any folder may be called so
    (tmp_path / "dfdc_train_part_0" / "metadata.json").write_text("{}")
    assert [found.name for found in find_videos(tmp_path)] == ["dfdc_train_part_0/004.mp4"]


def test_real_videos_are_scored(samples, weights):
    """A DFDC clip in portrait format and FaceForensics++ pairs in subfolders."""
    summary = predict_folder(samples / "parity", ["small"], weights_dir=weights, frames=4, say=lambda line: None)
    assert len(summary.labels) == 4 and not summary.unscored
    assert "dfdc_train_part_3/634_660.mp4" in summary.labels
    summary = predict_folder(samples / "test_videos", ["small"], weights_dir=weights, frames=4, say=lambda line: None)
    assert list(summary.labels) == ["brtujopkby.mp4"] and not summary.unscored
