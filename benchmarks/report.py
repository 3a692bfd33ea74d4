"""Where a benchmark's figures go: a line on what they were measured with, a table and its numbers beside each other."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.asked import ASKED, FAIR
from common.arguments import Parser
from common.files import replacing

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = ("what", "asked", "published flow", "library plainly", "fair", "ours", "ratio", "holds")


@dataclass(frozen=True)
class Row:
    """A figure: of the published flow, of its library called plainly, and ours; None where there is none.

    `key` names what is asked of it in `benchmarks.asked`; more is better where `unit` is something a second.
    """

    key: str
    what: str
    unit: str
    ours: float
    published: float | None = None
    plain: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the published flow."""
        if self.published is None:
            return None
        return self.ours / self.published if self.unit.endswith("/s") else self.published / self.ours

    @property
    def fair(self) -> bool | None:
        """Whether the published flow is as fast as its library called plainly."""
        return None if self.plain is None else abs(self.published / self.plain - 1) <= FAIR

    @property
    def holds(self) -> bool | None:
        """Whether what is asked is there; None: nothing is asked."""
        asked = ASKED.get(self.key)
        return None if asked is None else asked.holds(getattr(self, asked.of))

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        asked = ASKED.get(self.key)
        said = {"ratio": self.ratio, "fair": self.fair, "asked": str(asked) if asked else None, "holds": self.holds}
        return asdict(self) | said


def table(records: Iterable[dict[str, Any]]) -> str:
    """Rows of `Row.record` as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for row in records:
        values = [_shown(row[name]) for name in ("published", "plain", "ours")]
        published, plain, ours = values
        ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else ""
        what = f"{row['what']}, {row['unit']}"
        cells = (what, row["asked"] or "", published, plain, _yes(row["fair"]), ours, ratio, _yes(row["holds"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    """Three digits that count, or five places."""
    if value is None:
        return ""
    places = next((places for bound, places in ((100, 0), (10, 1), (1, 2), (0.01, 3)) if abs(value) >= bound), 5)
    return f"{value:.{places}f}"


def _yes(value: bool | None) -> str:
    return {None: "", True: "yes", False: "no"}[value]


def cpu_name() -> str:
    """The CPU's model, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Those of Python and of `packages`, "none" for what is not installed."""
    found = {"Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def measured_with(packages: Sequence[str]) -> str:
    """The machine, Python and the versions of `packages`, in a line."""
    named = ", ".join(f"{name} {number}" for name, number in versions(packages).items())
    return f"{cpu_name()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {named}"


def add_out_option(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where the table goes")


def write_report(out: Path, stem: str, text: str, figures: Any) -> None:
    """Write `text` as <out>/<stem>.md and `figures` as <stem>.json, and print `text`."""
    save_report(out, stem, text, figures)
    print(text)


def save_report(out: Path, stem: str, text: str, figures: Any) -> None:
    with replacing(out / f"{stem}.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=1) + "\n")
    with replacing(out / f"{stem}.md") as temporary:
        temporary.write_text(text)
