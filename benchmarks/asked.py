"""What is asked of the figures, by the key of their row; whether it is there is computed from them."""

from dataclasses import dataclass

# The published flow must be as fast as its libraries called plainly, or the comparison would flatter ours.
FAIR = 0.15


@dataclass(frozen=True)
class Asked:
    """Bounds, both included, of a row's `of`: `ratio` or `ours`, in the row's unit."""

    of: str
    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        what = "ratio " if self.of == "ratio" else ""
        if self.low is None or self.high is None:
            return f"{what}at most {self.high:g}" if self.low is None else f"{what}at least {self.low:g}"
        return f"{what}{self.low:g} to {self.high:g}"


ASKED = {
    "prediction 1": Asked("ratio", low=6),
    "prediction 7": Asked("ratio", low=8),
    "network": Asked("ratio", low=9),
    "prediction 1 on a GPU": Asked("ratio", low=10),
    "prediction 7 on a GPU": Asked("ratio", low=10),
    "network rate on a GPU": Asked("ours", low=1500),
    "flow 7 on a GPU": Asked("ours", low=5),
    "tests on a GPU": Asked("ours", high=0),
    "tests run on a GPU": Asked("ours", low=1),
    "detection": Asked("ratio", low=3),
    "small detection": Asked("ratio", low=3),
    "command memory 1": Asked("ours", high=2),
    "command memory 7": Asked("ours", high=4),
    "first label": Asked("ours", high=12),
    "opening": Asked("ours", high=3),
    "cost of many": Asked("ours", low=0.95, high=1.05),
    "memory of many": Asked("ours", low=0.95, high=1.05),
    "label exactness": Asked("ours", high=0.005),
    "preprocessing scale 0.5": Asked("ratio", low=5),
    "preprocessing auto": Asked("ratio", low=6),
    "crops": Asked("ours", high=2),
    "difference": Asked("ours", low=3),
}
