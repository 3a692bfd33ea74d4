"""A run's results on disk: a partial file that survives interruption, then the finished files by rename."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.errors import KEPT, UserError
from common.files import held, replacing
from common.places import Remote
from common.spreadsheets import as_text, row_writer
from inference.stream import Video, VideoScore

Stamp = tuple[str, int, int]
# Beside the output: what is done so far, and what a finished run with failures tries again.
PARTIAL, RETRY = ".partial", ".retry"
UNSAID = {"decoder": "pyav"}  # by versions before this one


@dataclass
class Summary:
    """What became of a run's videos: P(fake) by file name, why some could not be read, or show no face."""

    output: Path | Remote
    errors_file: Path | Remote
    labels: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    faceless: dict[str, str] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)

    @property
    def unscored(self) -> dict[str, str]:
        """Why a label of 0.5 says nothing, by file name."""
        return {**self.failures, **self.faceless}

    def __str__(self) -> str:
        warned = f" ({len(self.warned)} with warnings, told by --details)" if self.warned else ""
        videos = f"{len(self.labels)} video{'' if len(self.labels) == 1 else 's'}"
        parts = [f"{self.output}: {videos}, {len(self.labels) - len(self.unscored)} scored{warned}"]
        if self.faceless:
            parts.append(f"{len(self.faceless)} without a face (0.5)")
        if self.failures:
            parts.append(f"{len(self.failures)} failed (0.5; the same command tries again)")
        return ", ".join(parts) + (f"; reasons in {self.errors_file}" if self.unscored else "")


class Results:
    """The results of a run, in the making as `<output>.partial`: settings in its first line, then a line per video.

    A line cut short by a kill is dropped when the run is continued. If videos have failed, it stays as `<output>.retry`
    beside the finished files, so that the same run tries these again. One process at a time holds the output, the
    details and the `report` that somebody is going to write: use it in a `with` statement. Raises UserError if one of
    them is there and was not to be written by the run that is continued, unless `overwrite`, or is held by another.
    """

    def __init__(
        self,
        output: str | Path,
        details: str | Path | None = None,
        overwrite: bool = False,
        report: str | Path | None = None,
    ):
        self.output = target_of(output)
        self.details = None if details is None else target_of(details)
        self.overwrite = overwrite
        self.partial = self._beside(PARTIAL)
        self.name: object = self.output
        self.retry = self._beside(RETRY)
        report = None if report is None else target_of(report)
        self.files: dict[str, Path | Remote | None] = {"output": self.output, "details": self.details, "report": report}

    def __enter__(self) -> "Results":
        for path in filter(None, self.files.values()):
            check_writable(path)
        own = [self.output, *(self._beside(suffix) for suffix in (PARTIAL, RETRY, ".lock", ".errors.csv"))]
        for option, path in self.files.items():
            if option != "output" and path and path.absolute() in [beside.absolute() for beside in own]:
                raise UserError(f"{path}: --{option} is the same file as the output or one beside it")
        with ExitStack() as stack:
            for option, path in self.files.items():
                if path:
                    refusal = f"{path}: another run is writing it; wait, or choose another --{option}"
                    stack.enter_context(held(path.with_name(path.name + ".lock"), refusal))
            self._take_up_failed()
            self._refuse_finished()
            self._open = stack.pop_all()
        return self

    def _take_up_failed(self) -> None:
        """A finished run with failures is an unfinished one again, unless it shall be replaced."""
        if not self.retry.exists():
            return
        if self.output.exists() and not self.overwrite and not self.partial.exists():
            self.retry.rename(self.partial)
        else:
            self.retry.unlink()

    def _refuse_finished(self) -> None:
        """An unfinished run may write over what it was to write; nothing else is replaced unasked."""
        meant = self._meant()
        for path in filter(None, self.files.values()):
            if path.exists() and not self.overwrite and _whole(path) not in meant:
                raise UserError(f"{path}: exists already; --overwrite replaces it")

    def _meant(self) -> set[str]:
        """The files that the unfinished run was to write, if there is one."""
        named = {_whole(path) for path in self.files.values() if path}
        try:
            with self.partial.open() as file:
                # Versions before this one did not write them down.
                return {_whole(self.files["output"]), *json.loads(file.readline()).get("files", named)}
        except FileNotFoundError:
            return set()
        except (ValueError, TypeError, AttributeError):  # damaged: `check` says so
            return {_whole(self.files["output"])}

    def __exit__(self, *exc_info) -> None:
        self._open.close()

    def check(self, settings: dict[str, Any]) -> None:
        """Raise UserError if the partial file has other `settings`, unless `overwrite`; some of those of `begin` do."""
        if self.partial.exists():
            self._has(settings)

    def begin(self, settings: dict[str, Any]) -> set[Stamp]:
        """Open the partial file; returns the stamps of the videos already scored in it.

        A partial file with other settings is discarded with `overwrite`, else it raises UserError.
        """
        if self.partial.exists() and self._has(settings):
            self._drop_torn_line()
            self._begun_with(settings)
            # What failed is tried again: a file may have been unreadable for a moment. Of a file that was exchanged
            # meanwhile the last record counts, as it does for the label.
            last = {r["filename"]: None if r["error"] else tuple(r["stamp"]) for _, r in self._records()}
            return set(last.values()) - {None}
        with replacing(self.partial) as temporary:
            temporary.write_text(self._head(settings, set()))
        return set()

    def append(self, stamp: Stamp, score: VideoScore) -> None:
        """Add a video's record; it is in the operating system's hands when this returns."""
        try:
            with self.partial.open("a") as file:
                file.write(json.dumps({"stamp": stamp, **asdict(score)}) + "\n")
        except OSError as error:
            reason = f"{error.strerror}; {KEPT}"
            raise OSError(error.errno, reason, str(self.partial)) from error

    def finish(
        self,
        videos: Sequence[Video],
        about: Callable[[dict], Mapping[str, Any]],
        then: Callable[[], object] = lambda: None,
    ) -> Summary:
        """Write details (if asked for), errors and the CSV in the order of `videos`, each by rename, the CSV last.

        Then `then` is called; interrupted in it, the run is not finished. What is needed to try failed videos again is
        kept. Every record of the details ends with what is said `about` it.
        """
        summary = Summary(self.output, self._beside(".errors.csv"))
        with _details_writer(self.details) as write_details:
            for record in self._in_order(videos):
                summary.labels[record["filename"]] = record["label"]
                if record["error"] is not None:
                    summary.failures[record["filename"]] = record["error"]
                elif not record["labels"]:
                    # The one warning of a video in which nothing was found that could be scored.
                    summary.faceless[record["filename"]] = record["warnings"][-1]
                elif record["warnings"]:
                    summary.warned.append(record["filename"])
                del record["stamp"]
                write_details({**record, **about(record)})
        if summary.unscored:
            rows = ((as_text(name), as_text(reason)) for name, reason in summary.unscored.items())
            _write_csv(summary.errors_file, ("filename", "reason"), rows)
        else:
            summary.errors_file.unlink(missing_ok=True)
        # repr keeps every digit of the label, so that reading the file gives the same number back.
        _write_csv(self.output, ("filename", "label"), ((name, repr(value)) for name, value in summary.labels.items()))
        then()
        if summary.failures:
            self.partial.rename(self.retry)
        else:
            self.partial.unlink()
        return summary

    def _head(self, settings: dict[str, Any], meant: set[str]) -> str:
        """The first line of a partial file: of a run that writes its files, and those it was `meant` to before."""
        files = meant | {_whole(path) for path in self.files.values() if path}
        return json.dumps({"settings": settings, "files": sorted(files)}) + "\n"

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.name + suffix)

    def _records(self) -> Iterator[tuple[int, dict]]:
        """The partial file's records with their positions in it."""
        with self.partial.open("rb") as file:
            position = len(file.readline())
            for line in file:
                # A line that a crash of the machine has damaged counts as not written.
                with suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict) and {"stamp", "filename", "error"} <= record.keys():
                        yield position, record
                position += len(line)

    def _in_order(self, videos: Sequence[Video]) -> Iterator[dict]:
        """Each video's latest record, read one at a time: the faces of a large folder do not fit into memory."""
        latest = {record["filename"]: position for position, record in self._records()}
        with self.partial.open("rb") as file:
            for video in videos:
                file.seek(latest[video.name])
                yield json.loads(file.readline())

    def _drop_torn_line(self) -> None:
        with self.partial.open("rb+") as file:
            whole = sum(len(line) for line in file if line.endswith(b"\n"))
            file.truncate(whole)

    def _begun_with(self, settings: dict[str, Any]) -> None:
        """Have the partial file say `settings`: what went on without a `limit` must not end at one the next time."""
        head = self._head(settings, self._meant()).encode()
        with self.partial.open("rb") as file:
            if file.readline() == head:
                return
            with replacing(self.partial) as temporary, temporary.open("wb") as anew:
                anew.write(head)
                shutil.copyfileobj(file, anew)

    def _has(self, settings: dict[str, Any]) -> bool:
        """Whether the partial file was begun with these settings; UserError if not, unless it may be overwritten."""
        try:
            with self.partial.open() as file:
                before = {**UNSAID, **json.loads(file.readline())["settings"]}
            changed = {
                key: f"{key} was {before.get(key)}, is {new}" for key, new in settings.items() if before.get(key) != new
            }
            # More videos than before may be wanted.
            if (before.get("limit") or math.inf) <= settings.get("limit", math.inf):
                changed.pop("limit", None)
        except (ValueError, KeyError, TypeError, AttributeError):
            changed = {"": "it is damaged"}
        if changed and not self.overwrite:
            computed = {"models", "device"} & {*changed}
            how = "; it goes on with --models, --device, --engine and --precision as they were" if computed else ""
            what = "; ".join(changed.values())
            raise UserError(f"{self.name}: cannot be continued ({what}){how}; --overwrite starts afresh")
        return not changed


def _whole(path: Path | Remote) -> str:
    """A name that means the same file from everywhere."""
    return str(path if isinstance(path, Remote) else os.path.realpath(path))


def target_of(path: str | Path) -> Path:
    """Where a result is to be written: what a link points to, so that the link stays one."""
    if not str(path):
        raise UserError("an empty name cannot be written to; give --output and --details the name of a file")
    path = Path(path)
    if not path.name:
        raise UserError(f"{path}: is a directory, not a file to write")
    return path.resolve() if path.is_symlink() else path


def check_writable(path: Path) -> None:
    """Find out before hours of work, not after, that a result cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}: {error.filename})") from error
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is a directory or a device, not a file to write")
    try:  # some disks take nothing, whatever their permissions say
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror} in {path.parent})") from error


def stamp_of(video: Video) -> Stamp:
    """What identifies a video's content cheaply: name, size in bytes, modification time in nanoseconds.

    Of a URL, a number from the hash or time that its store has listed stands for the time.
    """
    if isinstance(video.path, Remote):
        return video.name, video.path.size, video.path.version
    try:
        status = video.path.stat() if video.path else None
    except OSError:  # the reason is told when the video is read
        status = None
    return (video.name, status.st_size, status.st_mtime_ns) if status else (video.name, -1, -1)


@contextmanager
def _details_writer(path: Path | None) -> Iterator[Callable[[dict], object]]:
    """Writes records as JSON lines to a file that appears when all are written; without a path, writes nothing."""
    if path is None:
        yield lambda record: None
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield lambda record: file.write(json.dumps(record) + "\n")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # A name that is not UTF-8 is shown with escapes: as it is, it would make the whole file unreadable.
    text = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with replacing(path) as temporary, temporary.open("w", **text) as file:
        write = row_writer(file)
        write(header)
        for row in rows:
            write(row)
