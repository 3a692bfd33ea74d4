"""What predict_folder.py adds to a run: a report, and calibrated probabilities."""

import json

import pytest

from common.errors import UserError
from evaluation.calibration import Calibration
from predict_folder import predict_folder
from tests.conftest import read_csv
from tests.report_pages import page


@pytest.fixture
def predict(folder, weights):
    """Scores the three sample videos."""
    options = {"weights_dir": weights, "frames": 4, "say": lambda line: None}
    return lambda *positional, **more: predict_folder(folder, ["small"], *positional, **{**options, **more})


def test_report_shows_the_labels_of_the_run_with_pictures(predict, tmp_path):
    summary = predict(tmp_path / "a.csv", report=tmp_path / "a.html")
    written = page(tmp_path / "a.html")
    assert {name: row["label"] for name, row in written.rows.items()} == pytest.approx(summary.labels, abs=1e-6)
    assert len(written.opened("004.mp4")["pictures"]) > 0
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == len(summary.labels)


def test_report_needs_no_other_output(predict, tmp_path):
    predict(report=tmp_path / "a.html", details=tmp_path / "d.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "d.jsonl"}


def test_report_is_not_written_over_what_is_there(predict, folder, tmp_path):
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        predict(tmp_path / "a.csv", report=tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "mine" and not (tmp_path / "a.csv").exists()
    predict(tmp_path / "a.csv", report=tmp_path / "a.html", overwrite=True)
    assert page(tmp_path / "a.html").rows
    for clash in ({"report": tmp_path / "b.csv"}, {"report": tmp_path / "b.jsonl"}):
        with pytest.raises(UserError, match="same file"):
            predict(tmp_path / "b.csv", **clash)
    with pytest.raises(UserError, match="one of the inputs"):
        predict(tmp_path / "b.csv", report=next(folder.rglob("004.mp4")), overwrite=True)


def test_failed_video_is_tried_again_by_the_same_command_with_its_report(folder, weights, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    content = next(folder.rglob("004.mp4")).read_bytes()
    (videos / "a.mp4").write_bytes(b"")
    (videos / "b.mp4").write_bytes(content)
    options = {"weights_dir": weights, "frames": 4, "report": tmp_path / "a.html", "say": lambda line: None}
    assert list(predict_folder(videos, ["small"], tmp_path / "a.csv", **options).failures) == ["a.mp4"]
    (videos / "a.mp4").write_bytes(content)
    assert not predict_folder(videos, ["small"], tmp_path / "a.csv", **options).failures
    rows = page(tmp_path / "a.html").rows
    assert rows["a.mp4"]["label"] == rows["b.mp4"]["label"]


def test_interrupted_report_is_written_by_the_same_command(predict, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("reporting.build.write_report", interrupted)
        predict(tmp_path / "a.csv", report=tmp_path / "a.html")
    said = []
    labels = predict(tmp_path / "a.csv", report=tmp_path / "a.html", say=said.append).labels
    assert "continuing: 3 of 3 videos were scored before" in said and any("a.html" in line for line in said)
    assert page(tmp_path / "a.html").rows.keys() == labels.keys()


def test_calibration_that_found_no_temperature_is_told(predict, tmp_path):
    Calibration(0.01, 1, 1).save(tmp_path / "c.json")
    said = []
    predict(details=tmp_path / "d.jsonl", calibration=tmp_path / "c.json", say=said.append)
    assert any("c.json: was fitted on too few or too easy videos" in line for line in said)


@pytest.mark.parametrize(("name", "reason"), [("/", "is a directory"), ("folder", "is a directory")])
def test_report_that_cannot_be_written_is_refused_before_the_work(predict, tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=reason):
        predict(tmp_path / "a.csv", report=tmp_path / name, overwrite=True)
    assert not (tmp_path / "a.csv").exists()


def test_link_to_the_report_stays_a_link(predict, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "r.html").write_text("an old one")
    (tmp_path / "r.html").symlink_to("real/r.html")
    predict(tmp_path / "a.csv", report=tmp_path / "r.html", overwrite=True)
    assert (tmp_path / "r.html").is_symlink() and "<html" in (tmp_path / "real" / "r.html").read_text()


def test_calibrated_probabilities_go_to_details_and_report_never_to_the_submission(predict, tmp_path):
    calibration = Calibration(temperature=0.2, real=5, fake=5)
    calibration.save(tmp_path / "t.json")
    plain = predict(tmp_path / "plain.csv").labels
    options = {"calibration": tmp_path / "t.json", "details": tmp_path / "d.jsonl", "report": tmp_path / "r.html"}
    predict(tmp_path / "a.csv", **options)
    assert {name: float(label) for name, label in read_csv(tmp_path / "a.csv")[1:]} == plain
    records = {r["filename"]: r for r in map(json.loads, (tmp_path / "d.jsonl").read_text().splitlines())}
    for name, label in plain.items():
        expected = calibration.apply(label) if records[name]["labels"] else None
        assert records[name]["calibrated"] == pytest.approx(expected)
        assert records[name]["calibration"] == {"temperature": 0.2, "file": "t.json"}
        assert page(tmp_path / "r.html").opened(name)["calibrated"] == pytest.approx(expected, abs=1e-4)
    assert records["004.mp4"]["calibrated"] != pytest.approx(plain["004.mp4"], abs=1e-4)
    assert records["fvkanshbie.mp4"]["calibrated"] is None


def test_file_that_is_no_calibration_is_refused_before_any_work(predict, tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(UserError, match="is no calibration"):
        predict(tmp_path / "a.csv", calibration=tmp_path / "t.json", details=tmp_path / "d.jsonl")
    assert not (tmp_path / "a.csv").exists()


def test_calibration_without_a_place_for_its_probabilities_is_refused(predict, tmp_path):
    Calibration(temperature=2.0).save(tmp_path / "t.json")
    with pytest.raises(UserError, match=r"--calibration: .* --details or --report"):
        predict(tmp_path / "a.csv", calibration=tmp_path / "t.json")
    assert not (tmp_path / "a.csv").exists()
