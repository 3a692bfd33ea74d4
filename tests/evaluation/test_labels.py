"""What evaluate.py reads and matches, and what it refuses."""

import json

import pytest

from common.errors import UserError
from evaluation.judge import evaluate
from evaluation.labels import read_labels
from evaluation.problems import Problems
from evaluation.report import as_data, table
from tests.evaluation.tables import META, SCORES, flat, scored

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


def test_video_that_several_predictions_lack_is_counted_once(put):
    names = [put(f"{name}.csv", {n: p for n, p in SCORES.items() if n != "r1.mp4"}) for name in "ab"]
    with pytest.raises(UserError, match=r"^1 labelled but not predicted: r1\.mp4 \(.*a\.csv\), r1\.mp4 \(.*b\.csv\); "):
        evaluate(names, put("meta.json", META))


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


def test_real_data_roots_are_read(samples):
    labels = read_labels(samples / "train")
    assert sum(labels.fake.values()) == 24 and "dfdc_train_part_0/df_183_253.mp4" in labels.fake
    assert labels.find("183.mp4") == ["dfdc_train_part_0/183.mp4"] and not labels.problems
