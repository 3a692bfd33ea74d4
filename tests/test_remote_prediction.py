"""Prediction of a folder in an object store, results beside it: what a disk gives, byte for byte."""

import json
import tempfile

import pytest

import predict_folder as command
from tests.object_store import objects, upload
from tests.test_resuming import interrupted_after


@pytest.fixture
def videos_url(folder, bucket):
    url = upload(folder, f"{bucket}/in")
    for name in ("broken.mp4", "sub/.hidden.mp4", "root/part/metadata.json", "root/clips/a.mp4", "note.txt"):
        (command.place(url) / name).write_bytes(b"")
    return url


@pytest.fixture
def local(folder, tmp_path):
    """The same on a disk."""
    copy = tmp_path / "in"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "broken.mp4").write_bytes(b"")
    return copy


def without_times(lines):
    records = [json.loads(line) for line in lines.decode().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def test_everything_in_the_bucket_is_as_on_a_disk(run, videos_url, local, bucket, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    code, out, err = run("--details", f"{bucket}/out/d.jsonl", test_dir=videos_url, output=f"{bucket}/out/o.csv")
    assert code == 0, err
    assert f"{bucket}/out/o.csv: 4 videos, 2 scored" in out
    assert list(scratch.iterdir()) == []
    run("--details", tmp_path / "d.jsonl", test_dir=local, output=tmp_path / "o.csv")
    made = objects(f"{bucket}/out")
    # One cannot be read: what is needed to try it again stays.
    assert {name.partition("/")[0] for name in made} == {"d.jsonl", "o.csv", "o.csv.errors.csv", "o.csv.partial"}
    assert made["o.csv"] == (tmp_path / "o.csv").read_bytes()
    assert made["o.csv.errors.csv"] == (tmp_path / "o.csv.errors.csv").read_bytes()
    assert without_times(made["d.jsonl"]) == without_times((tmp_path / "d.jsonl").read_bytes())
    assert run("--frames", "3", test_dir=videos_url, output=f"{bucket}/out/o.csv")[0] == 2


def test_interrupted_run_goes_on_where_it_was(run, videos_url, labels, bucket, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        code, _, err = run(test_dir=videos_url, output=f"{bucket}/o.csv")
    assert code == 130 and "the same command goes on" in err
    assert "o.csv" not in objects(bucket)
    code, out, err = run(test_dir=videos_url, output=f"{bucket}/o.csv")
    assert code == 0 and "continuing: 2 of 4 videos" in out, err
    rows = (line.split(",") for line in objects(bucket)["o.csv"].decode().splitlines()[1:])
    assert {name: float(label) for name, label in rows} == {**labels, "broken.mp4": 0.5}


def test_one_video_and_a_local_output(run, videos_url, labels, tmp_path):
    code, _, err = run(test_dir=f"{videos_url}/004.mp4")
    assert code == 0, err
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == f"004.mp4,{labels['004.mp4']!r}"


def test_video_that_goes_away_costs_itself_alone(run, videos_url, labels, tmp_path, monkeypatch):
    find = command.find_videos

    def find_and_remove(url):
        videos = find(url)
        (url / "004.mp4").unlink()
        return videos

    monkeypatch.setattr(command, "find_videos", find_and_remove)
    code, _, err = run(test_dir=videos_url)
    assert code == 0, err
    errors = (tmp_path / "out.csv.errors.csv").read_text()
    assert f"004.mp4,cannot be fetched: {videos_url}/004.mp4: no such file or folder" in errors
    assert f"519.mp4,{labels['519.mp4']!r}" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("test_dir", "output", "reason"),
    [
        ("s3://no-such-bucket/in", "{bucket}/o.csv", "s3://no-such-bucket/in: The specified bucket does not exist"),
        ("{bucket}/nothing", "{bucket}/o.csv", "no such file or directory, or nothing in it"),
        ("{url}", "s3://no-such-bucket/o.csv", "The specified bucket does not exist"),
        ("{url}/004.mp4", "{url}/004.mp4", "is one of the inputs; it is not written over"),
        ("{url}/note.txt", "{bucket}/o.csv", "no videos in it"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, videos_url, bucket, test_dir, output, reason):
    names = {"bucket": bucket, "url": videos_url}
    code, _, err = run("--overwrite", test_dir=test_dir.format(**names), output=output.format(**names))
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and reason in err
