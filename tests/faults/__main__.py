"""The fault suite: every fault, many times, on every command that leaves something behind.

    python -m tests.faults [--times 20] [--once 3] [--only detect_original_faces,predict_folder] [--out FOLDER]

Prints a table and writes it as FOLDER/faults.md and faults.json; with --only the rows of the other commands stay. A
trial is survived if nothing is half written, the same command finishes the job, and what it leaves is the same, byte
for byte, as after an undisturbed run.
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

from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.files import replacing
from tests.checked_out import REPOSITORY, commit_here
from tests.faults.disks import Impossible
from tests.faults.jobs import STAGES, Job, jobs
from tests.faults.trials import FAULTS, Reference, killed, reference

RESULTS = REPOSITORY / "docs" / "reliability"
ORDER = [*(stage.__name__.rpartition(".")[2] for stage in STAGES), "train_classifier", "predict_folder"]


@dataclass
class Count:
    """Trials of one fault on one job: how many were tried, of which it met the job at work, and what went wrong."""

    fault: str
    job: str
    commit: str
    tried: int = 0
    met: int = 0
    wrong: list[str] = field(default_factory=list)
    impossible: str | None = None


def counted(name: str, job: Job, expected: Reference, times: int, folder: Path, commit: str) -> Count:
    """`times` trials of a fault, each in a folder of its own."""
    count = Count(name, job.name, commit)
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
    """The counts as Markdown: a table, and below it what went wrong."""
    lines = ["| fault | command | tried | met it at work | survived | commit |", "|---|---|---|---|---|---|"]
    for count in counts:
        survived = count.impossible or str(count.tried - len(count.wrong))
        lines.append(f"| {count.fault} | {count.job} | {count.tried} | {count.met} | {survived} | {count.commit} |")
    lines += [f"\n{count.fault}, {count.job}, {wrong}" for count in counts for wrong in count.wrong]
    return "\n".join(lines) + "\n"


def totals(counts: Sequence[Count]) -> str:
    tried, wrong = (sum(numbers) for numbers in zip(*((c.tried, len(c.wrong)) for c in counts), strict=True))
    return f"{tried} faults tried, {sum(c.met for c in counts)} met a command at work, {tried - wrong} survived"


def written(counts: Sequence[Count], folder: Path) -> str:
    """The report of these counts and of those that `folder` has of other jobs, written there."""
    file = folder / "faults.json"
    before = [Count(**count) for count in json.loads(file.read_text())] if file.exists() else []
    tried = {count.job for count in counts}
    together = [*(count for count in before if count.job not in tried), *counts]
    together.sort(key=lambda count: ORDER.index(count.job))
    text = f"# Faults\n\n{totals(together)}. Written by `make faults`.\n\n{report(together)}"
    content = json.dumps([asdict(count) for count in together], indent=1) + "\n"
    for path, what in ((folder / "faults.md", text), (file, content)):
        with replacing(path) as temporary:
            temporary.write_text(what, encoding="utf-8")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="tests.faults", description="Every fault, many times, on every command.")
    parser.add_argument(
        "--times", type=positive_int, default=20, metavar="N", help="kills at random moments, of each job"
    )
    parser.add_argument("--once", type=positive_int, default=3, metavar="N", help="trials of each other fault")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="A,B", help="some of the commands")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := set(options.only or ()) - set(ORDER):
        raise UserError(f"--only: {', '.join(sorted(unknown))}: not one of {', '.join(ORDER)}")
    counts: list[Count] = []
    commit, text = commit_here(), ""
    with tempfile.TemporaryDirectory() as scratch:
        with redirect_stdout(sys.stderr):
            found = {job.name: job for job in jobs(Path(scratch) / "ground")}
        for job in map(found.get, options.only or ORDER):
            expected = reference(job, Path(scratch) / job.name / "reference")
            for name, fault in FAULTS.items():
                times = options.times if fault is killed else options.once
                counts.append(counted(name, job, expected, times, Path(scratch) / job.name, commit))
                print(report(counts[-1:]).partition("\n|---")[2].partition("\n")[2], file=sys.stderr, flush=True)
            text = written(counts, options.out)
    print(text)
    return int(any(count.wrong for count in counts))


if __name__ == "__main__":
    run_command(main)
