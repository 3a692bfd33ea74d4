"""How good probabilities of crops are, judged by video."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AGGREGATES = {"mean": np.mean, "median": np.median, "max": np.max}
CLIP = 1e-15  # a probability of exactly 0 or 1 must not make a loss infinite


@dataclass(frozen=True)
class Verdict:
    """Validation by video. Losses and AUC are NaN where a class is missing."""

    probabilities: dict[str, list[float]]
    targets: dict[str, int]
    fake_loss: float
    real_loss: float
    bce: float
    auc: float
    scores: dict[str, float]  # of each video


def judge(crops: Sequence[tuple[str, str, float, int]], aggregate: str = "mean") -> Verdict:
    """A verdict from (video, file, P(fake), label) of every crop.

    A video's probability is what `aggregate`, a key of AGGREGATES, makes of its crops'; `fake_loss` and `real_loss`
    are the log losses over the videos of each class and `bce` is their mean, or the only one there is.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    probabilities: dict[str, list[float]] = defaultdict(list)
    targets = {}
    # Sorted, so that the sum does not depend on which process scored what.
    for video, _, probability, label in sorted(crops):
        probabilities[video].append(float(probability))
        targets[video] = int(label)
    scores = np.array([AGGREGATES[aggregate](values) for values in probabilities.values()])
    labels = np.array(list(targets.values()))
    losses = {}
    for label in (0, 1):
        chosen = np.clip(scores[labels == label], CLIP, 1 - CLIP)
        wrong = not len(chosen) or not np.isfinite(chosen).all()
        losses[label] = math.nan if wrong else float(log_loss([label] * len(chosen), chosen, labels=[0, 1]))
    both = len(set(targets.values())) == 2 and np.isfinite(scores).all()
    there = [losses[label] for label in (0, 1) if (labels == label).any()]
    return Verdict(
        probabilities=dict(probabilities),
        targets=targets,
        fake_loss=losses[1],
        real_loss=losses[0],
        bce=float(np.mean(there)) if there else math.nan,
        auc=float(roc_auc_score(labels, scores)) if both else math.nan,
        scores=dict(zip(probabilities, scores.tolist(), strict=True)),
    )


def roc_points(targets: Mapping[str, int], scores: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, in 0-1."""
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve([targets[v] for v in scores], list(scores.values()))
    return false_rate, true_rate
