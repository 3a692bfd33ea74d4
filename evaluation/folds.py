"""AUCs of a cross-validation: for every fold and seed, by method, and how much they would differ with other people.

The interval is a bootstrap over identities, an identity being an original with its fakes: as many originals as there
are in all folds together are drawn with replacement, each fold's AUC is computed on those of its own that were drawn,
and the mean over folds, over the seeds' mean, is what varies. A fold of which nothing was drawn is left out of its
draw's mean. Seeds are not drawn: they tell how much training itself varies, not how much people do.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import one_line
from evaluation.bootstrap import COUNT, PERCENTILES, Interval, draw_counts, metrics_of_draws
from evaluation.groups import Groups
from evaluation.metrics import auc

# Fewer people, drawn again and again, are nearly always the same few: an interval over them would be a pretence.
FEWEST = 4


@dataclass(frozen=True)
class FoldScores:
    """One run's scores of the n videos of the fold that was held out from it.

    `seed` is what it was trained from, or several joined by + for the mean of their networks.
    `fake` is bool (n,), `identities` the original of each video, `methods` as of `evaluation.groups`, and `scores` has
    P(fake), float64 (n,), for each way of making a video's score. All runs of a fold have the same videos in the same
    order, of both classes. `unscored` names the videos whose 0.5 stands for no score.
    """

    fold: int
    seed: int | str
    fake: np.ndarray
    identities: Sequence[str]
    methods: Groups
    scores: Mapping[str, np.ndarray]
    unscored: Sequence[str] = ()


@dataclass(frozen=True)
class Summary:
    """AUCs by (fold, seed), and of each method by fold, averaged over seeds; `interval` is of the mean over folds."""

    aucs: dict[tuple[int, int | str], float]
    methods: dict[str, dict[int, float]]
    interval: Interval | None
    identities: int

    @property
    def folds(self) -> list[int]:
        return list(dict.fromkeys(fold for fold, _ in self.aucs))

    @property
    def seeds(self) -> list[int | str]:
        return list(dict.fromkeys(seed for _, seed in self.aucs))

    def of_fold(self, fold: int) -> list[float]:
        """A fold's AUC from each seed."""
        return [self.aucs[fold, seed] for seed in self.seeds]

    @property
    def means(self) -> list[float]:
        """The mean over folds from each seed."""
        return [float(np.mean([self.aucs[fold, seed] for fold in self.folds])) for seed in self.seeds]

    @property
    def mean(self) -> float:
        return float(np.mean(self.means))


def summarize(runs: Sequence[FoldScores], score: str, count: int = COUNT) -> Summary:
    """The AUCs of `runs`, every fold with every seed, by one of their scores; `count` draws, 0 for no interval."""
    aucs = {(run.fold, run.seed): auc(run.fake, run.scores[score]) for run in runs}
    methods: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        for method, chosen in run.methods:
            found = auc(run.fake[chosen], run.scores[score][chosen])
            methods.setdefault(method, {}).setdefault(run.fold, []).append(found)
    averaged = {name: {fold: float(np.mean(values)) for fold, values in of.items()} for name, of in methods.items()}
    identities = sorted({(run.fold, identity) for run in runs for identity in run.identities})
    return Summary(aucs, averaged, _interval(runs, score, identities, count) if count else None, len(identities))


def _interval(runs: Sequence[FoldScores], score: str, identities: list[tuple[int, str]], count: int) -> Interval:
    place = {identity: index for index, identity in enumerate(identities)}
    means = []
    for draws in draw_counts(len(identities), count):
        of_folds: dict[int, list[np.ndarray]] = {}
        for run in runs:
            drawn = draws[:, [place[run.fold, identity] for identity in run.identities]]
            found = metrics_of_draws(run.fake, run.scores[score], drawn)["auc"]
            of_folds.setdefault(run.fold, []).append(found)
        means.append(_mean_of_known(np.stack([np.mean(values, axis=0) for values in of_folds.values()])))
    low, high = np.nanpercentile(np.concatenate(means), PERCENTILES).tolist()
    return low, high


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is not NaN, NaN where all is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def as_markdown(summary: Summary) -> str:
    """Two tables: folds by seeds with mean and standard deviation over the seeds, and methods by folds."""
    seeds = [f"seed {seed}" for seed in summary.seeds]
    rows = [[f"fold {fold}", *_with_spread(summary.of_fold(fold))] for fold in summary.folds]
    rows.append(["mean of folds", *_with_spread(summary.means)])
    lines = _table(["AUC", *seeds, "mean", "spread"], rows)
    if summary.interval and summary.identities < FEWEST:
        lines += ["", f"{summary.mean:.4f}; {summary.identities} identities are too few for an interval"]
    elif summary.interval:
        low, high = summary.interval
        lines += [
            "",
            f"{summary.mean:.4f} [{low:.4f}, {high:.4f}] over {summary.identities} identities (95 %, bootstrap)",
        ]
    if summary.methods:
        rows = [
            [_shown(name), *(_number(of.get(k)) for k in summary.folds), _number(float(np.mean(list(of.values()))))]
            for name, of in summary.methods.items()
        ]
        lines += ["", *_table(["by method", *(f"fold {fold}" for fold in summary.folds), "mean"], rows)]
    return "\n".join(lines)


def as_data(summary: Summary) -> dict:
    """The same for JSON."""
    return {
        "mean": summary.mean,
        "spread": spread(summary.means),
        "interval": summary.interval if summary.identities >= FEWEST else None,
        "identities": summary.identities,
        "folds": {
            fold: {
                "seeds": dict(zip(summary.seeds, summary.of_fold(fold), strict=True)),
                "mean": float(np.mean(summary.of_fold(fold))),
                "spread": spread(summary.of_fold(fold)),
            }
            for fold in summary.folds
        },
        "methods": summary.methods,
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of what the values are a sample of; None for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _with_spread(values: Sequence[float]) -> list[str]:
    return [*map(_number, values), _number(float(np.mean(values))), _number(spread(values))]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _shown(name: str) -> str:
    """A name from metadata, which may hold anything, as text in a cell of Markdown."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", one_line(name))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, its columns aligned for those who read it as text."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    first, *rest = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [first, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rest]
