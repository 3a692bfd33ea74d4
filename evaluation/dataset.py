"""Labels, predictions and details of the same videos, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UserError
from evaluation.labels import Labels
from evaluation.predictions import NO_SCORE, Details, Predictions, Record
from evaluation.problems import Problems, some


@dataclass
class Row:
    """One prediction of all videos: P(fake), float64 (n,), in the order of the data set's names.

    `unscored` names the videos whose 0.5 stands for no score, with the reason.
    """

    name: str
    source: Path | None
    scores: np.ndarray
    unscored: dict[str, str] = field(default_factory=dict)


@dataclass
class Dataset:
    """The videos that are labelled and in all predictions: names (n), `fake` as bool (n,), and the predictions.

    `columns` are the labels' other columns, empty text where a video has none; `details` the records, None likewise.
    """

    names: list[str]
    fake: np.ndarray
    rows: list[Row]
    columns: dict[str, list[str]]
    details: list[Record | None] | None


def join(
    labels: Labels, predictions: Sequence[Predictions], details: Details | None = None
) -> tuple[Dataset, Problems]:
    """The videos that everything is known of, in the order of the labels, and what is wrong with the others.

    Raises UserError if no video is left, or none of those left is in the details.
    """
    problems = Problems()
    problems.extend(labels.problems)
    matches = []
    for each in predictions:
        matches.append(_match(labels, each))
        # Of a single file nobody needs to be told which one it is.
        problems.extend(each.problems, *([str(each.path)] if len(predictions) > 1 else []))
    usable = [name for name, fake in labels.fake.items() if fake is not None]
    kept = [name for name in usable if all(_has(*pair, name) for pair in zip(predictions, matches, strict=True))]
    if not kept:
        reasons = "; ".join(problems.sentences())
        raise UserError(f"{labels.source}: none of its videos has both a label and a prediction ({reasons})")
    rows = []
    for each, filenames in zip(predictions, matches, strict=True):
        for row, values in each.rows.items():
            scores = np.array([values[filenames[name]] for name in kept])
            unscored = {
                name: each.reasons[filenames[name]]
                for name, score in zip(kept, scores, strict=True)
                if score == NO_SCORE and filenames[name] in each.reasons
            }
            rows.append(Row(row, each.path, scores, unscored))
    columns = {c: [labels.columns[name].get(c, "") for name in kept] for c in labels.column_names()}
    records = None
    if details is not None:
        known = {}
        for filename, record in details.records:
            found = labels.find(filename)
            if len(found) == 1:
                known.setdefault(found[0], record)
        records = [known.get(name) for name in kept]
        if not any(records):
            raise UserError(f"{details.path}: has none of the videos to evaluate, such as {some(kept[:1])}")
    return Dataset(kept, np.array([labels.fake[name] for name in kept]), rows, columns, records), problems


def _match(labels: Labels, predictions: Predictions) -> dict[str, str]:
    """The predictions' file names by the labels' names; what has no partner joins the predictions' problems."""
    problems = predictions.problems
    match: dict[str, str] = {}
    spoiled: set[str] = set()
    for filename in predictions.filenames:
        found = labels.find(filename)
        if not found:
            problems.add("unknown", filename)
        elif len(found) > 1:
            problems.add("ambiguous", filename, *found[:3])
            spoiled.update(found)
        elif found[0] in match:
            problems.add("duplicate prediction", found[0], f"as {match[found[0]]} and as {filename}")
            spoiled.add(found[0])
        else:
            match[found[0]] = filename
    for name, fake in labels.fake.items():
        if fake is not None and name not in match and name not in spoiled:
            problems.add("missing", name)
    return {name: filename for name, filename in match.items() if name not in spoiled}


def _has(predictions: Predictions, filenames: dict[str, str], name: str) -> bool:
    return name in filenames and all(np.isfinite(row[filenames[name]]) for row in predictions.rows.values())


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of several predictions, as one more."""
    return Row("mean", None, np.mean([row.scores for row in rows], axis=0))
