"""A run's results in an object store, where nothing can be appended to, renamed or locked.

They are made as on a disk, in a temporary folder. The partial file goes to `<output>.partial/` piece by piece, numbered
objects that are only ever created, which the store refuses when another run was first with the number. So of two runs
on one output the later one goes on with what the earlier had stored, and the earlier one ends when it is to store more.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.places import TEMPORARY, Remote, RemoteMissingError, asked_at_once, is_url
from inference.results import Results, Stamp, Summary
from inference.stream import Video, VideoScore

# Seconds between pieces: so much a run can lose that is killed. Small objects cost a request each.
BETWEEN_PIECES = 5.0
SETTINGS = b'{"settings"'


class RemoteResults(Results):
    """`Results` under URLs. A run that ends by itself, or by Ctrl-C, has stored all it has done."""

    def __init__(
        self, output: Remote, details: Remote | None = None, overwrite: bool = False, report: Remote | None = None
    ):
        self.temporary = tempfile.TemporaryDirectory(prefix=TEMPORARY)
        folder = Path(self.temporary.name)
        (folder / "details").mkdir()
        super().__init__(folder / "submission.csv", details and folder / "details" / "details.jsonl", overwrite)
        self.files = {"output": output, "details": details, "report": report}
        self.pieces, self.name = Remote(f"{output}.partial"), output
        self.stored, self.number, self.own, self.last = 0, 0, False, 0.0
        # A line that is no record, in every piece: two runs may claim a number with nothing to say.
        self.signature = json.dumps({"run": uuid.uuid4().hex}).encode() + b"\n"

    def __enter__(self) -> "RemoteResults":
        for option, url in self.files.items():
            if option != "output" and url in (self.name, self._errors_url):
                raise UserError(f"{url}: --{option} is the same file as the output or one beside it")
        found = self.pieces.entries()
        pieces = [found[name] for name in sorted(found) if name.isdecimal()]
        contents = asked_at_once(Remote.read_bytes, pieces)
        # An --overwrite begins anew in the middle; what was before it counts no more.
        begins = [i for i, content in enumerate(contents) if content.startswith(SETTINGS)]
        if begins:
            self.partial.write_bytes(b"".join(contents[begins[-1] :]))
        self.number = max((int(piece.name) for piece in pieces), default=0)
        self._refuse_finished()
        return self

    def __exit__(self, kind, *exc_info) -> None:
        try:
            if self.own and self.partial.exists():
                self._store()
        finally:
            self.temporary.cleanup()

    def begin(self, settings: dict[str, Any]) -> set[Stamp]:
        before = self.partial.read_bytes() if self.partial.exists() else b""
        done = super().begin(settings)
        # What super() has dropped at the end, or put in the place of it all, is stored again.
        now = self.partial.read_bytes()
        self.stored = len(before) if now == before else 0
        self.own = True
        self._store(claim=True)
        return done

    def append(self, stamp: Stamp, score: VideoScore) -> None:
        super().append(stamp, score)
        if time.monotonic() - self.last >= BETWEEN_PIECES:
            self._store()

    def finish(
        self,
        videos: Sequence[Video],
        about: Callable[[dict], Mapping[str, Any]],
        then: Callable[[], object] = lambda: None,
    ) -> Summary:
        if not self._piece(self.number).is_file():  # another has finished, and removed it
            self._give_way()
        self._store(claim=True)
        summary = super().finish(videos, about)
        output, details = self.files["output"], self.files["details"]
        if details:
            details.put(self.details)
        if summary.unscored:
            self._errors_url.put(summary.errors_file)
        else:
            self._errors_url.unlink()
        output.put(self.output)
        then()
        if not summary.failures:  # the same run tries these again
            asked_at_once(Remote.unlink, [piece for piece in self.pieces.entries().values() if piece])
        summary.output, summary.errors_file = output, self._errors_url
        return summary

    @property
    def _errors_url(self) -> Remote:
        return Remote(f"{self.name}.errors.csv")

    def _piece(self, number: int) -> Remote:
        return self.pieces / f"{number:010}"

    def _store(self, claim: bool = False) -> None:
        """Store what the partial file has beyond what is stored; with `claim` even nothing, for the number's sake."""
        with self.partial.open("rb") as file:
            file.seek(self.stored)
            content = file.read()
        if content or claim:
            piece, signed = self._piece(self.number + 1), content + self.signature
            # The answer to a put can get lost, and its repetition then meets what the first one has left.
            if not piece.create(signed) and _content_of(piece) != signed:
                self._give_way()
            self.number, self.stored = self.number + 1, self.stored + len(content)
        self.last = time.monotonic()

    def _give_way(self) -> None:
        self.own = False
        raise UserError(f"{self.name}: another run has begun to write it; this one ends, the other goes on")


def _content_of(piece: Remote) -> bytes | None:
    """None if it is gone again: the run that wrote it has finished."""
    try:
        return piece.read_bytes()
    except RemoteMissingError:
        return None


def results_at(
    output: Path | Remote, details: Path | Remote | None, overwrite: bool, report: Path | Remote | None = None
) -> Results:
    """The Results of a run; UserError if some are URLs and others are not."""
    remote = {is_url(path) for path in (output, details, report) if path}
    if len(remote) > 1:
        raise UserError("--output, --details and --report are all of them URLs, or none is")
    return (RemoteResults if True in remote else Results)(output, details, overwrite, report)
