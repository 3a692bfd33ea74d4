"""Temperature scaling: probabilities that are as often right as they say, by one number fitted on labelled videos.

A calibrated probability is sigmoid(logit(p) / T) (Guo et al. 2017). T over 1 moves probabilities towards 0.5, T under
1 away from it; their order, and on which side of 0.5 they are, stays. Needs NumPy alone to apply, SciPy to fit.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import replacing

METHOD = "temperature"
# A network in half precision says 1.0 from 0.9998 on; the logit of 1 itself would be infinite.
CLIP = 1e-6
LOWEST, HIGHEST = 0.01, 100.0


@dataclass(frozen=True)
class Calibration:
    """A temperature over 0, on how many real and fake videos it was fitted (0 if that is not known), and `clip`, over
    0 and under 0.5: probabilities are clipped to [clip, 1 - clip] before the logit is taken."""

    temperature: float
    real: int = 0
    fake: int = 0
    clip: float = CLIP

    def apply(self, probability):
        """The calibrated probability: a float for a number in [0, 1], float64 of the same shape for an array.

        0.5 stays 0.5. Raises ValueError on any other value.
        """
        p = np.asarray(probability, dtype=float)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("probabilities are numbers from 0 to 1")
        # exp of at most 0, on either side of 0.5, cannot overflow; and 0.5 gives 0.5 to the last digit.
        odds = np.exp(-np.abs(_logit(p, self.clip)) / self.temperature)
        calibrated = np.where(p < 0.5, odds, 1.0) / (1 + odds)
        return calibrated if calibrated.ndim else float(calibrated)

    @property
    def at_limit(self) -> bool:
        """Whether the fit ran into the end of its range: the videos do not tell a temperature."""
        return not 2 * LOWEST < self.temperature < HIGHEST / 2

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"method": METHOD, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """What `save` wrote. Raises UserError if it is no such file."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            content = None
        content = content if isinstance(content, dict) else {}
        temperature, clip = content.get("temperature"), content.get("clip", CLIP)
        # JSON knows whole numbers that are larger than any other number.
        if content.get("method") != METHOD or not (
            _between(0, temperature, sys.float_info.max) and _between(0, clip, 0.5)
        ):
            raise UserError(f"{path}: is no calibration as evaluate.py --calibrate writes it")
        counts = [content.get(key) for key in ("real", "fake")]
        return cls(float(temperature), *(count if isinstance(count, int) else 0 for count in counts), float(clip))


def fit_temperature(fake: np.ndarray, scores: np.ndarray) -> Calibration:
    """The temperature from LOWEST to HIGHEST with the lowest log loss; `fake` bool (n,), `scores` in [0, 1], (n,).

    Raises UserError if all videos are of one class: any loss could be lowered without end.
    """
    from scipy.optimize import minimize_scalar

    if fake.all() or not fake.any():
        raise UserError(f"--calibrate needs real and fake videos; these are all {'fake' if fake.all() else 'real'}")
    # The loss of a video is log(1 + exp(-margin / T)).
    margins = np.where(fake, 1, -1) * _logit(np.asarray(scores, dtype=float), CLIP)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -margins / math.exp(log_temperature)).mean())

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-9}
    )
    return Calibration(math.exp(found.x), int((~fake).sum()), int(fake.sum()))


def _between(low: float, value: object, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low < value < high


def _logit(p: np.ndarray, clip: float) -> np.ndarray:
    clipped = np.clip(p, clip, 1 - clip)
    return np.log(clipped) - np.log1p(-clipped)
