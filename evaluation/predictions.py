"""Probabilities by file name: what predict_folder.py wrote as a CSV or as details, or anybody else in that form."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.spreadsheets import from_text
from evaluation.labels import read_table
from evaluation.problems import Problems
from inference.details import json_lines

NO_SCORE = 0.5
NO_FACE = "no face found"
MOST_FACES = 3


@dataclass
class Predictions:
    """A file's predictions: P(fake) by file name for each of its rows (NaN: unusable), one row for a CSV.

    `reasons` says of file names why they could not be scored and got 0.5.
    """

    path: Path
    rows: dict[str, dict[str, float]]
    reasons: dict[str, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)

    @property
    def filenames(self) -> Iterable[str]:
        return next(iter(self.rows.values()))

    def add(self, filename: str, probabilities: Mapping[str, object]) -> None:
        """The probability of `filename` in each row; a second mention makes it unusable, as does what is not one."""
        seen = filename in self.filenames
        if seen:
            self.problems.add("duplicate prediction", filename)
        for row, probability in probabilities.items():
            value = math.nan if seen else _probability(probability)
            if not seen and math.isnan(value):
                by = () if len(self.rows) == 1 else (f"by {row}",)
                self.problems.add("bad probability", filename, str(probability) or "nothing", *by)
            self.rows[row][filename] = value


@dataclass(frozen=True)
class Record:
    """What details tell of a video. `faces` is 0 to 3, `shorter_side` in pixels; None where it is not known."""

    label: object
    labels: Mapping[str, object]
    faces: int | None
    shorter_side: int | None
    reason: str | None


@dataclass
class Details:
    """The records of a details file, as (file name, Record), and the networks that its labels are the mean of."""

    path: Path
    records: list[tuple[str, Record]]
    models: list[str]

    def predictions(self, name: str | None, per_model: bool) -> Predictions:
        """The labels as a row `name` (None: without it), and with `per_model` a row for each network."""
        models = self.models if per_model else []
        name = f"{name} (mean)" if name in models else name
        result = Predictions(self.path, {row: {} for row in ([name] if name else []) + models})
        for filename, record in self.records:
            # A network has nothing to say of a video without a face: 0.5, like the ensemble.
            of_models = {model: record.labels.get(model, NO_SCORE) for model in models}
            result.add(filename, ({name: record.label} if name else {}) | of_models)
            if record.reason:
                result.reasons[filename] = record.reason
        return result


def read_predictions(path: str | Path, name: str) -> Predictions:
    """A CSV with the columns `filename` and `label`, and the reasons in `<path>.errors.csv` if there is such a file.

    `name` is that of its row. Raises UserError if it is no such file or says nothing.
    """
    predictions = Predictions(Path(path), {name: {}})
    for row in read_table(predictions.path):
        predictions.add(row["filename"], {name: row["label"]})
    if not predictions.filenames:
        raise UserError(f"{path}: no predictions in it")
    errors = predictions.path.with_name(f"{predictions.path.name}.errors.csv")
    if errors.is_file():
        rows = read_table(errors, ("filename", "reason"))
        predictions.reasons = {from_text(row["filename"]): from_text(row["reason"]) for row in rows}
    return predictions


def read_details(path: str | Path) -> Details:
    """The JSON lines that `predict_folder.py --details` writes. Raises UserError with the number of a bad line."""
    details = Details(Path(path), [], [])
    models: dict[str, None] = {}
    for number, record in json_lines(details.path):
        try:
            labels = dict(record.get("labels") or {})
            models |= dict.fromkeys(map(_text, [*(record.get("models") or []), *labels]))
            sides = (record.get("width") or 0, record.get("height") or 0)
            reason = record.get("error") or (None if labels else NO_FACE)
            faces = None if record.get("error") else count_faces(record)
            known = Record(record["label"], labels, faces, int(min(sides)) or None, reason)
            details.records.append((str(record["filename"]), known))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{path}: line {number} is no record of predict_folder.py --details ({reason})") from error
    if not details.records:
        raise UserError(f"{path}: no records in it")
    details.models = list(models)
    return details


def count_faces(record: Mapping) -> int:
    """How many faces a video shows, 0 to 3: 3 if at least two thirds of the frames looked at have exactly 3 faces,
    else 2 if two thirds have exactly 2, else 1; 0 without any face.

    The rule that the sequence system reports by. A record that has tracks only counts these, 3 at most.
    """
    faces, tracks = record.get("faces") or [], record.get("tracks") or []
    if not faces:
        return min(len({track["track"] for track in tracks}), MOST_FACES)
    per_frame = Counter(face["frame"] for face in faces)
    frames = max(len(record.get("frames") or []), len(per_frame))
    for count in range(MOST_FACES, 1, -1):
        # In whole numbers: two thirds are no number that a computer has.
        if 3 * sum(found == count for found in per_frame.values()) >= 2 * frames:
            return count
    return 1


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is not the name of a network")
    return name


def _probability(value: object) -> float:
    """A number from 0 to 1, or NaN."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if 0 <= number <= 1 else math.nan
