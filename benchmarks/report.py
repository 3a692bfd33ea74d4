"""Where a benchmark's figures go: a line on what they were measured with, a table and its numbers beside each other."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.errors import Parser

RESULTS = Path(__file__).resolve().parent / "results"


def measured_with(packages: Sequence[str]) -> str:
    """The machine, Python and the versions of `packages`, in a line."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def add_out_option(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where the table goes")


def write_report(out: Path, stem: str, table: str, figures: Any) -> None:
    """Print `table` and write it as <out>/<stem>.md, `figures` as <stem>.json."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{stem}.md").write_text(table)
    (out / f"{stem}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(table)
