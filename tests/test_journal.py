"""The records of a run: results by number of faces, as a table to look at and as a file."""

import pytest

from training.tools.journal import Journal, face_table
from training.tools.metrics import judge

# One face: a fake found and one missed, a real. Two: a real. Thirty-three: a real taken for a fake.
FILES = [
    ("a", "0_0.png", 0.9, 1),
    ("b", "0_0.png", 0.2, 1),
    ("c", "0_0.png", 0.3, 0),
    ("d", "0_0.png", 0.1, 0),
    ("d", "0_1.png", 0.4, 0),
    ("e", "0_0.png", 0.6, 0),
]
FACES = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 33}
ROW = dict.fromkeys(("epoch", "iteration", "lr", "train_loss", "train_fake_loss", "train_real_loss"), 0)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path, 0)
    yield journal
    journal.close()


def test_results_by_faces_are_an_aligned_table():
    assert face_table(judge(FILES, "max", FACES).by_faces) == [
        "faces  videos  tn  fp  fn  tp  accuracy  precision  recall",
        "    1       3   1   0   1   1    0.6667     1.0000  0.5000",
        "    2       1   1   0   0   0    1.0000          -       -",
        "   33       1   0   1   0   0    0.0000     0.0000       -",
    ]


def test_results_by_faces_are_a_file_of_the_latest_validation(journal, tmp_path):
    journal.write_epoch(ROW, [0.1], judge(FILES[1:4], "max", FACES), fold=5)
    journal.write_epoch({**ROW, "epoch": 1}, [0.1], judge(FILES, "max", FACES), fold=5)
    journal.write_epoch({**ROW, "epoch": 2}, [0.1], None, fold=5)
    assert (tmp_path / "faces_5.csv").read_text() == (
        "faces,videos,tn,fp,fn,tp,accuracy,precision,recall\n"
        f"1,3,1,0,1,1,{2 / 3!r},1.0,0.5\n"
        "2,1,1,0,0,0,1.0,nan,nan\n"
        "33,1,0,1,0,0,0.0,0.0,nan\n"
    )


def test_nothing_is_shown_or_written_where_faces_are_not_counted(journal, tmp_path):
    verdict = judge(FILES)
    assert face_table(verdict.by_faces) == []
    journal.write_epoch(ROW, [0.1], verdict, fold=0)
    assert (tmp_path / "predictions_0.json").exists() and not list(tmp_path.glob("faces_*"))
