"""Why a video has its label, in words: which branch of the strategy decided, and its numbers."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from inference.strategies import (
    FAKE_SHARE_DIVISOR,
    FAKE_THRESHOLD,
    MORE_FAKES_THAN,
    POOLED,
    REAL_SHARE,
    REAL_THRESHOLD,
    STRATEGIES,
    aggregated,
    deciding_faces,
)

# What the strategies that look at all faces alike are called in a sentence.
IN_WORDS = {"mean": "mean", "median": "median", "max": "highest"}


def shown(probability: float) -> str:
    """Two digits of a probability, four where two would claim certainty: 0.94, 0.9988, 0.0004."""
    digits = Decimal("0.01" if 0.01 <= probability < 0.99 else "0.0001")
    # A half is rounded up, as browsers do it beside this: 0.625 is 0.63.
    return str(Decimal(float(probability)).quantize(digits, ROUND_HALF_UP))


def explain(strategy: str, probabilities: Sequence[float], what: str = "faces") -> str:
    """How `strategy` (a key of STRATEGIES) makes a label of probabilities (n,) in 0-1; ends with the label.

    `what` they are probabilities of, in the plural. Raises ValueError on no values.
    """
    label, n = STRATEGIES[strategy](probabilities), len(probabilities)
    if n == 1:
        return f"the only one of the {what} decides, {shown(label)}"
    if strategy == "confident":
        return f"{_confident(np.asarray(probabilities, dtype=np.float64), what)}, {shown(label)}"
    return f"{IN_WORDS[strategy]} of all {n} {what}, {shown(label)}"


def _confident(pred: np.ndarray, what: str) -> str:
    """The branch that `confident_strategy` takes, without the label."""
    n, fakes, reals = len(pred), np.count_nonzero(pred > FAKE_THRESHOLD), np.count_nonzero(pred < REAL_THRESHOLD)
    branch, _ = deciding_faces(pred)
    if branch == "fakes":
        return f"{fakes} of {n} {what} above {FAKE_THRESHOLD}: mean of those"
    if branch == "reals":
        return f"{reals} of {n} {what} under {REAL_THRESHOLD}: mean of those"
    # The smallest counts that would have decided.
    enough_fakes = max(int(n // FAKE_SHARE_DIVISOR), MORE_FAKES_THAN) + 1
    enough_reals = int(REAL_SHARE * n) + 1
    above = f"{fakes} of {n} {what} above {FAKE_THRESHOLD} ({_needed(enough_fakes, n)})"
    return f"{above}, {reals} under {REAL_THRESHOLD} ({_needed(enough_reals, n)}): mean of all"


def _needed(enough: int, n: int) -> str:
    return f"{enough} would decide" if enough <= n else f"{enough} would be needed"


def explain_tracks(
    strategy: str, aggregate: str, tracks: Mapping[object, Sequence[float]], what: str = "faces"
) -> list[str]:
    """How a network's label comes about from the probabilities of its tracks (or people), by their names.

    A line that ends with the label, then, where tracks count by themselves, one for each. Raises ValueError on no
    values, KeyError on an unknown strategy or aggregate.
    """
    if aggregate == POOLED or not tracks:
        return [explain(strategy, _pooled(tracks), what)]
    if len(tracks) == 1:
        return [f"one track: {explain(strategy, *tracks.values(), what)}"]
    label = shown(aggregated(STRATEGIES[strategy], aggregate, tracks))
    head = {"mean": "mean of {} tracks, {}", "max": "the most fake of {} tracks, {}"}[aggregate]
    lines = [f"track {track}: {explain(strategy, values, what)}" for track, values in tracks.items()]
    return [head.format(len(tracks), label), *lines]


def _pooled(tracks: Mapping[object, Sequence[float]]) -> list[float]:
    return [value for values in tracks.values() for value in values]
