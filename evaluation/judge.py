"""From files to an evaluation: every prediction judged on the same videos."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UserError
from evaluation.bootstrap import COUNT, Interval, intervals
from evaluation.calibration import Calibration
from evaluation.dataset import Dataset, Row, join, mean_row
from evaluation.groups import groups_of, judge_group
from evaluation.labels import read_labels
from evaluation.metrics import CLIP, Metrics, at_threshold, metrics
from evaluation.predictions import NO_SCORE, read_details, read_predictions
from evaluation.problems import Problems


@dataclass
class Judged(Row):
    """A prediction with its metrics and their intervals (none without bootstrap), confusion matrix at 0.5, and
    `groups`: by what, by group, the figures of `judge_group`.

    `unexplained` counts the scores of exactly 0.5 about which no file gives a reason.
    """

    metrics: Metrics = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    confusion: dict[str, int] = field(default_factory=dict)
    groups: dict[str, dict[str, dict]] = field(default_factory=dict)
    unexplained: int = 0


@dataclass
class Evaluation:
    """All predictions, judged on the videos that are labelled and in each of them; `problems` are left out.

    `without_details` names the videos that the details, where there are any, say nothing of.
    """

    labels: Path
    fake: np.ndarray
    rows: list[Judged]
    problems: Problems
    by: list[str]
    clip: float
    bootstrap: int
    calibration: Calibration | None
    without_details: list[str]

    @property
    def counts(self) -> tuple[int, int]:
        """How many videos are real, and how many fake."""
        return int((~self.fake).sum()), int(self.fake.sum())

    @property
    def missing_class(self) -> str | None:
        real, fake = self.counts
        return None if real and fake else "fake" if real else "real"


def evaluate(
    predictions: Sequence[str | Path],
    labels: str | Path,
    *,
    details: str | Path | None = None,
    per_model: bool = False,
    by: Sequence[str] = (),
    clip: float = CLIP,
    bootstrap: int = COUNT,
    calibration: str | Path | None = None,
    ignore_missing: bool = False,
) -> Evaluation:
    """Judge the `predictions` (CSV files; without any, the labels in `details`) by `labels` (see `read_labels`).

    Several files get their mean as a further row, `per_model` adds each network of the details, `calibration` each
    row of a file as that calibration changes it. `bootstrap` draws give the intervals, 0 gives none. Raises
    UserError with a one-line reason: among others if a name or a number is wrong, unless `ignore_missing` leaves the
    videos concerned out.
    """
    truth = read_labels(labels)
    known = None if details is None else read_details(details)
    files = [read_predictions(path, name) for path, name in zip(predictions, row_names(predictions), strict=True)]
    if per_model and not (known and known.models):
        raise UserError("--per-model: needs --details with the probabilities of networks")
    if known and (per_model or not files):
        files.append(known.predictions(None if files else known.path.stem, per_model))
    if not files:
        raise UserError("nothing to evaluate: give --predictions or --details")
    dataset, problems = join(truth, files, known)
    if problems and not ignore_missing:
        raise UserError(f"{'; '.join(problems.sentences())}; --ignore-missing leaves them out")
    applied = None if calibration is None else Calibration.load(calibration)
    rows = _rows(dataset, len(predictions), applied)
    groups = {column: groups_of(dataset, column) for column in dict.fromkeys(by)}
    judged = [_judge(dataset.fake, row, groups, clip, bootstrap) for row in rows]
    without = [name for name, record in zip(dataset.names, dataset.details or dataset.names, strict=True) if not record]
    return Evaluation(truth.source, dataset.fake, judged, problems, list(groups), clip, bootstrap, applied, without)


def row_names(paths: Sequence[str | Path]) -> list[str]:
    """The files' names without extension; with their folder where two are the same, numbered if that does not help."""
    paths = [Path(path) for path in paths]
    names = [path.stem for path in paths]
    names = [f"{p.parent.name}/{n}" if names.count(n) > 1 else n for p, n in zip(paths, names, strict=True)]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]


def _rows(dataset: Dataset, files: int, calibration: Calibration | None) -> list[Row]:
    rows = list(dataset.rows)
    whole = rows[: max(files, 1)]  # those after it are single networks
    if files > 1:
        whole = [*whole, mean_row(whole)]
        rows.insert(files, whole[-1])
    if calibration:
        rows += [Row(f"{row.name} calibrated", row.source, calibration.apply(row.scores)) for row in whole]
    return rows


def _judge(fake: np.ndarray, row: Row, groups: dict, clip: float, bootstrap: int) -> Judged:
    return Judged(
        **vars(row),
        metrics=metrics(fake, row.scores, clip),
        intervals=intervals(fake, row.scores, clip, bootstrap) if bootstrap else {},
        confusion=at_threshold(fake, row.scores)["confusion"],
        groups={
            by: {name: judge_group(fake[mask], row.scores[mask], clip) for name, mask in members}
            for by, members in groups.items()
        },
        unexplained=int((row.scores == NO_SCORE).sum()) - len(row.unscored) if row.source else 0,
    )
