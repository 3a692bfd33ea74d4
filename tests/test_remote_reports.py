"""Reports on, and evaluations of, results in an object store: those of the same files on a disk."""

import re

import pytest

import evaluate
import report
from common.errors import UserError
from common.places import Remote
from tests.generated_details import unscored, video, write_details
from tests.object_store import upload


@pytest.fixture
def local(folder, tmp_path):
    """Videos with the details, the CSV and the labels of a run on them."""
    results = tmp_path / "results"
    results.mkdir()
    records = [video("004.mp4", 0.9), video("519.mp4", 0.2), unscored("fvkanshbie.mp4", "is broken")]
    write_details(results / "d.jsonl", records)
    rows = [f"{record['filename']},{record['label']!r}\n" for record in records]
    (results / "o.csv").write_text("filename,label\n" + "".join(rows))
    (results / "o.csv.errors.csv").write_text("filename,reason\nfvkanshbie.mp4,is broken\n")
    (results / "labels.csv").write_text("filename,label\n004.mp4,FAKE\n519.mp4,REAL\nfvkanshbie.mp4,REAL\n")
    return results


def without_date(page: bytes) -> bytes:
    return re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d", b"", page)


def test_report_in_a_bucket_shows_the_videos_that_are_there(local, folder, bucket, tmp_path, capsys):
    url, videos = upload(local, f"{bucket}/results"), upload(folder, f"{bucket}/videos")
    there = ["--details", f"{url}/d.jsonl", "--videos", videos, "--output", f"{url}/r.html"]
    assert report.main(there) == 0
    assert f"{url}/r.html: 3 videos" in capsys.readouterr().out
    here = ["--details", str(local / "d.jsonl"), "--videos", str(folder), "--output", str(tmp_path / "r.html")]
    assert report.main(here) == 0
    made = Remote.at(f"{url}/r.html").read_bytes()
    assert b"data:image/webp" in made
    assert without_date(made) == without_date((tmp_path / "r.html").read_bytes())
    with pytest.raises(UserError, match="exists already; --overwrite"):
        report.main(there)
    with pytest.raises(UserError, match="is one of the inputs"):
        report.main([*there[:-1], f"{url}/d.jsonl", "--overwrite"])


def test_evaluation_reads_predictions_details_and_labels_from_a_bucket(local, bucket, tmp_path, capsys):
    url = upload(local, f"{bucket}/results")
    for where, out in ((str(local), "here"), (url, "there")):
        inputs = ["--predictions", f"{where}/o.csv", "--details", f"{where}/d.jsonl", "--labels", f"{where}/labels.csv"]
        assert evaluate.main([*inputs, "--bootstrap", "0", "--out", str(tmp_path / out)]) == 0
    here, there = ((tmp_path / out / "metrics.json").read_text() for out in ("here", "there"))
    assert here.replace(str(local), url) == there
    capsys.readouterr()
    urls, both = [upload(local, f"{bucket}/{name}") for name in ("a", "c")], tmp_path / "both"
    inputs = ["--predictions", *(f"{a_url}/o.csv" for a_url in urls), "--labels", f"{url}/labels.csv"]
    assert evaluate.main([*inputs, "--bootstrap", "0", "--out", str(both)]) == 0
    table = capsys.readouterr().out
    assert "a/o" in table and "c/o" in table
    with pytest.raises(UserError, match=r"^s3://\*\*\*@bucket/c.json: --calibration takes no URLs"):
        evaluate.main([*inputs, "--out", str(both), "--overwrite", "--calibration", "s3://me:hidden@bucket/c.json"])
    with pytest.raises(UserError, match="--calibrate takes no URLs"):
        evaluate.main([*inputs[:2], *inputs[3:], "--out", str(both), "--overwrite", "--calibrate", f"{url}/t.json"])
    with pytest.raises(UserError, match="say with --out"):
        evaluate.main(["--predictions", f"{url}/o.csv", "--labels", str(local / "labels.csv")])
