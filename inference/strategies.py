"""How the probabilities of a video's faces become the video's own."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
    return float(np.mean(pred[deciding_faces(pred, t)[1]]))


def deciding_faces(pred: np.ndarray, t: float = FAKE_THRESHOLD) -> tuple[Literal["fakes", "reals", "all"], np.ndarray]:
    """The branch of `confident_strategy` that is taken, and which of the values it averages, (n,) bool."""
    fakes, reals = pred > t, pred < REAL_THRESHOLD
    if fakes.sum() > len(pred) // FAKE_SHARE_DIVISOR and fakes.sum() > MORE_FAKES_THAN:
        return "fakes", fakes
    if reals.sum() > REAL_SHARE * len(pred):
        return "reals", reals
    return "all", np.ones(len(pred), dtype=bool)


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

# What becomes of the faces of several people: all in one pot, or each person's own label, and then the mean or the most
# fake one's. `auto` is what each system published: pooled for single frames, the mean of clips, the most fake sequence.
POOLED, MEAN, MAX, AUTO = "pooled", "mean", "max", "auto"
AGGREGATES = (AUTO, POOLED, MEAN, MAX)
PUBLISHED = {"frame": POOLED, "tracked": MEAN, "clip": MEAN, "sequence": MAX}


def aggregated(strategy: Strategy, aggregate: str, groups: Mapping[Hashable, Sequence[float]]) -> float:
    """The label of a video whose people, or tracks, have these probabilities; `aggregate` is not `auto`.

    Raises ValueError on no values.
    """
    if aggregate == POOLED or not groups:
        return strategy(np.array([value for values in groups.values() for value in values]))
    return float({MEAN: np.mean, MAX: np.max}[aggregate]([strategy(np.array(values)) for values in groups.values()]))


@dataclass(frozen=True)
class Rule:
    """From the probabilities of a video's faces to each network's label, and from those to the video's.

    `aggregate` is one of AGGREGATES, `clip` keeps labels that far from 0 and 1.
    """

    strategy: Strategy
    aggregate: str = AUTO
    clip: float = 0.0

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATES or not 0 <= self.clip < 0.5:
            raise ValueError(f"no rule: aggregate {self.aggregate!r}, clip {self.clip}")

    def aggregate_of(self, kind: str) -> str:
        """What is done for networks that read pictures of `kind`, a key of PUBLISHED."""
        return PUBLISHED[kind] if self.aggregate == AUTO else self.aggregate

    def network_label(self, probabilities: Sequence[float], people: Sequence[Hashable], kind: str) -> float:
        """One network's label from the probabilities (n,), n at least 1, of what it was shown, and whom each shows."""
        aggregate = self.aggregate_of(kind)
        if aggregate == POOLED:  # in the order of the frames, as published: a strategy of one's own may look at it
            return self.strategy(np.array(probabilities))
        groups: dict[Hashable, list[float]] = {}
        for person, probability in zip(people, probabilities, strict=True):
            groups.setdefault(person, []).append(probability)
        return aggregated(self.strategy, aggregate, groups)

    def video_label(self, labels: Mapping[str, float]) -> float:
        """The mean of the networks' labels."""
        return float(np.clip(np.mean(list(labels.values())), self.clip, 1 - self.clip))
