"""No hostile video crashes or hangs a command, and each ends with a score or a reason."""

import pytest

from tests.hostile import fuzz
from tests.hostile.mutated_videos import OTHER_MUTATIONS, kinds, make_mutated_videos
from tests.hostile.mutations import BYTE_MUTATIONS

COUNT = 50


@pytest.fixture(scope="module")
def made(sample_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "videos"
    return folder, make_mutated_videos(folder, sample_root, COUNT, seed=1)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.stat().st_size < 1e7}


def test_same_seed_gives_the_same_files(made, sample_root, tmp_path):
    folder, names = made
    again = make_mutated_videos(tmp_path / "again", sample_root, 12, seed=1)
    assert list(again.items()) == list(names.items())[:12]
    assert contents(tmp_path / "again").items() <= contents(folder).items()


def test_every_kind_is_among_a_hundred():
    assert set(kinds(100)) == {*BYTE_MUTATIONS, *OTHER_MUTATIONS}


def test_prediction_scores_or_refuses_every_hostile_video(made, tmp_path):
    folder, names = made
    outcome = fuzz.predict(folder, list(names), tmp_path)
    assert (outcome.exit_code, outcome.hung, outcome.silent) == (0, False, [])
    assert outcome.done > 10 and len(outcome.refused) > 10
    assert all(outcome.refused.values())


def test_preprocessing_does_or_refuses_every_hostile_video(made, tmp_path):
    folder, names = made
    for outcome in fuzz.preprocess(folder, list(names), tmp_path):
        assert (outcome.exit_code, outcome.hung, outcome.silent) == (0, False, [])
        assert outcome.done > 10 and all(outcome.refused.values())


def test_table_says_what_is_searched_and_not_scored():
    outcomes = [fuzz.Outcome("predict_folder", done=1, searched=["a.mp4"]), fuzz.Outcome("preprocessing.x", done=2)]
    text = fuzz.table(outcomes, {"a.mp4": "directory", "b.mp4": "text"}, 0, "generated videos")
    assert text.count("folders named like videos") == 1 and "predict_folder searches 1 of" in text
