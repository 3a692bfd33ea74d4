"""What the tests of evaluate.py share: four videos, records of details, and reading what was printed."""

from evaluation.judge import evaluate
from evaluation.report import table

# Two real and two fake videos, one of each on the wrong side of 0.5; by hand in test_metrics.
META = {
    "r1.mp4": {"label": "REAL", "split": "train"},
    "r2.mp4": {"label": "REAL", "split": "test"},
    "f1.mp4": {"label": "FAKE", "split": "train", "original": "r1.mp4"},
    "f2.mp4": {"label": "FAKE", "split": "test", "original": "r2.mp4"},
}
SCORES = {"r1.mp4": 0.2, "r2.mp4": 0.6, "f1.mp4": 0.9, "f2.mp4": 0.4}


def scored(labels, *predictions, **options):
    """The scores of the first prediction by video, and the evaluation."""
    evaluation = evaluate(predictions, labels, bootstrap=0, **options)
    return evaluation.rows[0].scores.tolist(), evaluation


def cells(out, label):
    """The cells of a line of the table, without the intervals."""
    line = next(line for line in out.splitlines() if line.startswith(label + " "))
    return [cell for cell in line.removeprefix(label).split() if cell[0] not in "[" and cell[-1] not in "]"]


def printed(labels, *predictions, draws=0, **options):
    """The table that the command prints."""
    return table(evaluate(predictions, labels, bootstrap=draws, **options))


def flat(out):
    """What was printed, its lines joined: notes are wrapped where the paths of a test make them long."""
    return " ".join(out.split())


def columns(out):
    """The names above the cells of the table."""
    return next(line.split() for line in out.splitlines() if line.startswith(" " * 28))


def record(name, label, faces=(1,) * 15, size=(1920, 1080), **more):
    """A record of predict_folder.py --details with so many faces in each frame."""
    boxes = [
        {"frame": i, "box": [0, 0, 9, 9], "score": 1.0, "track": None} for i, n in enumerate(faces) for _ in range(n)
    ]
    known = {"filename": name, "label": label, "labels": {"m": label, "n": 1 - label} if boxes else {}}
    known |= {"width": size[0], "height": size[1], "frames": list(range(len(faces))), "faces": boxes}
    return known | {"seconds": {}, "warnings": [], "error": None, "models": ["m", "n"]} | more
