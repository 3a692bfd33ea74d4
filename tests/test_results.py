"""Results on a disk: what two runs may not share, what is not written over, and which record counts."""

import json

import pytest

from common.errors import UserError
from inference.results import Results
from inference.stream import Video, VideoScore

SETTINGS = {"folder": "f"}


def score(name, label):
    return VideoScore(name, label=label, labels={"m": label})


@pytest.fixture
def interrupted(tmp_path):
    """A run that was to write a.csv and a.jsonl, and has one of two videos."""
    with Results(tmp_path / "a.csv", tmp_path / "a.jsonl") as run:
        run.begin(SETTINGS)
        run.append(("a", 1, 1), score("a", 0.25))
    return tmp_path


@pytest.mark.parametrize("shared", ["details", "report"])
def test_file_that_another_run_is_going_to_write_is_refused(tmp_path, shared):
    files = {shared: tmp_path / "shared"}
    with (
        Results(tmp_path / "a.csv", **files),
        pytest.raises(UserError, match=f"shared: another run is writing it; wait, or choose another --{shared}"),
    ):
        Results(tmp_path / "b.csv", **files).__enter__()
    with Results(tmp_path / "b.csv", **files):
        pass


@pytest.mark.parametrize("new", ["details", "report"])
def test_unfinished_run_writes_over_nothing_that_it_was_not_to_write(interrupted, new):
    (interrupted / "mine").write_text("mine")
    with pytest.raises(UserError, match="mine: exists already; --overwrite replaces it"):
        Results(interrupted / "a.csv", **{new: interrupted / "mine"}).__enter__()


def test_unfinished_run_writes_over_what_it_had_begun_to_write(interrupted):
    (interrupted / "a.jsonl").write_text("cut o")
    with Results(interrupted / "a.csv", interrupted / "a.jsonl") as run:
        assert run.begin(SETTINGS) == {("a", 1, 1)}
        run.finish([Video("a", None)], lambda record: {})
    assert (interrupted / "a.jsonl").read_text().count("\n") == 1


def test_run_of_a_version_that_noted_no_files_goes_on(interrupted):
    partial = interrupted / "a.csv.partial"
    head, *records = partial.read_text().splitlines(keepends=True)
    partial.write_text("".join([json.dumps({"settings": json.loads(head)["settings"]}) + "\n", *records]))
    (interrupted / "a.jsonl").write_text("cut o")
    (interrupted / "sub").mkdir()
    with Results(interrupted / "a.csv", interrupted / "sub" / ".." / "a.jsonl") as run:
        assert run.begin({**SETTINGS, "decoder": "pyav"}) == {("a", 1, 1)}


def test_video_that_is_again_what_it_was_is_scored_again(interrupted):
    def at_work():
        return Results(interrupted / "a.csv", interrupted / "a.jsonl")

    with at_work() as run:
        assert run.begin(SETTINGS) == {("a", 1, 1)}
        run.append(("a", 2, 2), score("a", 0.75))  # another file has its name now
    with at_work() as run:
        assert run.begin(SETTINGS) == {("a", 2, 2)}


def test_more_videos_may_be_wanted_later_and_fewer_not(tmp_path):
    for limit, allowed in ((4, True), (6, True), (5, False), (None, True), (9, False)):
        with Results(tmp_path / "a.csv") as run:
            settings = {**SETTINGS, **({"limit": limit} if limit else {})}
            if allowed:
                run.begin(settings)
            else:
                with pytest.raises(UserError, match=f"limit was .*, is {limit}"):
                    run.begin(settings)
