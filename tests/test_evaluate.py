"""The command evaluate.py: what it reads and matches, what it refuses, what it prints and writes."""

import csv
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from common.errors import UserError, exit_on_user_error
from evaluation.calibration import Calibration
from evaluation.judge import evaluate, row_names
from evaluation.labels import read_labels
from evaluation.plots import plots
from evaluation.predictions import count_faces
from evaluation.problems import Problems
from evaluation.report import as_data, table

# Two real and two fake videos, one of each on the wrong side of 0.5; by hand in test_evaluate_metrics.
META = {
    "r1.mp4": {"label": "REAL", "split": "train"},
    "r2.mp4": {"label": "REAL", "split": "test"},
    "f1.mp4": {"label": "FAKE", "split": "train", "original": "r1.mp4"},
    "f2.mp4": {"label": "FAKE", "split": "test", "original": "r2.mp4"},
}
SCORES = {"r1.mp4": 0.2, "r2.mp4": 0.6, "f1.mp4": 0.9, "f2.mp4": 0.4}


@pytest.fixture
def put(tmp_path):
    """Writes a file: a dict as JSON, rows as CSV (scores as filename,label), text as it is; returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv" and not isinstance(content, str):
            rows = [("filename", "label"), *content.items()] if isinstance(content, dict) else content
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
        elif path.suffix == ".jsonl" and not isinstance(content, str):
            path.write_text("".join(json.dumps(record) + "\n" for record in content))
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command with few draws; returns (exit code, stdout, stderr)."""

    def call(*argv):
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: command.main([*map(str, argv), *(["--bootstrap", "20"] * ("-h" not in argv))]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return call


@pytest.fixture
def meta(put):
    return put("metadata.json", META)


@pytest.fixture
def scores(put):
    return put("a.csv", SCORES)


def scored(labels, *predictions, **options):
    """The scores of the first prediction by video, and the evaluation."""
    evaluation = evaluate(predictions, labels, bootstrap=0, **options)
    return evaluation.rows[0].scores.tolist(), evaluation


def cells(out, label):
    """The cells of a line of the table, without the intervals."""
    line = next(line for line in out.splitlines() if line.startswith(label + " "))
    return [cell for cell in line.removeprefix(label).split() if cell[0] not in "[" and cell[-1] not in "]"]


def printed(labels, *predictions, draws=0, **options):
    """The table that the command prints."""
    return table(evaluate(predictions, labels, bootstrap=draws, **options))


def flat(out):
    """What was printed, its lines joined: notes are wrapped where the paths of a test make them long."""
    return " ".join(out.split())


def columns(out):
    """The names above the cells of the table."""
    return next(line.split() for line in out.splitlines() if line.startswith(" " * 28))


# Labels


def test_metadata_gives_labels_and_its_other_keys_as_columns(meta):
    labels = read_labels(meta)
    assert labels.fake == {"r1.mp4": False, "r2.mp4": False, "f1.mp4": True, "f2.mp4": True}
    assert labels.column_names() == ["original", "split"]
    assert labels.columns["f1.mp4"] == {"split": "train", "original": "r1.mp4"}


@pytest.mark.parametrize("real", ["REAL", "real", "Real ", "0", "0.0"])
@pytest.mark.parametrize("fake", ["FAKE", "fake", "1"])
def test_csv_labels_are_words_in_any_case_or_0_and_1(put, real, fake):
    labels = read_labels(put("labels.csv", [("id", "label", "filename"), (7, real, "a.mp4"), (8, fake, "b.mp4")]))
    assert labels.fake == {"a.mp4": False, "b.mp4": True}
    assert labels.columns["b.mp4"] == {"id": "8"}


@pytest.fixture
def data_root(put, tmp_path):
    put("root/dfdc_train_part_0/metadata.json", {"x.mp4": {"label": "REAL"}, "same.mp4": {"label": "REAL"}})
    put("root/deeper/dfdc_train_part_1/metadata.json", {"y.mp4": {"label": "FAKE"}, "same.mp4": {"label": "FAKE"}})
    put("root/crops/x/metadata.json", "an artifact")
    put("root/.hidden/metadata.json", "hidden")
    return tmp_path / "root"


def test_data_root_is_every_metadata_below_it(data_root):
    labels = read_labels(data_root)
    parts = ("deeper/dfdc_train_part_1", "dfdc_train_part_0")
    assert set(labels.fake) == {
        f"{parts[0]}/y.mp4",
        f"{parts[0]}/same.mp4",
        f"{parts[1]}/x.mp4",
        f"{parts[1]}/same.mp4",
    }
    assert labels.columns["dfdc_train_part_0/x.mp4"] == {"part": "dfdc_train_part_0"}
    assert read_labels(data_root / "dfdc_train_part_0").fake == {"x.mp4": False, "same.mp4": False}


def test_part_may_be_called_like_an_artifact(data_root, put):
    put("root/clips/metadata.json", {"z.mp4": "FAKE"})
    assert read_labels(data_root).fake["clips/z.mp4"] is True


def test_linked_part_is_found_under_the_name_of_the_link(data_root, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "part_7").symlink_to(data_root / "dfdc_train_part_0")
    assert set(read_labels(tmp_path / "other").fake) == {"part_7/x.mp4", "part_7/same.mp4"}


def test_predictions_made_on_the_root_on_a_part_or_above_find_their_labels(data_root, put):
    root, part = read_labels(data_root), read_labels(data_root / "deeper/dfdc_train_part_1/metadata.json")
    y = "deeper/dfdc_train_part_1/y.mp4"
    for name in (y, "dfdc_train_part_1/y.mp4", "y.mp4", f"root/{y}"):
        assert root.find(name) == [y]
        assert part.find(name) == ["y.mp4"]
    # A part's metadata says nothing of another part's video of the same name, nor does an ending of a name match.
    assert part.find("dfdc_train_part_0/same.mp4") == root.find("art_1/y.mp4") == root.find(".mp4") == []
    table = read_labels(put("labels.csv", {"y.mp4": 1, "sub/z.mp4": 0}))
    assert (table.find("some/folder/y.mp4"), table.find("z.mp4")) == (["y.mp4"], ["sub/z.mp4"])


def test_bare_name_that_two_parts_have_is_refused_with_both(data_root, put):
    with pytest.raises(UserError, match="1 predicted under a name that several") as refusal:
        scored(data_root, put("a.csv", {"x.mp4": 0, "y.mp4": 1, "same.mp4": 0.3}))
    assert "same.mp4 (deeper/dfdc_train_part_1/same.mp4, dfdc_train_part_0/same.mp4)" in str(refusal.value)
    assert "not predicted" not in str(refusal.value)
    whole = {"dfdc_train_part_0/x.mp4": 0.1, "dfdc_train_part_0/same.mp4": 0.2}
    both = {f"deeper/dfdc_train_part_1/{name}": p for name, p in (("y.mp4", 0.8), ("same.mp4", 0.9))}
    assert sorted(scored(data_root, put("b.csv", whole | both))[0]) == [0.1, 0.2, 0.8, 0.9]


# Refusals


@pytest.mark.parametrize(
    ("predictions", "labels", "said", "left"),
    [
        ({**SCORES, "new.mp4": 0.3}, META, "1 predicted but not labelled: new.mp4; ", 4),
        ({n: p for n, p in SCORES.items() if n != "r1.mp4"}, META, "1 labelled but not predicted: r1.mp4; ", 3),
        ([("filename", "label"), *SCORES.items(), ("r1.mp4", 0.2)], META, "1 predicted more than once: r1.mp4; ", 3),
        (
            {**SCORES, "d/r1.mp4": 0.2},
            [*META.items()],
            "1 predicted more than once: r1.mp4 (as r1.mp4 and as d/r1.mp4); ",
            3,
        ),
        (SCORES, '{"r1.mp4": {"label": "REAL"}, ' + json.dumps(META)[1:], "1 labelled more than once: r1.mp4; ", 3),
        *(
            (SCORES, {**META, "r1.mp4": bad}, f"1 labelled neither REAL nor FAKE nor 0 nor 1: r1.mp4 ({said}); ", 3)
            for bad, said in (({"label": "maybe"}, "'maybe'"), ({}, "None"), ({"label": 2}, "2"), ([], "[]"))
        ),
        # What has no usable label is not missing from the predictions as well.
        (SCORES, {**META, "z": "?"}, "1 labelled neither REAL nor FAKE nor 0 nor 1: z ('?'); ", 4),
        *(
            ({**SCORES, "r1.mp4": bad}, META, f"1 predicted with what is no number from 0 to 1: r1.mp4 ({said}); ", 3)
            for bad, said in (
                (1.01, "1.01"),
                (-0.1, "-0.1"),
                ("nan", "nan"),
                ("inf", "inf"),
                ("", "nothing"),
                ("x", "x"),
            )
        ),
    ],
)
def test_what_cannot_be_used_is_counted_named_and_refused_unless_left_out(put, run, predictions, labels, said, left):
    predictions = put("a.csv", predictions)
    if isinstance(labels, list):
        labels = put("l.csv", [("filename", "label"), *((name, entry["label"]) for name, entry in labels)])
    else:
        labels = put("m.json", labels)
    code, out, err = run("--predictions", predictions, "--labels", labels)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and said in err and "--ignore-missing leaves them out" in err
    assert err.count(";") == 1, "one problem is told once"
    remaining, evaluation = scored(labels, predictions, ignore_missing=True)
    out, data = table(evaluation), as_data(evaluation)
    assert len(remaining) == left and out.startswith(f"{left} videos, ")
    assert "left out: " + said.partition(":")[0] in flat(out)
    assert [entry["count"] for entry in data["left_out"].values()] == [1] and data["videos"]["evaluated"] == left


def test_command_leaves_out_what_it_is_told_to(meta, put, run):
    code, out, _ = run("--predictions", put("a.csv", {**SCORES, "x": 1}), "--labels", meta, "--ignore-missing")
    assert code == 0 and out.startswith("4 videos") and "left out: 1 predicted but not labelled: x" in flat(out)


def test_no_video_left_is_refused_even_with_ignore_missing(meta, put, run):
    code, _, err = run("--predictions", put("a.csv", {"z.mp4": 1}), "--labels", meta, "--ignore-missing")
    assert code == 2 and "none of its videos" in err and "z.mp4" in err


def test_many_names_are_counted_and_the_first_five_named():
    problems = Problems()
    for i in range(7):
        problems.add("unknown", f"{i}.mp4")
    assert problems.sentences() == ["7 predicted but not labelled: 0.mp4, 1.mp4, 2.mp4, 3.mp4, 4.mp4 and 2 more"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "name,p\n", "no column 'filename' and no column 'label'"),
        ("a.csv", "", "no column"),
        ("a.csv", "filename,label\n", "no predictions"),
        ("a.csv", None, "cannot be read"),
    ],
)
def test_file_that_is_no_prediction_is_refused(meta, put, run, tmp_path, name, content, said):
    path = tmp_path / name if content is None else put(name, content)
    code, _, err = run("--predictions", path, "--labels", meta)
    assert (code, err.count("\n")) == (2, 1) and str(path) in err and said in err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.json", "{", "cannot be read as JSON"),
        ("m.json", "[1]", "is no object"),
        ("m.json", "{}", "no labels"),
        ("l.csv", "filename\nx\n", "no column 'label'"),
        ("empty/readme", "", "no metadata.json"),
    ],
)
def test_file_that_holds_no_labels_is_refused(scores, put, run, name, content, said):
    path = put(name, content)
    path = path.parent if "/" in name else path
    code, _, err = run("--predictions", scores, "--labels", path)
    assert (code, err.count("\n")) == (2, 1) and str(path) in err and said in err


@pytest.mark.parametrize(
    "options",
    [
        ["--clip", "0"],
        ["--clip", "0.5"],
        ["--clip", "nan"],
        ["--clip", "1e-17"],
        ["--by", "nothing"],
        ["--by", "faces"],
        ["--per-model"],
        ["--calibration", "none.json"],
        ["--details", "none.jsonl"],
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(meta, scores, run, options):
    code, out, err = run("--predictions", scores, "--labels", meta, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (scores.parent / "a.evaluation").exists()


def test_unknown_column_names_those_there_are(meta, scores, put, run):
    err = run("--predictions", scores, "--labels", meta, "--by", "nothing")[2]
    said = "--by nothing: is neither one of faces, resolution, manipulation nor a further column of the labels"
    assert f"{said} (original, split)" in err
    labels = put("l.csv", {name: entry["label"] for name, entry in META.items()})
    assert f"{said}, which have none" in run("--predictions", scores, "--labels", labels, "--by", "nothing")[2]


@pytest.mark.parametrize("option", ["--predictions", "--labels", "--details", "--calibration"])
def test_file_that_is_not_there_is_named_in_a_plain_sentence(meta, scores, run, option):
    argv = {"--predictions": scores, "--labels": meta} | {option: "/nope"}
    code, _, err = run(*(word for pair in argv.items() for word in pair))
    assert code == 2
    said = "no such file or folder of labels" if option == "--labels" else "cannot be read: No such file or directory"
    assert err == f"error: /nope: {said}\n"


# Several predictions


def test_several_predictions_and_their_mean_stand_side_by_side(meta, scores, put):
    other = put("b.csv", {"r1.mp4": 0.4, "r2.mp4": 0.1, "f1.mp4": 0.7, "f2.mp4": 0.8})
    out = printed(meta, scores, other, draws=20)
    assert columns(out) == ["a", "b", "mean"]
    # means 0.3, 0.35, 0.8, 0.6: all are right
    assert cells(out, "  accuracy") == ["0.5000", "1.0000", "1.0000"]
    # a: 0.9 wins over both reals, 0.4 over 0.2 alone: 3 of 4 pairs
    assert cells(out, "AUC") == ["0.7500", "1.0000", "1.0000"]
    assert max(map(len, out.splitlines()[:25])) <= 100


def test_only_videos_that_all_predictions_have_are_compared(meta, scores, put):
    fewer = put("b.csv", dict.fromkeys(("r1.mp4", "f1.mp4", "f2.mp4"), 0.3))
    with pytest.raises(UserError, match=r"r2.mp4 \(.*b.csv\)"):
        scored(meta, scores, fewer)
    _, evaluation = scored(meta, scores, fewer, ignore_missing=True)
    assert [len(row.scores) for row in evaluation.rows] == [3, 3, 3]


def test_predictions_of_one_name_are_told_apart():
    assert row_names(["x/a.csv", "y/a.csv", "b.csv"]) == ["x/a", "y/a", "b"]
    assert row_names(["x/a.csv", "x/a.csv"]) == ["x/a (1)", "x/a (2)"]


def test_order_of_rows_does_not_matter(meta, put):
    assert scored(meta, put("a.csv", dict(reversed(SCORES.items()))))[0] == [0.2, 0.6, 0.9, 0.4]


# Details


def record(name, label, faces=(1,) * 15, size=(1920, 1080), **more):
    """A record of predict_folder.py --details with so many faces in each frame."""
    boxes = [
        {"frame": i, "box": [0, 0, 9, 9], "score": 1.0, "track": None} for i, n in enumerate(faces) for _ in range(n)
    ]
    known = {"filename": name, "label": label, "labels": {"m": label, "n": 1 - label} if boxes else {}}
    known |= {"width": size[0], "height": size[1], "frames": list(range(len(faces))), "faces": boxes}
    return known | {"seconds": {}, "warnings": [], "error": None, "models": ["m", "n"]} | more


@pytest.mark.parametrize(
    ("per_frame", "count"),
    [
        ([3] * 10 + [1] * 5, 3),
        ([3] * 9 + [2] * 6, 1),
        ([2] * 10 + [3] * 5, 2),
        ([2] * 10 + [0] * 5, 2),
        ([2] * 9 + [1] * 6, 1),
        ([4] * 15, 1),
        ([0] * 14 + [1], 1),
        ([0] * 15, 0),
        ([3, 3, 1], 3),
        ([3, 1], 1),
    ],
)
def test_number_of_faces_is_that_of_two_thirds_of_the_frames(per_frame, count):
    assert count_faces(record("x", 0.5, per_frame)) == count


def test_without_faces_tracks_are_counted():
    tracks = [{"track": t, "frames": [0]} for t in (0, 1, 1)]
    assert count_faces({"tracks": tracks}) == 2
    assert count_faces({"tracks": [{"track": t} for t in range(5)]}) == 3
    assert count_faces({"frames": [1]}) == 0


@pytest.fixture
def crowd(put):
    """Twelve videos: of one face, of two and of three, two real and two fake each, worse the more faces they show."""
    labels, records = {}, []
    for faces, (reals, fakes) in {
        1: ([0.1, 0.2], [0.8, 0.9]),
        2: ([0.1, 0.7], [0.8, 0.9]),
        3: ([0.6, 0.7], [0.3, 0.9]),
    }.items():
        for label, scores in (("REAL", reals), ("FAKE", fakes)):
            for i, score in enumerate(scores):
                name = f"{faces}_{label}_{i}.mp4"
                labels[name] = {"label": label}
                records.append(record(name, score, [faces] * 12, size=(360 * faces, 640 * faces)))
    return put("details.jsonl", records), put("crowd.json", labels)


def test_table_per_number_of_faces_comes_from_details_alone(crowd, run):
    code, out, _ = run("--details", crowd[0], "--labels", crowd[1], "--by", "faces")
    lines = out[out.index("details by faces") :].splitlines()
    assert lines[1].split() == [
        *(
            "faces",
            "videos",
            "real",
            "fake",
            "log",
            "loss",
            "AUC",
            "accuracy",
            "precision",
            "recall",
            "r>r",
            "r>f",
            "f>r",
            "f>f",
        )
    ]
    rows = [line.split() for line in lines[2:5]]
    # One face: all right. Two: 0.7 of a real video called fake: 3/4, 2/3, 2/2. Three: only 0.9 right: 1/4, 1/3, 1/2.
    assert [row[:4] + row[5:] for row in rows] == [
        ["1", "4", "2", "2", "1.0000", "1.0000", "1.0000", "1.0000", "2", "0", "0", "2"],
        ["2", "4", "2", "2", "1.0000", "0.7500", "0.6667", "1.0000", "1", "1", "0", "2"],
        ["3", "4", "2", "2", "0.5000", "0.2500", "0.3333", "0.5000", "0", "2", "1", "1"],
    ]
    # -ln of 0.9, 0.8, 0.8, 0.9, over 4
    assert float(rows[0][4]) == pytest.approx(-(2 * math.log(0.9) + 2 * math.log(0.8)) / 4, abs=1e-4)
    assert code == 0 and max(map(len, lines[:5])) <= 100


def test_resolution_goes_by_the_shorter_side(crowd, put, meta):
    evaluation = scored(crowd[1], details=crowd[0], by=["resolution"])[1]
    groups = evaluation.rows[0].groups["resolution"]
    assert [(name, group["videos"]) for name, group in groups.items()] == [
        ("under 480p", 4),
        ("720p to 1079p", 4),
        ("1080p and up", 4),
    ]
    sizes = zip(SCORES, [(479, 2000), (480, 480), (1279, 719), (0, 0)], strict=True)
    details = put("d.jsonl", [record(name, 0.3, size=size) for name, size in sizes])
    names = scored(put("m.json", META), details=details, by=["resolution"])[1].rows[0].groups["resolution"]
    assert {name: group["videos"] for name, group in names.items()} == {
        "under 480p": 1,
        "480p to 719p": 2,
        "unknown": 1,
    }


def test_each_network_of_the_details_is_a_row_if_asked_for(crowd, scores, meta, put):
    assert [row.name for row in scored(crowd[1], details=crowd[0])[1].rows] == ["details"]
    rows = scored(crowd[1], details=crowd[0], per_model=True)[1].rows
    assert [row.name for row in rows] == ["details", "m", "n"]
    assert rows[2].scores == pytest.approx(1 - rows[1].scores)
    faceless = [record(name, 0.5, faces=[0]) if name == "r1.mp4" else record(name, 0.9) for name in META]
    rows = scored(meta, scores, scores, details=put("d.jsonl", faceless), per_model=True)[1].rows
    assert [row.name.rpartition("/")[2] for row in rows] == ["a (1)", "a (2)", "mean", "m", "n"]
    assert rows[3].scores.tolist() == [0.5, 0.9, 0.9, 0.9]


def test_details_group_the_predictions_of_a_csv(meta, scores, put):
    details = put("d.jsonl", [record(name, 0.9, [2] * 3) for name in META if name != "r1.mp4"])
    first, evaluation = scored(meta, scores, details=details, by=["faces"])
    assert first == [0.2, 0.6, 0.9, 0.4]
    groups = evaluation.rows[0].groups["faces"]
    assert {name: group["videos"] for name, group in groups.items()} == {"2": 3, "unknown": 1}
    assert "1 of the videos has no details: r1.mp4" in table(evaluation)
    assert as_data(evaluation)["without_details"] == ["r1.mp4"]
    assert "no details" not in printed(meta, scores)


def test_details_of_other_videos_are_refused(meta, scores, put):
    with pytest.raises(UserError, match=r"d\.jsonl: has none of the videos to evaluate, such as r1\.mp4"):
        scored(meta, scores, details=put("d.jsonl", [record("other.mp4", 0.9)]), by=["faces"])


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"filename": "x"}', '{"label": 0.5}', '{"filename": "x", "label": 0, "width": "a"}']
)
def test_details_that_are_none_are_refused_with_the_line(meta, put, run, line):
    path = put("d.jsonl", json.dumps(record("r1.mp4", 0.2)) + "\n\n" + line + "\n")
    code, _, err = run("--details", path, "--labels", meta)
    assert (code, err.count("\n")) == (2, 1) and f"{path}: line 3" in err


def test_details_of_what_really_was_predicted_can_be_evaluated(folder, weights, sample_root, tmp_path, run):
    from predict_folder import predict_folder

    predict_folder(
        *(folder, ["small", "other"], tmp_path / "out.csv"),
        weights_dir=weights,
        details=tmp_path / "d.jsonl",
        frames=4,
        say=lambda line: None,
    )
    argv = ("--details", tmp_path / "d.jsonl", "--labels", sample_root, "--per-model", "--by", "faces", "resolution")
    code, out, _ = run("--predictions", tmp_path / "out.csv", *argv)
    assert code == 0 and "3 videos, 2 real and 1 fake" in out
    assert columns(out) == ["out", "small", "other"]
    assert "out: 1 of the videos could not be scored and counts as 0.5: dfdc_train_part_" in flat(out)
    assert "/fvkanshbie.mp4 (no face found)" in flat(out)
    assert "under 480p" in out


# Groups


def groups(labels, scores, column, **options):
    found = scored(labels, scores, by=[column], **options)[1].rows[0].groups[column]
    return {name: (group["real"], group["fake"]) for name, group in found.items()}


def test_any_label_column_makes_groups(meta, scores):
    assert groups(meta, scores, "split") == {"test": (1, 1), "train": (1, 1)}
    assert groups(meta, scores, "original") == {"r1.mp4": (0, 1), "r2.mp4": (0, 1), "-": (2, 0)}


def test_group_of_one_class_has_no_auc(meta, scores):
    out = printed(meta, scores, by=["original"])
    line = next(line.split() for line in out.splitlines() if line.startswith("r1.mp4"))
    assert line == [
        "r1.mp4",
        "1",
        "0",
        "1",
        "0.1054",
        "-",
        "1.0000",
        "1.0000",
        "1.0000",
        "0",
        "0",
        "0",
        "1",
    ]


def test_every_manipulation_is_compared_with_all_real_videos(put):
    names = {
        "df_1": 0.9,
        "f2f_1": 0.7,
        "fs_1": 0.6,
        "nt_1": 0.1,
        "x/Deepfakes/1_2": 0.8,
        "odd_1": 0.3,
        "1": 0.2,
        "2": 0.65,
    }
    labels = {name: int(name not in ("1", "2")) for name in names}
    scores, labels = put("a.csv", names), put("l.csv", labels)
    assert groups(labels, scores, "manipulation") == {
        "Deepfakes": (2, 2),
        "Face2Face": (2, 1),
        "FaceSwap": (2, 1),
        "NeuralTextures": (2, 1),
        "unknown": (2, 1),
    }
    out = printed(labels, scores, by=["manipulation"])
    assert "a by manipulation: each kind of fake against all the real videos" in out
    # 0.6 wins over 0.2 and loses against 0.65
    assert next(line.split()[5] for line in out.splitlines() if line.startswith("FaceSwap")) == "0.5000"


@pytest.mark.parametrize("column", ["manipulation", "method", "type"])
def test_manipulation_is_a_column_of_the_labels_where_there_is_one(put, column):
    rows = [("filename", "label", column), ("df_1", 1, "swap"), ("df_2", 1, ""), ("3", 0, "swap")]
    labels = put("l.csv", rows)
    assert groups(labels, put("a.csv", {"df_1": 1, "df_2": 1, "3": 0}), "manipulation") == {
        "swap": (1, 1),
        "unknown": (1, 1),
    }


def test_long_names_of_groups_give_way_to_the_numbers(put):
    rows = [("filename", "label", "part"), ("a", 1, "x" * 60 + "1"), ("b", 0, "x" * 60 + "2"), ("c", 0, "y")]
    out = printed(put("l.csv", rows), put("a.csv", dict.fromkeys("abc", 0.3)), by=["part"])
    lines = out[out.index("a by part") :].splitlines()[1:5]
    assert {len(line) for line in lines} == {100}
    assert [line.split()[0][-4:] for line in lines] == ["part", "xxx1", "xxx2", "y"]


def test_largest_groups_are_shown_and_the_others_counted(put):
    names = [str(i) for i in range(60)]
    rows = [("filename", "label", "person"), *((n, int(n) % 2, "often" if int(n) > 57 else f"p{n}") for n in names)]
    evaluation = scored(put("l.csv", rows), put("a.csv", dict.fromkeys(names, 0.3)), by=["person"])[1]
    out = table(evaluation)
    assert "often" in out and "... and 19 smaller groups, in metrics.json" in out
    assert sum(line.startswith("p") for line in out.splitlines()) == 39 + 1  # and the head
    assert len(as_data(evaluation)["predictions"][0]["groups"]["person"]) == 59


def test_numbers_among_groups_are_in_their_order(put):
    labels = put("l.csv", [("filename", "label", "actors"), *((f"{n}", n % 2, n) for n in (10, 9, 2, 1))])
    assert list(groups(labels, put("a.csv", {str(n): 0.5 for n in (10, 9, 2, 1)}), "actors")) == ["1", "2", "9", "10"]


# Videos without a score


def test_videos_that_could_not_be_scored_count_as_one_half_and_are_told(meta, put):
    scores = put("a.csv", {**SCORES, "r1.mp4": 0.5, "f1.mp4": 0.5})
    put("a.csv.errors.csv", [("filename", "reason"), ("r1.mp4", "no face found"), ("f2.mp4", "left from before")])
    evaluation = scored(meta, scores)[1]
    out, row = table(evaluation), as_data(evaluation)["predictions"][0]
    assert out.startswith("4 videos")
    assert "a: 1 of the videos could not be scored and counts as 0.5: r1.mp4 (no face found)" in flat(out)
    assert "a: 1 of the scores is exactly 0.5, which often means: not scored" in flat(out)
    assert row["not_scored"] == {"r1.mp4": "no face found"}
    assert row["metrics"]["log_loss_real"]["value"] == pytest.approx(-(math.log(0.5) + math.log(0.4)) / 2)


def test_errors_in_details_are_told(meta, put):
    failed = record("f1.mp4", 0.5, faces=[], size=(0, 0), error="is empty")
    details = put("d.jsonl", [failed, *(record(n, p) for n, p in SCORES.items() if n != "f1.mp4")])
    out = printed(meta, details=details, by=["faces"])
    assert "d: 1 of the videos could not be scored and counts as 0.5: f1.mp4 (is empty)" in flat(out)
    assert next(line.split()[:2] for line in out.splitlines() if line.startswith("unknown")) == ["unknown", "1"]


# One class


@pytest.mark.parametrize(("kept", "missing"), [("r", "fake"), ("f", "real")])
def test_one_class_is_evaluated_as_far_as_it_goes_and_told(put, run, kept, missing):
    labels = put("m.json", {name: entry for name, entry in META.items() if name[0] == kept})
    scores = put("a.csv", {name: p for name, p in SCORES.items() if name[0] == kept})
    code, out, err = run("--predictions", scores, "--labels", labels)
    there = {"real": "fake", "fake": "real"}[missing]
    assert (code, err) == (0, "") and f"All videos are {there}: without {missing} ones, AUC" in flat(out)
    assert cells(out, "AUC") == cells(out, "equal error rate") == ["-"]
    assert cells(out, "  accuracy") == ["0.5000"]
    assert f"no ROC and no precision-recall plot: there is no {missing} video" in out
    written = {path.name for path in (scores.parent / "a.evaluation").iterdir()}
    assert written == {"metrics.json", "reliability.png", "histogram.png"}
    code, out, err = run("--predictions", scores, "--labels", labels, "--overwrite", "--calibrate", scores.parent / "c")
    assert (code, out) == (2, "") and f"all {there}" in err and not (scores.parent / "c").exists()


# Files


def strict(path):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(path.read_text(), parse_constant=refuse)


def test_metrics_file_is_strict_json_with_everything(meta, scores, run):
    run("--predictions", scores, "--labels", meta, "--by", "split", "original")
    data = strict(scores.parent / "a.evaluation/metrics.json")
    (row,) = data["predictions"]
    assert data["videos"] == {"evaluated": 4, "real": 2, "fake": 2}
    assert (data["settings"]["log_loss_clip"], data["settings"]["bootstrap_draws"]) == (1e-15, 20)
    assert row["metrics"]["auc"]["value"] == 0.75 and len(row["metrics"]["auc"]["interval"]) == 2
    assert row["confusion"] == {"real_as_real": 1, "real_as_fake": 1, "fake_as_real": 1, "fake_as_fake": 1}
    assert row["groups"]["original"]["r1.mp4"]["auc"] is None and set(row["groups"]["split"]) == {"train", "test"}


def test_without_draws_there_are_no_intervals(meta, scores, run):
    for draws, brackets in ((0, False), (5, True)):
        with pytest.raises(SystemExit):
            argv = ["--predictions", str(scores), "--labels", str(meta), "--overwrite", "--bootstrap", str(draws)]
            exit_on_user_error(lambda argv=argv: command.main(argv))
        row = strict(scores.parent / "a.evaluation/metrics.json")["predictions"][0]
        assert (row["metrics"]["accuracy"]["interval"] is not None) == brackets


def test_clip_is_used_and_told(meta, put, run):
    scores = put("a.csv", {**SCORES, "f1.mp4": 0})
    out = run("--predictions", scores, "--labels", meta, "--clip", "0.01")[1]
    # -ln 0.01 = 4.6052 and -ln 0.4 = 0.9163
    assert cells(out, "  of the fake videos") == ["2.7607"]
    assert "clipped to [0.01, 1 - 0.01]" in out


PLOTS = {"roc", "precision_recall", "reliability", "histogram"}


@pytest.mark.parametrize("count", [1, 9])
def test_plots_are_written_and_show_something(meta, put, run, tmp_path, count):
    random = np.random.default_rng(0)
    files = [put(f"${i}_<&>.csv", {name: round(random.random(), 2) for name in META}) for i in range(count)]
    assert run("--predictions", *files, "--labels", meta, "--out", tmp_path / "out")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.png" for name in PLOTS} | {"metrics.json"}
    for name in PLOTS:
        image = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("RGB")).astype(int)
        coloured = (image.max(2) - image.min(2) > 60).sum()
        assert image.shape[0] > 400 and coloured > 500, name
        # Nothing is cut off at the edges.
        assert all((edge == 255).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1])), name


@pytest.mark.parametrize(
    ("stem", "count"),
    [
        ("a", 1),
        ("long_name_of_a_model_", 8),
        ("final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0", 7),
        ("W" * 32, 2),
    ],
)
def test_legends_and_titles_cover_nothing_and_are_not_cut_off(meta, put, stem, count):
    files = [put(f"{stem}{i}.csv", SCORES) for i in range(count)]
    evaluation = evaluate(files, meta, bootstrap=20)
    for name, draw in plots(evaluation).items():
        figure = draw(evaluation)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        texts = [legend.get_window_extent(), figure._suptitle.get_window_extent()]
        others = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
        assert not any(text.overlaps(other) for text in texts for other in others), name
        titles = [axes.title.get_window_extent() for axes in figure.axes]
        inside = [(t.x0 > 0, t.x1 < figure.bbox.x1, t.y0 > 0, t.y1 < figure.bbox.y1) for t in texts + titles]
        assert all(map(all, inside)), name
        assert "4 videos: 2 real, 2 fake" in figure.get_suptitle()


def test_histograms_have_each_their_own_scale(meta, put):
    narrow = put("narrow.csv", dict(zip(META, (0.1, 0.1, 0.9, 0.9), strict=True)))
    wide = put("wide.csv", dict(zip(META, (0.1, 0.3, 0.7, 0.9), strict=True)))
    evaluation = scored(meta, narrow, wide)[1]
    heights = [axes.get_ylim()[1] for axes in plots(evaluation)["histogram"](evaluation).axes[:2]]
    assert heights[0] == 2 * heights[1]


def test_plots_are_svg_if_asked_for_and_replace_those_of_before(meta, scores, run):
    out = scores.parent / "a.evaluation"
    assert run("--predictions", scores, "--labels", meta)[0] == 0
    (out / "mine.txt").touch()
    assert run("--predictions", scores, "--labels", meta, "--format", "svg", "--overwrite")[0] == 0
    assert {path.name for path in out.iterdir()} == {f"{name}.svg" for name in PLOTS} | {"metrics.json", "mine.txt"}
    assert all(ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg") for name in PLOTS)


def test_earlier_results_are_replaced_only_if_asked_for(meta, scores, run):
    argv = ("--predictions", scores, "--labels", meta, "--calibrate", scores.parent / "c.json")
    assert run(*argv)[0] == 0
    before = (scores.parent / "a.evaluation/metrics.json").stat().st_mtime_ns
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and "--overwrite replaces it" in err
    assert (scores.parent / "a.evaluation/metrics.json").stat().st_mtime_ns == before
    code, _, err = run("--predictions", scores, "--labels", meta, "--out", scores.parent / "new", *argv[4:])
    assert code == 2 and "c.json: exists already" in err and not (scores.parent / "new").exists()
    assert run(*argv, "--overwrite")[0] == 0


def test_inputs_are_never_written_over(meta, scores, run):
    code, _, err = run("--predictions", scores, "--labels", meta, "--calibrate", meta, "--overwrite")
    assert code == 2 and "is one of the inputs" in err and json.loads(meta.read_text()) == META
    code, _, err = run("--predictions", scores, "--labels", meta, "--out", scores)
    assert code == 2 and "--out names a folder" in err


# Calibration


@pytest.fixture
def too_sure(put):
    """Scores of 0.99 and 0.01 of which one in ten is wrong: 0.9 and 0.1 would be right."""
    labels = {f"{i}": int(i % 2 ^ (i % 20 < 2)) for i in range(200)}
    return put("a.csv", {f"{i}": 0.99 if i % 2 else 0.01 for i in range(200)}), put("l.csv", labels)


def test_calibrate_fits_and_tells_what_it_gained_and_where_it_was_fitted(too_sure, run, tmp_path):
    code, out, _ = run("--predictions", too_sure[0], "--labels", too_sure[1], "--calibrate", tmp_path / "c.json")
    calibration = Calibration.load(tmp_path / "c.json")
    # ln 99 / ln 9
    assert code == 0 and calibration.temperature == pytest.approx(math.log(99) / math.log(9), rel=1e-4)
    assert (calibration.real, calibration.fake) == (100, 100)
    # before: -(0.9 ln 0.99 + 0.1 ln 0.01); after: -(0.9 ln 0.9 + 0.1 ln 0.1); scores were 0.09 off
    told = "log loss 0.4696 before, 0.3251 after; calibration error 0.0900 before, 0.0000 after"
    assert told in flat(out) and "fitted on these very videos" in flat(out)


def test_gain_of_a_calibration_is_not_that_of_its_clip(put, run, tmp_path):
    # Certain and wrong once in four: at the clip of 1e-15 that would cost 34.5 / 4 before, at 1e-6 it is 13.8 / 4.
    scores = {str(i): int(i % 2) for i in range(80)}
    files = put("a.csv", scores), put("l.csv", {name: p ^ (int(name) % 8 < 2) for name, p in scores.items()})
    argv = ("--predictions", files[0], "--labels", files[1])
    out = flat(run(*argv, "--calibrate", tmp_path / "c.json")[1])
    # After: -(0.75 ln 0.75 + 0.25 ln 0.25)
    assert "log loss 3.4539 before, 0.5623 after" in out
    assert "For both log losses the scores are clipped to [1e-06, 1 - 1e-06]." in out
    out = flat(run(*argv, "--calibration", tmp_path / "c.json", "--overwrite")[1])
    assert "Calibrated: scores clipped to [1e-06, 1 - 1e-06] first" in out
    assert "Calibrated:" not in run(*argv, "--calibration", tmp_path / "c.json", "--overwrite", "--clip", "1e-6")[1]


def test_calibration_can_be_judged_on_other_videos(too_sure, run, tmp_path):
    Calibration(math.log(99) / math.log(9)).save(tmp_path / "c.json")
    argv = ("--predictions", too_sure[0], too_sure[0], "--labels", too_sure[1], "--calibration", tmp_path / "c.json")
    assert run(*argv)[0] == 0
    rows = strict(tmp_path / "a.evaluation/metrics.json")["predictions"]
    folder = tmp_path.name
    names = [f"{folder}/a (1)", f"{folder}/a (2)", "mean"]
    assert [row["name"] for row in rows] == names + [f"{name} calibrated" for name in names]
    assert rows[-1]["metrics"]["log_loss"]["value"] == pytest.approx(0.325083, abs=1e-6)


def test_single_networks_are_not_calibrated_by_what_was_fitted_on_the_whole(crowd, tmp_path):
    Calibration(2.0).save(tmp_path / "c.json")
    rows = scored(crowd[1], details=crowd[0], per_model=True, calibration=tmp_path / "c.json")[1].rows
    assert [row.name for row in rows] == ["details", "m", "n", "details calibrated"]


def test_calibrate_takes_one_prediction(too_sure, run, tmp_path):
    argv = ("--predictions", too_sure[0], too_sure[0], "--labels", too_sure[1], "--calibrate", tmp_path / "c.json")
    code, _, err = run(*argv)
    assert code == 2 and "--calibrate" in err


def test_something_to_evaluate_is_needed(meta, run):
    code, _, err = run("--labels", meta)
    assert (code, err.count("\n")) == (2, 1) and "--predictions" in err


def test_real_data_roots_are_read(samples):
    labels = read_labels(samples / "train")
    assert sum(labels.fake.values()) == 24 and "dfdc_train_part_0/df_183_253.mp4" in labels.fake
    assert labels.find("183.mp4") == ["dfdc_train_part_0/183.mp4"] and not labels.problems
