"""A run's results on disk: a partial file that survives interruption, then the finished files by rename."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from common.errors import UserError
from common.files import replacing
from inference.stream import Video, VideoScore

Stamp = tuple[str, int, int]


@dataclass
class Summary:
    """What became of a run's videos."""

    output: Path
    errors_file: Path
    labels: dict[str, float]
    failed: int
    faceless: int

    def __str__(self) -> str:
        unscored = self.faceless + self.failed
        parts = [f"{self.output}: {len(self.labels)} videos, {len(self.labels) - unscored} scored"]
        if self.faceless:
            parts.append(f"{self.faceless} without a face (0.5)")
        if self.failed:
            parts.append(f"{self.failed} failed (0.5)")
        return ", ".join(parts) + (f"; reasons in {self.errors_file}" if unscored else "")


class Results:
    """The results of a run, in the making as `<output>.partial`: settings in its first line, then a line per video.

    A line cut short by a kill is dropped when the run is continued. One process at a time holds an output: use it
    in a `with` statement. Raises UserError if the output is finished already, unless `overwrite`, or held by another.
    """

    def __init__(self, output: str | Path, details: str | Path | None = None, overwrite: bool = False):
        self.output = Path(output)
        self.details = None if details is None else Path(details)
        self.overwrite = overwrite
        self.partial = self._beside(".partial")
        self._lock = FileLock(self._beside(".lock"), blocking=False)

    def __enter__(self) -> "Results":
        self.output.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(f"{self.output}: another run is writing it; wait, or choose another --output") from error
        for path in filter(None, (self.output, self.details)):
            _check_writable(path)
        if self.output.exists() and not self.overwrite:
            raise UserError(f"{self.output}: exists already; --overwrite replaces it")
        return self

    def __exit__(self, *exc_info) -> None:
        self._lock.release()
        with suppress(OSError):
            self._beside(".lock").unlink()

    def begin(self, settings: dict[str, Any]) -> set[Stamp]:
        """Open the partial file; returns the stamps of the videos already scored in it.

        Raises UserError if the partial file was begun with other settings.
        """
        if self.overwrite:
            self.partial.unlink(missing_ok=True)
        if not self.partial.exists():
            with replacing(self.partial) as temporary:
                temporary.write_text(json.dumps({"settings": settings}) + "\n")
            return set()
        self._check_settings(settings)
        self._drop_torn_line()
        # What failed is tried again: a file may have been unreadable for a moment.
        return {tuple(record["stamp"]) for _, record in self._records() if record["error"] is None}

    def append(self, stamp: Stamp, score: VideoScore) -> None:
        """Add a video's record; it is in the operating system's hands when this returns."""
        with self.partial.open("a") as file:
            file.write(json.dumps({"stamp": stamp, **asdict(score)}) + "\n")

    def finish(self, videos: Sequence[Video], models: Sequence[str]) -> Summary:
        """Write details (if asked for), errors and the CSV in the order of `videos`, each by rename, the CSV last."""
        summary = Summary(self.output, self._beside(".errors.csv"), {}, failed=0, faceless=0)
        unscored = []
        with _details_writer(self.details) as write_details:
            for record in self._in_order(videos):
                summary.labels[record["filename"]] = record["label"]
                if not record["labels"]:
                    summary.failed += record["error"] is not None
                    summary.faceless += record["error"] is None
                    unscored.append((record["filename"], record["error"] or "no face found"))
                del record["stamp"]
                write_details({**record, "models": list(models)})
        if unscored:
            _write_csv(summary.errors_file, ("filename", "reason"), unscored)
        else:
            summary.errors_file.unlink(missing_ok=True)
        # repr keeps every digit of the label, so that reading the file gives the same number back.
        _write_csv(self.output, ("filename", "label"), ((name, repr(value)) for name, value in summary.labels.items()))
        self.partial.unlink()
        return summary

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.name + suffix)

    def _records(self) -> Iterator[tuple[int, dict]]:
        """The partial file's records with their positions in it."""
        with self.partial.open("rb") as file:
            position = len(file.readline())
            for line in file:
                yield position, json.loads(line)
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

    def _check_settings(self, settings: dict[str, Any]) -> None:
        advice = "use the same, or --overwrite to start afresh"
        with self.partial.open() as file:
            first = file.readline()
        try:
            before = json.loads(first)["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.partial}: is not the partial file of a run; remove it to go on") from error
        changed = [f"{key} was {before.get(key)}, is {new}" for key, new in settings.items() if before.get(key) != new]
        if changed:
            raise UserError(f"{self.partial}: was begun with other settings ({'; '.join(changed)}): {advice}")


def _check_writable(path: Path) -> None:
    """Find out before hours of work, not after, that a result cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise UserError(f"{path}: is a directory, not a file to write")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written (no permission in {path.parent})")


def stamp_of(video: Video) -> Stamp:
    """What identifies a video's content cheaply: name, size in bytes, modification time in nanoseconds."""
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
    # surrogateescape gives a name that is not UTF-8 back as the bytes it has on disk.
    text = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with replacing(path) as temporary, temporary.open("w", **text) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
