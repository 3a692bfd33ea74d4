"""All figures, each flow against ours where there is one to compare with, in one table.

    python -m benchmarks VIDEO_FOLDER [--root DATA_ROOT] [--only prediction,exactness] [--rounds 3]

Writes <out>/performance-<processor>.md and .json, anew after each section: an interruption keeps what was measured.
Sections that --only leaves out are kept from earlier runs on the same videos, machine and versions.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cost import apart
from benchmarks.report import add_out_option, save_report, table
from benchmarks.sections import SECTIONS, Bench, describe, videos_of
from common.errors import Parser, positive_int, run_command
from preprocessing.data_root import read_data_root

LEGEND = """
The published flow is our rendition of it (benchmarks/published_flow.py), the library plainly what it is built on; fair
says whether the two are within 15 %. Ratio: how many times better ours is than the published flow. Holds: whether what
is asked (benchmarks/asked.py) is there. docs/performance.md tells more; a single round says little.
"""


def chosen(text: str) -> list[str]:
    """The value of --only."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(SECTIONS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def earlier(path: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a file that were measured in the same circumstances: of each its rounds and its rows."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found["sections"] if found["about"] == about else {}


def report(about: dict[str, Any], sections: dict[str, dict[str, Any]]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [f"{name}: {value}" for name, value in about.items() if name not in ("versions", "processor")]
    measured = [name for name in SECTIONS if name in sections]
    lines.append("rounds: " + ", ".join(f"{name} {sections[name]['rounds']}" for name in measured))
    rows = [row for name in measured for row in sections[name]["rows"]]
    missing = [name for name in SECTIONS if name not in sections]
    left_out = f"\nNot measured: {', '.join(missing)}\n" if missing else ""
    return f"# Performance on {about['processor']}\n\n{'; '.join(lines)}; {versions}\n\n{table(rows)}{left_out}{LEGEND}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks", description="All figures in one table.")
    parser.add_argument("videos", type=Path, metavar="VIDEO_FOLDER")
    parser.add_argument("--root", type=Path, metavar="DATA_ROOT", help="to preprocess, else generated pairs")
    parser.add_argument("--only", type=chosen, metavar="A,B", help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="the median of N rounds counts")
    add_out_option(parser)
    options = parser.parse_args(argv)
    folder, root = videos_of(options.videos.resolve()), options.root.resolve() if options.root else None
    if root:
        read_data_root(root)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # where converted networks go
        bench = Bench(folder, root, options.rounds, Path(scratch))
        about = apart(describe, bench)
        stem = "performance-" + re.sub(r"[^a-z0-9]+", "-", about["processor"].lower()).strip("-")
        sections = earlier(options.out / f"{stem}.json", about)
        for name in options.only or SECTIONS:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rows = [row.record() for row in apart(SECTIONS[name], bench)]
            sections[name] = {"rounds": options.rounds, "rows": rows}
            save_report(options.out, stem, report(about, sections), {"about": about, "sections": sections})
    print(report(about, sections))
    return 0


if __name__ == "__main__":
    run_command(main)
