"""All figures, each flow against ours where there is one to compare with, in one table.

    python -m benchmarks VIDEO_FOLDER [--root DATA_ROOT] [--only prediction,exactness] [--rounds 3]
    python -m benchmarks VIDEO_FOLDER --only gpu --rounds 1 --minutes 8     (a GPU checked and measured, a few videos)

Writes <out>/performance-<processor>.md and .json, anew after each section: an interruption keeps what was measured.
Sections that --only leaves out are kept from earlier runs on the same videos, machine and versions.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cost import apart
from benchmarks.report import add_out_option, save_report, table
from benchmarks.sections import GPU_ONLY, GROUPS, SECTIONS, Bench, describe, videos_of
from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from preprocessing.data_root import read_data_root

LEGEND = """
The published flow is our rendition of it (benchmarks/published_flow.py), the library plainly what it is built on; fair
says whether the two are within 15 %. Ratio: how many times better ours is than the published flow. Holds: whether what
is asked (benchmarks/asked.py) is there. docs/performance.md tells more; a single round says little.
"""


def chosen(text: str) -> list[str]:
    """The value of --only."""
    names = [name for given in text.split(",") for name in GROUPS.get(given, (given,))]
    if unknown := sorted(set(names) - set(SECTIONS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join([*SECTIONS, *GROUPS])}")
    return [name for name in SECTIONS if name in names]


def earlier(path: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a file that were measured in the same circumstances: of each its rounds and its rows."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found["sections"] if found["about"] == about else {}


def possible(about: dict[str, Any]) -> list[str]:
    """The sections that can be measured on a machine."""
    on_gpu = about.get("device", "").startswith("cuda")
    return [name for name in SECTIONS if on_gpu or name not in GPU_ONLY]


def is_late(begun: float, minutes: int | None) -> bool:
    """Whether so many minutes are over; `begun` is of time.monotonic."""
    return minutes is not None and time.monotonic() - begun > 60 * minutes


def report(about: dict[str, Any], sections: dict[str, dict[str, Any]]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [f"{name}: {value}" for name, value in about.items() if name not in ("versions", "processor")]
    measured = [name for name in SECTIONS if name in sections]
    lines.append("rounds: " + ", ".join(f"{name} {sections[name]['rounds']}" for name in measured))
    rows = [row for name in measured for row in sections[name]["rows"]]
    missing = [name for name in possible(about) if name not in sections]
    left_out = f"\nNot measured: {', '.join(missing)}\n" if missing else ""
    return f"# Performance on {about['processor']}\n\n{'; '.join(lines)}; {versions}\n\n{table(rows)}{left_out}{LEGEND}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks", description="All figures in one table.")
    parser.add_argument("videos", type=Path, metavar="VIDEO_FOLDER")
    parser.add_argument("--root", type=Path, metavar="DATA_ROOT", help="to preprocess, else generated pairs")
    groups = ", ".join(f"{name} for {' '.join(sections)}" for name, sections in GROUPS.items())
    parser.add_argument("--only", type=chosen, metavar="A,B", help=f"some of {', '.join(SECTIONS)}; or {groups}")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="the median of N rounds counts")
    parser.add_argument("--minutes", type=positive_int, metavar="N", help="begin no section after so many")
    add_out_option(parser)
    options = parser.parse_args(argv)
    begun = time.monotonic()
    os.environ.pop("OMP_WAIT_POLICY", None)  # ours sets it; with it the published flow would detect half as fast
    folder, root = videos_of(options.videos.resolve()), options.root.resolve() if options.root else None
    if root:
        read_data_root(root)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # where converted networks go
        bench = Bench(folder, root, options.rounds, Path(scratch))
        about = apart(describe, bench)
        stem = "performance-" + re.sub(r"[^a-z0-9]+", "-", about["processor"].lower()).strip("-")
        sections = earlier(options.out / f"{stem}.json", about)
        if options.only and (no_gpu := sorted(set(options.only) - set(possible(about)))):
            raise UserError(f"--only {no_gpu[0]}: needs a CUDA device; this is {about['device']}")
        for name in options.only or possible(about):
            if is_late(begun, options.minutes):
                print(f"left out after {options.minutes} minutes: {name}", file=sys.stderr, flush=True)
                continue
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rows = [row.record() for row in apart(SECTIONS[name], bench)]
            sections[name] = {"rounds": options.rounds, "rows": rows}
            save_report(options.out, stem, report(about, sections), {"about": about, "sections": sections})
    print(report(about, sections))
    return 0


if __name__ == "__main__":
    run_command(main)
