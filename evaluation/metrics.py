"""Metrics of probabilities against labels. FAKE is the positive class throughout.

`fake` is bool (n,), `scores` P(fake) in [0, 1], float64 (n,), n at least 1. What cannot be said, such as the AUC of
one class, is None. A video is called fake if its score is above the threshold: one without a score (0.5) is not
called fake at 0.5.
"""

import numpy as np

CLIP = 1e-15
THRESHOLD = 0.5
ECE_BINS = 15
# The metrics in the order in which they are shown; those that need both classes are marked.
LABELS = {
    "log_loss": "log loss",
    "log_loss_real": "  of the real videos",
    "log_loss_fake": "  of the fake videos",
    "auc": "AUC",
    "average_precision": "average precision",
    "eer": "equal error rate",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "accuracy": "  accuracy",
    "balanced_accuracy": "  balanced accuracy",
    "precision": "  precision",
    "recall": "  recall",
    "f1": "  F1",
    "best_threshold": "  the threshold",
    "best_accuracy": "  accuracy",
    "best_balanced_accuracy": "  balanced accuracy",
}
OF_BOTH_CLASSES = ("auc", "average_precision", "eer", "balanced_accuracy", *[k for k in LABELS if k.startswith("best")])

Metrics = dict[str, float | None]


def metrics(fake: np.ndarray, scores: np.ndarray, clip: float = CLIP) -> Metrics:
    """All of LABELS. Log losses are of scores clipped to [clip, 1 - clip]."""
    from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, brier_score_loss

    at_half = at_threshold(fake, scores)
    result = {
        **log_losses(fake, scores, clip),
        "auc": auc(fake, scores),
        "average_precision": None,
        "eer": None,
        "brier": float(brier_score_loss(fake, scores, labels=[False, True])),
        "ece": expected_calibration_error(fake, scores),
        **{key: at_half[key] for key in ("accuracy", "balanced_accuracy", "precision", "recall", "f1")},
        **dict.fromkeys(("best_threshold", "best_accuracy", "best_balanced_accuracy")),
    }
    if _both(fake):
        threshold = best_threshold(fake, scores)
        result |= {
            "average_precision": float(average_precision_score(fake, scores)),
            "eer": equal_error_rate(fake, scores),
            "best_threshold": threshold,
            "best_accuracy": float(accuracy_score(fake, scores > threshold)),
            "best_balanced_accuracy": float(balanced_accuracy_score(fake, scores > threshold)),
        }
    return result


def log_losses(fake: np.ndarray, scores: np.ndarray, clip: float = CLIP) -> Metrics:
    """Mean of -log of the probability given to the truth: over all videos, over the real and over the fake ones."""
    from sklearn.metrics import log_loss

    clipped = np.clip(scores, clip, 1 - clip)
    chosen = {"log_loss": np.ones_like(fake), "log_loss_real": ~fake, "log_loss_fake": fake}
    return {
        key: float(log_loss(fake[mask], clipped[mask], labels=[False, True])) if mask.any() else None
        for key, mask in chosen.items()
    }


def auc(fake: np.ndarray, scores: np.ndarray) -> float | None:
    """The share of pairs of a fake and a real video in which the fake has the higher score; a tie is half a pair."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(fake, scores)) if _both(fake) else None


def at_threshold(fake: np.ndarray, scores: np.ndarray, threshold: float = THRESHOLD) -> dict:
    """Accuracy, balanced accuracy, precision, recall and F1 of calling scores above `threshold` fake, and `confusion`.

    `confusion` counts videos by label and call: real_as_real, real_as_fake, fake_as_real, fake_as_fake.
    """
    from sklearn import metrics as sk

    called = scores > threshold
    counts = sk.confusion_matrix(fake, called, labels=[False, True]).ravel().tolist()
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        fake, called, labels=[True], average=None, zero_division=np.nan
    )
    return {
        "accuracy": float(sk.accuracy_score(fake, called)),
        "balanced_accuracy": float(sk.balanced_accuracy_score(fake, called)) if _both(fake) else None,
        "precision": _known(precision[0]),
        "recall": _known(recall[0]),
        "f1": _known(f1[0]),
        "confusion": dict(zip(CONFUSION, counts, strict=True)),
    }


CONFUSION = ("real_as_real", "real_as_fake", "fake_as_real", "fake_as_fake")


def equal_error_rate(fake: np.ndarray, scores: np.ndarray) -> float:
    """Where the ROC curve, its points joined by straight lines, has as many false alarms as misses (as shares)."""
    from sklearn.metrics import roc_curve

    false_alarms, hits, _ = roc_curve(fake, scores, drop_intermediate=False)
    gap = (1 - hits) - false_alarms  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))


def candidate_thresholds(scores: np.ndarray) -> np.ndarray:
    """The thresholds to choose from, the nearest to 0.5 first, of two as near the higher: 0, 0.5, 1 and the
    middles between neighbouring scores."""
    distinct = np.unique(scores)
    every = np.unique([0, THRESHOLD, 1, *(distinct[1:] + distinct[:-1]) / 2])[::-1]
    return every[np.argsort(np.abs(every - THRESHOLD), kind="stable")]


def best_threshold(fake: np.ndarray, scores: np.ndarray) -> float:
    """The candidate with the highest balanced accuracy on these videos, of both classes; of several, the one nearest
    to 0.5."""
    thresholds = candidate_thresholds(scores)
    fakes, reals = np.sort(scores[fake]), np.sort(scores[~fake])
    hits = len(fakes) - np.searchsorted(fakes, thresholds, side="right")
    passed = np.searchsorted(reals, thresholds, side="right")
    # Balanced accuracy over a common denominator: whole numbers, so that ties are ties.
    return float(thresholds[np.argmax(hits * len(reals) + passed * len(fakes))])


def calibration_bins(scores: np.ndarray) -> np.ndarray:
    """The bin of each score, int (n,): 0 to ECE_BINS - 1, of equal width; 1 belongs to the last."""
    return np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)


def expected_calibration_error(fake: np.ndarray, scores: np.ndarray) -> float:
    """How far the mean score of a bin is from its share of fakes, averaged over the videos; bins of equal width."""
    return float(np.abs(np.bincount(calibration_bins(scores), scores - fake)).sum() / len(scores))


def _both(fake: np.ndarray) -> bool:
    return bool(fake.any()) and not fake.all()


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
