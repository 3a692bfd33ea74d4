"""Results in an object store: stored as they come, gone on with, and never by two runs at a time."""

import csv

import pytest

from common.errors import UserError
from common.places import Remote, place
from inference import remote_results
from inference.remote_results import results_at
from inference.stream import Video, VideoScore
from tests.object_store import objects

SETTINGS = {"folder": "f"}
VIDEOS = [Video("a", None), Video("b", None), Video("c", None)]


def results(bucket, overwrite=False, details=None):
    return results_at(Remote(f"{bucket}/o.csv"), details, overwrite)


def score(name, label):
    return VideoScore(name, label=label, labels={"m": label})


def add(run, *names, label=0.25):
    for name in names:
        run.append((name, 1, 1), score(name, label))


def table(bucket):
    return list(csv.reader((place(bucket) / "o.csv").read_bytes().decode().splitlines()))


@pytest.fixture
def at_once(monkeypatch):
    """Every record is stored when it is added."""
    monkeypatch.setattr(remote_results, "BETWEEN_PIECES", 0.0)


def test_finished_run_leaves_its_files_and_nothing_else(bucket):
    details = Remote(f"{bucket}/d.jsonl")
    with results(bucket, details=details) as run:
        assert run.begin(SETTINGS) == set()
        add(run, "a", "b", "c")
        summary = run.finish(VIDEOS, lambda record: {"models": ["m"]})
    assert str(summary) == f"{bucket}/o.csv: 3 videos, 3 scored"
    assert table(bucket) == [["filename", "label"], ["a", "0.25"], ["b", "0.25"], ["c", "0.25"]]
    assert sorted(objects(bucket)) == ["d.jsonl", "o.csv"]
    with pytest.raises(UserError, match=r"d\.jsonl: exists already|o\.csv: exists already"):
        results(bucket, details=details).__enter__()


def test_videos_that_failed_are_tried_again_by_the_same_run(bucket):
    with results(bucket) as run:
        run.begin(SETTINGS)
        add(run, "a", "b")
        run.append(("c", 1, 1), VideoScore("c", error="is broken"))
        summary = run.finish(VIDEOS, lambda record: {})
    assert str(summary).endswith(f"1 failed (0.5; the same command tries again); reasons in {bucket}/o.csv.errors.csv")
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.5"]]
    with results(bucket) as run:
        assert run.begin(SETTINGS) == {("a", 1, 1), ("b", 1, 1)}
        add(run, "c")
        run.finish(VIDEOS, lambda record: {})
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.25"]]
    assert sorted(objects(bucket)) == ["o.csv"]


def test_interrupted_run_has_stored_what_it_did_and_goes_on(bucket):
    with pytest.raises(KeyboardInterrupt), results(bucket) as run:
        run.begin(SETTINGS)
        add(run, "a", "b")
        raise KeyboardInterrupt
    assert "o.csv" not in objects(bucket)
    with results(bucket) as run:
        assert run.begin(SETTINGS) == {("a", 1, 1), ("b", 1, 1)}
        add(run, "c", label=0.75)
        run.finish(VIDEOS, lambda record: {})
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.75"]]


def test_killed_run_loses_what_came_after_its_last_piece(bucket, at_once, monkeypatch):
    killed = results(bucket).__enter__()
    killed.begin(SETTINGS)
    add(killed, "a")
    monkeypatch.setattr(remote_results, "BETWEEN_PIECES", 1e9)
    add(killed, "b")
    with results(bucket) as run:
        assert run.begin(SETTINGS) == {("a", 1, 1)}


def test_later_run_goes_on_and_the_earlier_ends_in_a_line(bucket, at_once):
    with results(bucket) as earlier:
        earlier.begin(SETTINGS)
        with results(bucket) as later:
            later.begin(SETTINGS)
            with pytest.raises(UserError, match="another run has begun to write it; this one ends"):
                add(earlier, "a", label=0.9)
            add(later, "a", "b", "c")
            later.finish(VIDEOS, lambda record: {})
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.25"]]
    assert list(objects(bucket)) == ["o.csv"]


def test_earlier_run_does_not_finish_over_the_later_ones_results(bucket):
    with results(bucket) as earlier:
        earlier.begin(SETTINGS)
        with results(bucket) as later:
            later.begin(SETTINGS)
            add(later, "a", "b", "c")
            later.finish(VIDEOS, lambda record: {})
        with pytest.raises(UserError, match="another run has begun to write it"):
            earlier.finish([], lambda record: {})
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.25"]]


def test_other_settings_are_refused_and_do_not_disturb_the_run(bucket, at_once):
    with results(bucket) as run:
        run.begin(SETTINGS)
        add(run, "a")
        with (
            pytest.raises(UserError, match=rf"{bucket}/o\.csv: cannot be continued \(folder was f, is g\)"),
            results(bucket) as other,
        ):
            other.begin({"folder": "g"})
        add(run, "b", "c")
        run.finish(VIDEOS, lambda record: {})
    assert len(table(bucket)) == 4


def test_overwriting_begins_anew_and_can_itself_be_gone_on_with(bucket):
    with pytest.raises(KeyboardInterrupt), results(bucket) as run:
        run.begin(SETTINGS)
        add(run, "a", "b")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), results(bucket, overwrite=True) as run:
        assert run.begin({"folder": "g"}) == set()
        add(run, "a", label=0.75)
        raise KeyboardInterrupt
    with results(bucket) as run:
        assert run.begin({"folder": "g"}) == {("a", 1, 1)}
        add(run, "b", "c", label=0.75)
        run.finish(VIDEOS, lambda record: {})
    assert table(bucket)[1:] == [["a", "0.75"], ["b", "0.75"], ["c", "0.75"]]


def test_run_that_went_on_without_a_limit_keeps_none(bucket):
    limited = {**SETTINGS, "limit": 2}
    for settings, name in ((limited, "a"), (SETTINGS, "b")):
        with pytest.raises(KeyboardInterrupt), results(bucket) as run:
            run.begin(settings)
            add(run, name)
            raise KeyboardInterrupt
    with pytest.raises(UserError, match="limit was None, is 2"), results(bucket) as run:
        run.check(limited)
    with results(bucket) as run:
        assert run.begin(SETTINGS) == {("a", 1, 1), ("b", 1, 1)}


def test_lost_answer_of_the_store_ends_no_run(bucket, monkeypatch):
    create = Remote.create
    # The store has it, the answer does not arrive, and what is tried again is told that it is there already.
    monkeypatch.setattr(Remote, "create", lambda self, content: create(self, content) and create(self, content))
    with results(bucket) as run:
        run.begin(SETTINGS)
        add(run, "a", "b", "c")
        run.finish(VIDEOS, lambda record: {})
    assert table(bucket)[1:] == [["a", "0.25"], ["b", "0.25"], ["c", "0.25"]]


def test_bucket_that_is_not_there_is_noticed_at_once(bucket):
    with pytest.raises(UserError, match=r"s3://no-such-bucket/o\.csv\.partial: The specified bucket does not exist"):
        results("s3://no-such-bucket").__enter__()


def test_urls_and_paths_are_not_mixed(bucket, tmp_path):
    with pytest.raises(UserError, match="all of them URLs, or none"):
        results(bucket, details=tmp_path / "d.jsonl")
    with pytest.raises(UserError, match="all of them URLs, or none"):
        results_at(tmp_path / "o.csv", Remote(f"{bucket}/d.jsonl"), False)
    details = Remote(f"{bucket}/o.csv.errors.csv")
    with pytest.raises(UserError, match="--details is the same file"):
        results(bucket, details=details).__enter__()
