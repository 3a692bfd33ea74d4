"""List training runs: how far each came, its best epoch, and the recipe.

    python -m training.runs logs/ [--html runs.html]

A run is a folder with a metrics.csv, which training writes; its config.json beside it is the recipe.
"""

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, one_line, run_command
from common.places import only_local
from training.history import METRICS

# What is kept of each row of metrics.csv, and drawn.
CURVES = ("bce", "fake_loss", "real_loss", "train_loss")
VALUES = (*CURVES, "auc", "lr")


@dataclass(frozen=True)
class TrainingRun:
    """A run's epochs, ascending, and for each the VALUES of its metrics.csv; None where there is no finite number.

    `config` is its recipe in a line, empty where that is not known; `changed` when the last epoch was written.
    """

    name: str
    epochs: list[int]
    values: dict[str, list[float | None]]
    config: str
    changed: datetime

    @property
    def best(self) -> int | None:
        """The place of the epoch with the lowest bce; None where nothing was validated."""
        validated = [(bce, i) for i, bce in enumerate(self.values["bce"]) if bce is not None]
        return min(validated)[1] if validated else None

    @property
    def best_bce(self) -> float:
        return math.inf if self.best is None else self.values["bce"][self.best]


def _to_stderr(line: str) -> None:
    print(one_line(line), file=sys.stderr)


def find_runs(logs: str | Path, say: Callable[[str], None] = _to_stderr) -> list[TrainingRun]:
    """The runs below a folder, the lowest bce first. A metrics.csv without an epoch is named to `say` and left out.

    Raises UserError if there is no run, or one cannot be read.
    """
    logs = Path(logs)
    if not logs.is_dir():
        raise UserError(f"{logs}: no such folder of logs")
    runs = []
    for path in sorted(logs.rglob(METRICS)):
        run = read_run(path, logs)
        if run.epochs:
            runs.append(run)
        else:
            say(f"{path}: no epochs in it, left out")
    if not runs:
        raise UserError(f"{logs}: no run in it (a folder with metrics.csv)")
    return sorted(runs, key=lambda run: (run.best_bce, run.name))


def read_run(metrics: Path, logs: Path) -> TrainingRun:
    """The run whose metrics.csv this is, named by its folder below `logs`."""
    try:
        with metrics.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdecimal()]
        changed = datetime.fromtimestamp(metrics.stat().st_mtime).astimezone()
    except (OSError, csv.Error) as error:
        raise UserError(f"{metrics}: cannot be read: {error}") from error
    rows = sorted({int(row["epoch"]): row for row in rows}.items())
    folder = metrics.parent
    return TrainingRun(
        name=str(folder.relative_to(logs)) if folder != logs else folder.resolve().name,
        epochs=[epoch for epoch, _ in rows],
        values={name: [_number(row.get(name)) for _, row in rows] for name in VALUES},
        config=_recipe(folder / "config.json"),
        changed=changed,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _recipe(path: Path) -> str:
    """A config in a line; empty where there is none. Read as plain JSON: checking it would load torch."""
    try:
        config = json.loads(path.read_bytes())
        optimizer = config["optimizer"]
        encoder = f" with {config['encoder']}" if config["input"] != "clip" else ""
        frames = f", {config['frames']} frames" if config["input"] != "frame" else ""
        return (
            f"{config['network']}{encoder}, {config['size']} px{frames}, {optimizer['type']} "
            f"{optimizer['learning_rate']:g}, batch {optimizer['batch_size']}, {optimizer['schedule']['type']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


HEADER = ("run", "epochs", "best", "bce", "auc", "date", "config")


def cells(run: TrainingRun) -> tuple[str, ...]:
    """The run's row of the table, under HEADER; a dash for what is not known."""
    best = run.best
    auc = None if best is None else run.values["auc"][best]
    return (
        one_line(run.name),
        str(len(run.epochs)),
        "-" if best is None else str(run.epochs[best]),
        "-" if best is None else f"{run.best_bce:.4f}",
        "-" if auc is None else f"{auc:.4f}",
        f"{run.changed:%Y-%m-%d %H:%M}",
        run.config or "-",
    )


def listed(runs: Sequence[TrainingRun]) -> list[str]:
    """The lines of a table for the terminal."""
    rows = [HEADER, *map(cells, runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def write_runs_page(runs: Sequence[TrainingRun], path: str | Path) -> Path:
    """The same as an HTML file with the runs' curves, which needs nothing but a browser."""
    from reporting.page import json_block, write_page

    data = [{"name": run.name, "epochs": run.epochs, "best": run.best, "values": run.values} for run in runs]
    return write_page(
        path,
        "runs.html",
        ("base.css", "runs.css"),
        ("page.js", "curves.js"),
        title=f"{len(runs)} training runs" if len(runs) > 1 else "1 training run",
        written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        header=HEADER,
        rows=[cells(run) for run in runs],
        data=json_block(data),
    )


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="training.runs", description="List training runs: best epoch, bce, date, recipe.")
    parser.add_argument("logs", nargs="?", default="logs", metavar="DIR", help="folder of the runs' logs")
    parser.add_argument("--html", metavar="FILE", help="write the list as a page with curves as well")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing page")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_arguments(argv)
    if options.html and only_local(options.html, "training.runs").exists() and not options.overwrite:
        raise UserError(f"{options.html}: exists already; --overwrite replaces it")
    runs = find_runs(only_local(options.logs, "training.runs"))
    print("\n".join(listed(runs)))
    if options.html:
        print(write_runs_page(runs, options.html))
    return 0


if __name__ == "__main__":
    run_command(main)
