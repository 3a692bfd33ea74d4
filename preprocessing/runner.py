"""One way to run every stage: a list of items, those already done left out, worker processes, a progress bar, a file
of errors, and a last line that counts. Interrupted at any moment, the same command finishes the job.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from common.arguments import Parser, positive_int
from common.errors import KEPT, KEPT_OF_NEW, REMOVING, UserError, keeping_what_is_done, one_line
from common.files import held, is_held, remove_folder, set_aside
from common.limits import Limits, add_limit_options, limited
from common.places import TEMPORARY
from common.ray_cluster import add_executor_options, check_executor, connect
from common.spreadsheets import as_text, row_writer
from preprocessing.data_root import CROPS, DataRoot, Problem, Video
from preprocessing.executors import Executor, Work, WorkerDied, run_locally
from preprocessing.remote_root import Job, make_work_in_copy, scratch_folder, stored_afterwards
from preprocessing.settings import keep_apart, there


@dataclass
class Outcome:
    """What a stage's work on one video says: things counted for the last line, and remarks to pass on."""

    counts: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


@dataclass
class Stage:
    """A stage of preprocessing as the runner sees it.

    `items` are the videos it works on, `artifact_of` tells the file or folder whose presence marks one as done.
    `make_work` runs once in each worker and returns the function that does a video. `settings` are what the artifacts
    depend on besides the video; `problems` are videos that cannot even be tried, `preload` names modules that the
    workers need and that take long to import. `files_of` and `folders_of` are what is read of a video, below the root,
    `also_made` further folders of its own, which the artifact stands for. `after` is the stage whose artifacts it works
    on, if any: what that was run with decides on these artifacts too. Settings are kept under `kept_as`, or the name.
    """

    name: str
    items: Sequence[Video]
    make_work: Callable[[], Work]
    artifact_of: Callable[[Video], Path]
    settings: dict[str, Any] = field(default_factory=dict)
    preload: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    files_of: Callable[[Video], Sequence[Path]] = lambda video: [video.path]
    folders_of: Callable[[Video], Sequence[Path]] = lambda video: []
    also_made: Callable[[Video], Sequence[Path]] = lambda video: []
    after: str = ""
    kept_as: str = ""


def stage_parser(stage: str, description: str, parallel: bool = True) -> Parser:
    """A parser with the options every stage knows; `parallel` ones work through a list of items."""
    parser = Parser(prog=f"preprocessing.{stage}", description=description)
    add = parser.add_argument
    add(
        "--root-dir",
        required=True,
        metavar="DIR",
        help="the data root (may be a URL): folders of videos with metadata.json",
    )
    if not parallel:
        return parser
    add(
        "--workers",
        type=positive_int,
        metavar="N",
        help="worker processes (default: one per core)",
    )
    add_executor_options(parser)
    add_limit_options(parser)
    add("--overwrite", action="store_true", help="do again what is done already")
    add("--limit", type=positive_int, metavar="N", help="only the first N real videos, and the fakes of these")
    add("--part", type=_share, default=(1, 1), metavar="I/N", help="only the I-th of N shares (default: 1/1)")
    add("--strict", action="store_true", help="exit with code 1 if an item failed")
    return parser


def add_crops_option(parser: Parser) -> Parser:
    parser.add_argument("--crops-dir", default=CROPS, metavar="DIR", help="folder of the crops, below the data root")
    return parser


def _share(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 1/4 (the first of four)")
    return int(index), int(count)


def run_stage(stage: Stage, root: DataRoot, options: argparse.Namespace) -> int:
    """Do a stage's items; returns the exit code: 1 if nothing could be done, or with `--strict` if anything failed.

    Raises UserError if artifacts made with other settings are there, or if the same work is being done already; at a
    URL, where nothing can be locked, the same work done twice makes the same artifacts.
    """
    check_executor(options.executor, options.ray_address)
    index, count = options.part
    share = "" if count == 1 else f".{index}of{count}"
    chosen = first_sources((v for v in root.videos.values() if share_of(v.source, count) == index), options.limit)
    items = [video for video in stage.items if video.source in chosen]
    # Each is told by one share alone.
    stage.problems = [problem for problem in stage.problems if share_of(problem.item, count) == index]
    if root.remote:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as logs:
            return _run_items(stage, root, items, Path(logs), share, options)
    logs = root.folder("logs")
    logs.mkdir(parents=True, exist_ok=True)
    lock = logs / f"{stage.name}{share}.lock"
    refusal = f"{root.path}: another {stage.name} is at work on it; wait for it"
    with held(lock, refusal):
        # Other shares of the same cut have other videos; those of another cut, and the whole, do not.
        alike = set(logs.glob(f"{stage.name}.*of{count}.lock")) if share else {lock}
        if any(is_held(other) for other in {*logs.glob(f"{stage.name}.*lock")} - alike):
            raise UserError(refusal)
        return _run_items(stage, root, items, logs, share, options)


def first_sources(videos: Iterable[Video], limit: int | None) -> set[str]:
    """Ids of the first `limit` originals among the videos, or of all; the same in every stage."""
    return set(islice(dict.fromkeys(video.source for video in videos), limit))


def share_of(source: str, count: int) -> int:
    """Which of `count` shares (from 1) an original belongs to; its fakes, which need its boxes, go along with it.

    A hash of its id decides, so that shares stay as they are when videos come and go.
    """
    digest = hashlib.sha256(source.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


def _run_items(
    stage: Stage, root: DataRoot, items: Sequence[Video], logs: Path, share: str, options: argparse.Namespace
) -> int:
    with keeping_what_is_done(REMOVING if options.overwrite else KEPT):
        keep_apart(stage, root, items, root.remote / "logs" if root.remote else logs, options)
    with keeping_what_is_done(KEPT_OF_NEW if options.overwrite else KEPT):
        return _run_what_is_left(stage, root, items, logs, share, options)


def _run_what_is_left(
    stage: Stage, root: DataRoot, items: Sequence[Video], logs: Path, share: str, options: argparse.Namespace
) -> int:
    wanted = {video.id: {stage.artifact_of(video), *stage.also_made(video)} for video in items}
    done = there(root, chain.from_iterable(wanted.values()))
    todo = [video for video in items if not wanted[video.id] <= done]
    # Long work first: nobody wants to wait for the one long video that began last.
    todo.sort(key=root.size_of, reverse=True)
    executor = _executor(options.executor, options.ray_address) if todo else run_locally
    totals, failed = Counter(), 0
    errors, notes = (logs / f"{stage.name}{share}.{kind}.csv" for kind in ("errors", "notes"))
    with ExitStack() as stack:
        if root.remote:
            stack.enter_context(stored_afterwards(root.remote / "logs", [errors, notes]))
        write_error = stack.enter_context(_csv_log(errors, "reason"))
        write_note = stack.enter_context(_csv_log(notes, "note"))
        for problem in stage.problems:
            write_error(problem.item, problem.reason)
        for video, result in _progress(stage, root, todo, len(items), executor, options):
            if isinstance(result, Exception):
                failed += 1
                write_error(video.id, reason_of(result, Limits.of(options)))
                continue
            totals += result.counts
            for note in result.notes:
                _say(f"{video.id}: {note}")
                write_note(video.id, note)
    done, skipped = len(todo) - failed, len(items) - len(todo)
    details = "".join(f", {number} {what}" for what, number in totals.items())
    bad = failed + len(stage.problems)
    print(
        f"{stage.name}: {done} done, {skipped} skipped, {bad} failed{details}"
        + (f"; reasons in {root.remote / 'logs' / errors.name if root.remote else errors}" if bad else "")
    )
    # A share may be empty, as long as others are not.
    nothing_possible = bad > 0 and done + skipped == 0 and (len(items) > 0 or not share)
    return int(nothing_possible or (options.strict and bad > 0))


def _executor(name: str, ray_address: str | None) -> Executor:
    """The executor `local`, or `ray` on the cluster at the address. Raises UserError if it cannot be had."""
    if name == "local":
        return run_locally
    from preprocessing.ray_executor import run_on_ray

    connect(ray_address)
    return run_on_ray


def _progress(
    stage: Stage, root: DataRoot, todo: Sequence[Video], total: int, executor: Executor, options: argparse.Namespace
) -> Iterator[tuple[Video, Outcome | Exception]]:
    from tqdm import tqdm

    if not todo:
        return
    with tqdm(total=total, initial=total - len(todo), desc=stage.name, unit="item") as bar:
        make_work = partial(limited, stage.make_work, Limits.of(options))
        for item, result in _executed(make_work, stage, root, todo, executor, options):
            bar.update()
            yield item, result


def _executed(
    make_work: Callable[[], Work],
    stage: Stage,
    root: DataRoot,
    todo: Sequence[Video],
    executor: Executor,
    options: argparse.Namespace,
) -> Iterator[tuple[Video, Outcome | Exception]]:
    if not root.remote:
        yield from executor(make_work, todo, options.workers, stage.preload)
        return
    jobs = [
        Job(
            video,
            files={*stage.files_of(video)},
            folders={*stage.folders_of(video)},
            artifact=stage.artifact_of(video),
            also={*stage.also_made(video)},
        )
        for video in todo
    ]
    with scratch_folder() as scratch:
        make_work = partial(make_work_in_copy, make_work, root.remote, scratch)
        for job, result in executor(make_work, jobs, options.workers, stage.preload):
            yield job.video, result


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(one_line(line), file=sys.stderr)


def reason_of(error: Exception, limits: Limits) -> str:
    """What to write about a failure: our own errors are sentences, others need their type to be understood."""
    from faces.video import VideoError

    if isinstance(error, MemoryError):
        return limits.too_large
    text = one_line(error)
    return (
        text
        if isinstance(error, (VideoError, StageError, WorkerDied, UserError))
        else f"{type(error).__name__}: {text}"
    )


class StageError(Exception):
    """Why an item cannot be done, in words for the errors file."""


@contextmanager
def _csv_log(path: Path, what: str) -> Iterator[Callable[[str, str], None]]:
    """A CSV of item and `what`, a line as soon as it is known; no file where there is nothing to tell."""
    path.unlink(missing_ok=True)

    def write(item: str, text: str) -> None:
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            write_row = row_writer(file)
            if new:
                write_row(("item", what))
            write_row((as_text(item), as_text(text)))

    yield write


@contextmanager
def folder_replacing(path: Path) -> Iterator[Path]:
    """A folder to fill that becomes `path` by rename when all is in it. What an earlier attempt left is removed."""
    temporary = path.with_name(f".{path.name}.tmp")
    for left in (temporary, set_aside(path)):
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if path.exists():
        remove_folder(path)
    temporary.rename(path)
