"""Details, groups, videos without a score and of one class."""

import json
import math

import pytest

from common.errors import UserError
from evaluation.predictions import count_faces
from evaluation.report import as_data, table
from tests.evaluation.tables import META, SCORES, cells, columns, flat, printed, record, scored

# Details


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
