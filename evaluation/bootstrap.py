"""How much metrics would differ on other videos of the same kind: 95 % intervals by the bootstrap.

As many videos as there are are drawn from them with replacement, whatever their class, `count` times; each metric is
computed on every draw, and its interval is from the 2.5th to the 97.5th percentile of what came out. Draws on which a
metric is not defined (one class only; nothing called fake, for precision) are left out for that metric. The best
threshold is chosen anew in every draw. The seed is fixed: the same videos give the same intervals, and all
predictions of one data set are judged on the same draws. Videos of one original resemble each other, so the intervals
are too narrow where there are many such.

The expected calibration error has no interval: it adds up how far off the bins are, whichever way, so that the noise
of drawing raises it in nearly every draw, and the interval would lie above the value it belongs to.

scikit-learn would need minutes for thousands of videos; here the draws are rows of a matrix of how often each video
was drawn, sorted by score once.
"""

from collections.abc import Iterator

import numpy as np

from evaluation.metrics import CLIP, LABELS, THRESHOLD, candidate_thresholds

COUNT = 1000
SEED = 777
PERCENTILES = (2.5, 97.5)
# Numbers in a matrix at a time: a few matrices of them fit into a hundred megabytes.
CELLS = 1_000_000

Interval = tuple[float, float]


def intervals(
    fake: np.ndarray, scores: np.ndarray, clip: float = CLIP, count: int = COUNT
) -> dict[str, Interval | None]:
    """The 95 % interval of each metric, None for the expected calibration error and where no draw defines a metric;
    arguments as in `metrics`, `count` over 0."""
    parts = [metrics_of_draws(fake, scores, draws, clip) for draws in draw_counts(len(fake), count)]
    found = dict.fromkeys(LABELS)
    for key in parts[0]:
        values = np.concatenate([part[key] for part in parts])
        values = values[np.isfinite(values)]
        found[key] = tuple(np.percentile(values, PERCENTILES).tolist()) if len(values) else None
    return found


def draw_counts(videos: int, count: int) -> Iterator[np.ndarray]:
    """How often each of the videos, or of anything, was drawn, float64 (draws, videos), some draws at a time."""
    random = np.random.default_rng(SEED)
    at_once = max(1, CELLS // videos)
    for start in range(0, count, at_once):
        rows = min(at_once, count - start)
        drawn = random.integers(videos, size=(rows, videos)) + videos * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * videos).reshape(rows, videos).astype(float)


def metrics_of_draws(
    fake: np.ndarray, scores: np.ndarray, draws: np.ndarray, clip: float = CLIP
) -> dict[str, np.ndarray]:
    """All metrics but the expected calibration error of every draw, (draws,) each, NaN where not defined; `draws`
    (draws, n) says how often each video was drawn, each draw having at least one."""
    order = np.argsort(-scores, kind="stable")
    fake, scores, draws = fake[order], scores[order], draws[:, order]
    starts = np.flatnonzero(np.diff(scores, prepend=np.inf))
    # Fakes and reals drawn among the k highest distinct scores, k = 0 to all: ties are taken or left together.
    hits, alarms = (_cumulated(draws * of_class, starts) for of_class in (fake, ~fake))
    fakes, reals = hits[:, -1:], alarms[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        result = {
            **_losses(fake, scores, draws, clip),
            **_ranking(hits, alarms, fakes, reals),
            "brier": draws @ (scores - fake) ** 2 / draws.sum(1),
            **_at_half(hits, alarms, fakes, reals, np.sum(scores[starts] > THRESHOLD)),
            **_at_best(scores[starts], hits, alarms, fakes, reals),
        }
    both = np.ravel((fakes > 0) & (reals > 0))
    for key in ("average_precision", "best_threshold", "best_accuracy"):  # the others are 0 / 0 of themselves
        result[key] = np.where(both, result[key], np.nan)
    return result


def _cumulated(counts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.pad(np.cumsum(np.add.reduceat(counts, starts, axis=1), axis=1), ((0, 0), (1, 0)))


def _losses(fake, scores, draws, clip) -> dict[str, np.ndarray]:
    clipped = np.clip(scores, clip, 1 - clip)
    losses = -np.log(np.where(fake, clipped, 1 - clipped))
    return {
        "log_loss": draws @ losses / draws.sum(1),
        "log_loss_real": draws @ (losses * ~fake) / (draws @ ~fake),
        "log_loss_fake": draws @ (losses * fake) / (draws @ fake),
    }


def _ranking(hits, alarms, fakes, reals) -> dict[str, np.ndarray]:
    hit_rate, alarm_rate = hits / fakes, alarms / reals
    precision = np.nan_to_num(hits[:, 1:] / (hits[:, 1:] + alarms[:, 1:]))
    gap = (1 - hit_rate) - alarm_rate
    after = np.argmax(gap <= 0, axis=1)[:, None]
    before = np.maximum(after - 1, 0)
    gap_before, gap_after, alarms_before, alarms_after = (
        np.take_along_axis(values, at, axis=1) for values in (gap, alarm_rate) for at in (before, after)
    )
    return {
        "auc": np.sum(np.diff(alarm_rate) * (hit_rate[:, 1:] + hit_rate[:, :-1]) / 2, axis=1),
        "average_precision": np.sum(np.diff(hit_rate) * precision, axis=1),
        "eer": np.ravel(alarms_before + gap_before / (gap_before - gap_after) * (alarms_after - alarms_before)),
    }


def _at_half(hits, alarms, fakes, reals, above) -> dict[str, np.ndarray]:
    hit, alarm, fakes, reals = hits[:, above], alarms[:, above], fakes[:, 0], reals[:, 0]
    return {
        "accuracy": (hit + reals - alarm) / (fakes + reals),
        "balanced_accuracy": (hit / fakes + (reals - alarm) / reals) / 2,
        "precision": hit / (hit + alarm),
        "recall": hit / fakes,
        "f1": 2 * hit / (fakes + hit + alarm),
    }


def _at_best(distinct, hits, alarms, fakes, reals) -> dict[str, np.ndarray]:
    thresholds = candidate_thresholds(distinct)
    above = np.searchsorted(-distinct, -thresholds)  # distinct scores above each threshold
    hit, passed = hits[:, above], reals - alarms[:, above]
    best = np.argmax(hit * reals + passed * fakes, axis=1)[:, None]
    hit, passed = (np.take_along_axis(values, best, axis=1) for values in (hit, passed))
    return {
        "best_threshold": thresholds[best[:, 0]],
        "best_accuracy": np.ravel((hit + passed) / (fakes + reals)),
        "best_balanced_accuracy": np.ravel((hit / fakes + passed / reals) / 2),
    }
