"""Files to evaluate, and the command."""

import csv
import json

import pytest

import evaluate as command
from common.errors import exit_on_user_error
from tests.evaluation.tables import META, SCORES, record


@pytest.fixture
def put(tmp_path):
    """Writes a file: a dict as JSON, rows as CSV (scores as filename,label), text as it is; returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv" and not isinstance(content, str):
            rows = [("filename", "label"), *content.items()] if isinstance(content, dict) else content
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
        elif path.suffix == ".jsonl" and not isinstance(content, str):
            path.write_text("".join(json.dumps(record) + "\n" for record in content))
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command with few draws; returns (exit code, stdout, stderr)."""

    def call(*argv):
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: command.main([*map(str, argv), *(["--bootstrap", "20"] * ("-h" not in argv))]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return call


@pytest.fixture
def meta(put):
    return put("metadata.json", META)


@pytest.fixture
def scores(put):
    return put("a.csv", SCORES)


@pytest.fixture
def crowd(put):
    """Twelve videos: of one face, of two and of three, two real and two fake each, worse the more faces they show."""
    labels, records = {}, []
    for faces, (reals, fakes) in {
        1: ([0.1, 0.2], [0.8, 0.9]),
        2: ([0.1, 0.7], [0.8, 0.9]),
        3: ([0.6, 0.7], [0.3, 0.9]),
    }.items():
        for label, scores in (("REAL", reals), ("FAKE", fakes)):
            for i, score in enumerate(scores):
                name = f"{faces}_{label}_{i}.mp4"
                labels[name] = {"label": label}
                records.append(record(name, score, [faces] * 12, size=(360 * faces, 640 * faces)))
    return put("details.jsonl", records), put("crowd.json", labels)
