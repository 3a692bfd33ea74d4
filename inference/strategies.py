"""How the probabilities of a video's faces become the video's own."""

from collections.abc import Callable, Sequence

import numpy as np

Strategy = Callable[[Sequence[float]], float]

# confident_strategy's constants, as published.
FAKE_THRESHOLD = 0.8
REAL_THRESHOLD = 0.2
FAKE_SHARE_DIVISOR = 2.5
MORE_FAKES_THAN = 11
REAL_SHARE = 0.9


def confident_strategy(pred: Sequence[float], t: float = FAKE_THRESHOLD) -> float:
    """The winning solution's rule for probabilities (n,) in 0-1: trust many confident fakes, or mostly confident reals.

    More than n // 2.5 and more than 11 values above `t`: their mean. More than 90 % under 0.2: their mean.
    Otherwise the mean of all. Raises ValueError on no values.
    """
    pred = _faces(pred)
    fakes = np.count_nonzero(pred > t)
    if fakes > len(pred) // FAKE_SHARE_DIVISOR and fakes > MORE_FAKES_THAN:
        return float(np.mean(pred[pred > t]))
    if np.count_nonzero(pred < REAL_THRESHOLD) > REAL_SHARE * len(pred):
        return float(np.mean(pred[pred < REAL_THRESHOLD]))
    return float(np.mean(pred))


def _faces(pred: Sequence[float]) -> np.ndarray:
    values = np.asarray(pred, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no probabilities: a video without faces has no score")
    return values


STRATEGIES: dict[str, Strategy] = {
    "confident": confident_strategy,
    "mean": lambda pred: float(np.mean(_faces(pred))),
    "median": lambda pred: float(np.median(_faces(pred))),
    "max": lambda pred: float(np.max(_faces(pred))),
}
