"""The report as a file: what is read, what it says, its pictures and their budget, what the command refuses."""

import re
from functools import partial

import pytest

import report as command
from common.errors import UserError, exit_on_user_error
from common.files import held
from evaluation.judge import evaluate
from evaluation.labels import truths_of
from inference.details import checked, read_details
from inference.explanations import shown
from predict_folder import predict_folder
from reporting.build import write_report
from reporting.summary import summary_of
from tests import generated_details as generated
from tests.generated_details import HOSTILE, TRUTH, many, unscored, varied, with_clips, write_details, write_truth
from tests.report_pages import page, written_page


@pytest.fixture
def written(tmp_path):
    """Writes a report on records, returns it as a page."""
    return partial(written_page, tmp_path / "report.html")


@pytest.fixture
def run_report(tmp_path, capsys):
    """Runs the command on records; returns (exit code, stdout, stderr, the output's path)."""

    def call(*options, records=None, output=tmp_path / "report.html"):
        details = write_details(tmp_path / "details.jsonl", varied() if records is None else records)
        argv = ["--details", details, "--output", output, *options]
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: command.main([str(a) for a in argv]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err, output

    return call


@pytest.fixture(scope="module")
def scored(folder, weights, tmp_path_factory):
    """The details that predict_folder writes about three videos today."""
    path = tmp_path_factory.mktemp("scored") / "details.jsonl"
    options = {"weights_dir": weights, "frames": 6, "say": lambda line: None}
    predict_folder(folder, ["small", "other"], path.with_suffix(".csv"), details=path, **options)
    return path


# What is read


def test_run_of_predict_folder_becomes_a_report_with_its_labels_and_pictures(scored, folder, tmp_path):
    records = list(read_details(scored))
    written = page(write_report(records, tmp_path / "r.html", videos=folder).path)
    assert {n: row["label"] for n, row in written.rows.items()} == {
        r["filename"]: pytest.approx(r["label"], abs=1e-6) for r in records
    }
    opened = written.opened("004.mp4")
    assert len(opened["faces"]) == len(opened["shown"]) == 6 and len(opened["pictures"]) == 6
    assert written.opened("fvkanshbie.mp4")["pictures"]  # no face in it: the frames show why


def test_older_details_without_tracks_are_read(written):
    opened = written(varied()).opened("older/version.mp4")
    assert opened["strategy"] == "confident" and opened["faces"][0][1] is None
    assert "mean of" in opened["labels"][0]["why"][0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is no JSON object"),
        (f'{{"label": {"1" * 5000}}}', "cannot be read as JSON lines: "),
        ('{"filename": "a.mp4"}', "record 1: label"),
        ('{"filename": 3, "label": 0.5}', "record 1: filename: "),
        ('{"filename": "a.mp4", "label": 1.5}', "record 1: label"),
        ('{"filename": "a.mp4", "label": 0.5, "faces": [{"frame": 1, "box": [1]}]}', "record 1: faces.0.box"),
        ("", "no videos in it"),
    ],
)
def test_file_that_is_no_details_is_one_line_that_names_it(tmp_path, capsys, line, reason):
    (tmp_path / "odd.jsonl").write_text(line + "\n")
    with pytest.raises(SystemExit) as exit_info:
        argv = ["--details", str(tmp_path / "odd.jsonl"), "--output", str(tmp_path / "r.html")]
        exit_on_user_error(lambda: command.main(argv))
    err = capsys.readouterr().err
    assert (exit_info.value.code, err.count("\n")) == (2, 1)
    assert "odd.jsonl" in err and reason in err
    assert not (tmp_path / "r.html").exists()


def test_labels_come_from_json_and_csv_and_are_found_without_the_folder(tmp_path):
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0.0\nc.mp4,real\n")
    files = [tmp_path / "labels.csv", write_truth(tmp_path / "metadata.json", {"d.mp4": "FAKE"})]
    names = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "part_3/a.mp4", "other.mp4"]
    assert truths_of(names, files) == ["FAKE", "REAL", "REAL", "FAKE", "FAKE", None]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "video,truth\na,1\n"), ("a.csv", "filename,label\na,perhaps\n"), ("a.json", "[1]"), ("a.json", "{")],
)
def test_labels_that_are_none_name_their_file(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / name))):
        truths_of(["a"], [tmp_path / name])


def test_labels_that_contradict_each_other_are_refused(tmp_path):
    files = [write_truth(tmp_path / f"{label}.json", {"a.mp4": label}) for label in ("FAKE", "REAL")]
    with pytest.raises(UserError, match=r"a\.mp4 is REAL here and FAKE elsewhere"):
        truths_of(["a.mp4"], files)


# What it says


def test_explanation_names_the_label_in_the_file(written):
    records = [record for record in varied() if record["labels"]]
    result = written(records)
    for record in records:
        for entry in result.opened(record["filename"])["labels"]:
            named = re.search(r"(\d\.\d+)$", entry["why"][0])[1]
            assert float(named) == pytest.approx(record["labels"][entry["model"]], abs=0.0051)
            assert "another label" not in entry["why"][0]


def test_label_that_its_numbers_do_not_give_is_said_to_be_so(written):
    record = generated.video("a.mp4", 0.9)
    record["labels"]["first_network"] = 0.123
    why = written([record]).opened("a.mp4")["labels"][0]["why"]
    assert why[0] == "0.12 in the file, though its numbers give another label:" and "mean of those" in why[1]


def test_clips_are_explained_by_track_and_kept_as_spans(written):
    opened = written([with_clips("a.mp4", 0.85)]).opened("a.mp4")
    frame, clip = (entry["why"] for entry in opened["labels"])
    assert frame[0].startswith("mean of 2 tracks") and frame[1].startswith("track 0: ")
    assert clip[0].startswith("the most fake of 6 tracks")
    assert clip[1].startswith("track 0, frames 20-83: the only one of the clips decides")
    assert opened["spans"][0][:4] == [0, "clip", 20, 83] and len(opened["spans"]) == 6


def test_tracks_without_a_face_in_the_frames_looked_at_are_shown_by_their_own(written):
    record = with_clips("a.mp4", 0.85) | {"faces": [], "models": ["frame_network", "clip_network"]}
    faces = written([record]).opened("a.mp4")["faces"]
    assert {face[1] for face in faces} == {0, 1} and len(faces) == 6 * 8
    assert [face[0] for face in faces] == sorted(face[0] for face in faces)


@pytest.mark.parametrize("label", [0.62499703, 0.625, 0.50000001, 0.98999999])
def test_numbers_are_on_the_page_as_exactly_as_they_are_shown(written, label):
    faces = [{"frame": 0, "box": [0, 0, 9, 9], "probabilities": [label]}]
    record = generated.video("a.mp4", 0.9, models=["net"], faces=faces, label=label, labels={"net": label})
    result = written([record | {"calibrated": label}])
    opened = result.opened("a.mp4")
    assert result.rows["a.mp4"]["label"] == opened["labels"][0]["label"] == opened["calibrated"] == label
    face = opened["faces"][0][4][0]
    assert shown(face) == shown(label) and (face > 0.5) == (label > 0.5)
    assert opened["labels"][0]["why"] == [f"the only one of the faces decides, {shown(label)}"]


def test_networks_that_disagree_are_told_apart(written):
    record = generated.video("a.mp4", 0.9)
    for face in record["faces"]:
        face["probabilities"] = [0.9, 0.2]
    record["labels"] = {"first_network": 0.9, "second_network": 0.2}
    said = written([record]).opened("a.mp4")["agreement"]
    assert said[0] == "2 networks, 1 on the fake side, 1 on the real side: from 0.20 (B) to 0.90 (A), 0.70 apart"
    assert said[1] == "on 0 of 32 faces all are on the same side of 0.5"


def test_agreement_on_faces_is_of_the_networks_that_see_single_faces(written):
    record = with_clips("a.mp4", 0.85)
    record["models"].append("third_network")
    record["labels"]["third_network"] = record["labels"]["frame_network"]
    for face in record["faces"]:
        face["probabilities"].append(face["probabilities"][0])
    said = written([record]).opened("a.mp4")["agreement"]
    assert said[1] == "on 64 of 64 faces the 2 networks of single frames (A, C) are on the same side of 0.5"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("is empty (0 bytes)", "not readable"),
        ("cannot be opened: Permission denied", "not readable"),
        ("decode failed: ValueError: odd", "decode errors"),
        ("classify failed: MemoryError: ", "other"),
    ],
)
def test_video_that_could_not_be_read_is_not_one_with_decode_errors(written, error, kind):
    assert written([unscored("a.mp4", error)]).rows["a.mp4"]["kinds"] == [kind]


def test_warnings_are_sorted_into_kinds(written):
    rows = written(varied()).rows
    assert rows["few.mp4"]["kinds"] == ["few faces", "small faces"]
    assert rows["dark.mp4"]["kinds"] == ["dark frames", "decode errors"]
    assert rows["nobody.mp4"]["kinds"] == ["no face"] and rows["broken.mp4"]["kinds"] == ["not readable"]
    mixed = {**generated.video("mixed.mp4", 0.9), "warnings": ["no face of the kind that x must be shown: not counted"]}
    assert written([mixed]).rows["mixed.mp4"]["kinds"] == ["other"]
    assert rows["clearly_fake.mp4"]["warnings"] == []


def test_summary_counts_and_judges(tmp_path):
    labels = write_truth(tmp_path / "metadata.json")
    text = write_report(varied(), tmp_path / "r.html", labels=[labels]).path.read_text()
    assert "8 of 10 videos scored: 5 above 0.5 (fake side), 3 not (real side)" in text
    assert "1 without a face" in text and "1 could not be read or failed" in text
    assert "3 of 4 with a known label are on the right side of 0.5 (75%)" in text


def test_summary_has_the_numbers_of_evaluate(tmp_path):
    truth = TRUTH | {"broken.mp4": "FAKE", "nobody.mp4": "REAL", "clearly_real.mp4": "REAL"}
    labels = write_truth(tmp_path / "metadata.json", truth | {"dark.mp4": "REAL"})
    details = write_details(tmp_path / "details.jsonl", varied())
    judged = evaluate([], labels, details=details, ignore_missing=True, bootstrap=0).rows[0].metrics
    said = next(
        line
        for line in summary_of(checked(varied()), truths_of([r["filename"] for r in varied()], [labels]))
        if "known label" in line
    )
    numbers = re.fullmatch(
        r"(\d) of 6 with a known label are on the right side of 0\.5 \(([\d.]+)%\); "
        r"log loss ([\d.]+), AUC ([\d.]+); 2 unscored count as 0\.5",
        said,
    )
    right, share, loss, area = map(float, numbers.groups())
    assert right / 6 == pytest.approx(judged["accuracy"]) and share / 100 == pytest.approx(right / 6, abs=6e-4)
    assert (loss, area) == pytest.approx((judged["log_loss"], judged["auc"]), abs=6e-5)
    assert 0 < area < 1


def test_calibrated_scores_say_what_calibrated_them(written, tmp_path):
    scaled = {"calibrated": 0.09, "calibration": {"temperature": 1.3171, "file": "t.json"}}
    result = written([generated.video("a.mp4", 0.2, **scaled), generated.video("b.mp4", 0.2, calibrated=0.1)])
    assert result.opened("a.mp4")["calibratedBy"] == "temperature 1.32"
    assert result.opened("b.mp4")["calibratedBy"] is None  # as older versions wrote it
    assert "calibrated scores are by temperature 1.32 (t.json)" in (tmp_path / "report.html").read_text()


# The file


def test_page_has_no_element_that_could_load_anything(written):
    for tag, attributes in written(varied()).elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "data:,") == "data:,", (tag, attributes)
    assert not {"iframe", "object", "embed", "base", "form action"} & {tag for tag, _ in written(varied()).elements}


def test_policy_forbids_everything_but_the_pages_own_scripts_and_pictures(written):
    policy = next(a["content"] for _, a in written(varied()).elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


def test_hostile_names_stay_inside_their_json(written):
    result = written([generated.video(HOSTILE, 0.6), unscored("</script><b>", "<i>reason</i>")])
    assert {HOSTILE, "</script><b>"} == set(result.rows)
    assert result.rows["</script><b>"]["warnings"] == ["not scored: <i>reason</i>"]
    assert not {"img", "b", "i"} & {tag for tag, _ in result.elements}


def test_names_that_are_no_unicode_do_not_keep_a_report_from_being_written(written):
    records = [generated.video("a\udcff.mp4", 0.6, models=["net\udcff"])]
    assert list(written(records).rows) == ["a\udcff.mp4"]


def test_thousand_videos_by_seven_networks_leave_most_of_the_file_to_pictures(tmp_path):
    path = write_report(many(1000, models=[f"net_{i}" for i in range(7)]), tmp_path / "r.html").path
    assert path.stat().st_size < 9e6


# The command


def test_command_says_what_it_wrote(run_report, tmp_path):
    code, out, err, path = run_report("--labels", write_truth(tmp_path / "metadata.json"))
    assert (code, err) == (0, "")
    assert out == f"{path}: 10 videos, {path.stat().st_size / 1e6:.1f} MB\n"
    assert page(path).rows["dark.mp4"]["truth"] == "FAKE"


def test_existing_file_is_replaced_only_when_asked(run_report, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    code, _, err, path = run_report()
    assert code == 2 and "--overwrite" in err and path.read_text() == "mine"
    assert run_report("--overwrite")[0] == 0 and path.read_text() != "mine"


def test_details_are_not_written_over(run_report, tmp_path):
    code, _, err, path = run_report("--overwrite", output=tmp_path / "details.jsonl")
    assert code == 2 and "one of the inputs" in err and path.read_text().startswith("{")


def test_videos_are_not_written_over(run_report, tmp_path):
    for name, options in (("clip.mp4", ("--videos", tmp_path)), ("clip", ("--videos", tmp_path / "clip"))):
        (tmp_path / name).write_bytes(b"a video")
        code, _, err, path = run_report("--overwrite", *options, output=tmp_path / name)
        assert (code, err.count("\n")) == (2, 1) and path.read_bytes() == b"a video"


def test_two_reports_are_not_written_to_one_file(run_report, tmp_path):
    with held(tmp_path / "report.html.lock", "busy"):
        code, _, err, path = run_report()
    assert code == 2 and "another run is writing it" in err and not path.exists()
    assert run_report()[0] == 0 and not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--videos", "/nowhere"], "/nowhere: no such folder"),
        (["--labels", "/nowhere.csv"], "/nowhere.csv: no such file or folder of labels"),
        (["--heatmaps", "2"], "go together"),
        (["--models", "net"], "go together"),
        (["--max-megabytes", "nan"], "not a number of at least 1"),
        (["--workers", "0"], "whole number"),
    ],
)
def test_what_cannot_be_done_is_one_line(run_report, options, reason):
    code, out, err, path = run_report(*options)
    assert (code, out, err.count("\n")) == (2, "", 1) and reason in err
    assert not path.exists()


def test_one_video_is_no_videos(run_report):
    assert ": 1 video, " in run_report(records=varied()[:1])[1]


def test_video_that_is_in_the_details_twice_is_refused_by_name(run_report):
    code, _, err, path = run_report(records=[*varied(), generated.video("few.mp4", 0.9)])
    assert code == 2 and err.endswith("records 5 and 11 are of the same video: few.mp4\n") and not path.exists()


def test_folder_of_other_videos_is_mentioned(run_report, tmp_path):
    code, out, _, path = run_report("--videos", tmp_path)
    assert code == 0 and path.exists()
    assert out.startswith(f"none of the videos is in {tmp_path}; is this the folder that was scored?\n")
    (tmp_path / "few.mp4").touch()
    assert "none of the videos" not in run_report("--videos", tmp_path, "--overwrite")[1]


def test_labels_of_other_videos_are_mentioned(run_report, tmp_path):
    assert "none of the labels" in run_report("--labels", write_truth(tmp_path / "m.json", {"other": "REAL"}))[1]
