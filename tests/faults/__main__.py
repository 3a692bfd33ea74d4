"""The fault suite: every fault, many times, on every command that leaves something behind.

    python -m tests.faults [--times 20] [--once 3] [--only detect_original_faces,predict_folder] [--out FOLDER]

Prints a table and writes it as FOLDER/faults.md and faults.json. A trial is survived if nothing is half written, the
same command finishes the job, and what it leaves is the same, byte for byte, as after an undisturbed run.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path

from common.errors import Parser, positive_int, run_command
from common.files import replacing
from tests.faults.jobs import Job, jobs
from tests.faults.trials import FAULTS, Impossible, Reference, killed, reference

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "reliability"


@dataclass
class Count:
    """Trials of one fault on one job: how many were tried, of which it met the job at work, and what went wrong."""

    fault: str
    job: str
    tried: int = 0
    met: int = 0
    wrong: list[str] = field(default_factory=list)
    impossible: str | None = None


def counted(name: str, job: Job, expected: Reference, times: int, folder: Path) -> Count:
    """`times` trials of a fault, each in a folder of its own, which is removed if the fault was survived."""
    count = Count(name, job.name)
    for number in range(times):
        place = folder / f"{FAULTS[name].__name__}_{number}"
        try:
            count.met += FAULTS[name](job, place, expected, random.Random(f"{name}, {job.name}, {number}"))
        except Impossible as error:
            count.impossible = str(error)
            return count
        except AssertionError as error:
            count.wrong.append(f"trial {number}: {str(error).strip()[-400:]}")
        count.tried += 1
        shutil.rmtree(place, ignore_errors=True)
    return count


def report(counts: Sequence[Count]) -> str:
    lines = ["| fault | command | tried | met it at work | survived |", "|---|---|---|---|---|"]
    for count in counts:
        survived = count.impossible or str(count.tried - len(count.wrong))
        lines.append(f"| {count.fault} | {count.job} | {count.tried} | {count.met} | {survived} |")
    lines += [f"\n{count.fault}, {count.job}, {wrong}" for count in counts for wrong in count.wrong]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="tests.faults", description="Every fault, many times, on every command.")
    parser.add_argument(
        "--times", type=positive_int, default=20, metavar="N", help="kills at random moments, of each job"
    )
    parser.add_argument("--once", type=positive_int, default=3, metavar="N", help="trials of each other fault")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="A,B", help="some of the commands")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    counts: list[Count] = []
    with tempfile.TemporaryDirectory() as scratch:
        with redirect_stdout(sys.stderr):
            chosen = [job for job in jobs(Path(scratch) / "ground") if not options.only or job.name in options.only]
        for job in chosen:
            expected = reference(job, Path(scratch) / job.name / "reference")
            for name, fault in FAULTS.items():
                times = options.times if fault is killed else options.once
                counts.append(counted(name, job, expected, times, Path(scratch) / job.name))
                print(report(counts[-1:]).splitlines()[2], file=sys.stderr, flush=True)
    text = report(counts)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("faults.md", text),
        ("faults.json", json.dumps([asdict(c) for c in counts], indent=1) + "\n"),
    ):
        with replacing(options.out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(text)
    return int(any(count.wrong for count in counts))


if __name__ == "__main__":
    run_command(main)
