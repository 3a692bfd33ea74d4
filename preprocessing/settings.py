"""What a stage's artifacts were made with, kept beside its log, so that those of different settings are never mixed."""

import argparse
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.files import remove_folder, replacing
from common.places import Remote, RemoteMissingError
from preprocessing.data_root import CROPS, DataRoot, Video
from preprocessing.remote_root import done_already, empty, forget

if TYPE_CHECKING:
    from preprocessing.runner import Stage

# Among a stage's settings: those of the stage whose artifacts it works on, and a mark of when all of it was done anew.
MADE_FROM, MADE_ANEW = "made from", "made anew"


def keep_apart(
    stage: "Stage", root: DataRoot, items: Sequence[Video], logs: Path | Remote, options: argparse.Namespace
) -> None:
    """Raise UserError if there are artifacts of other settings; with `--overwrite` remove them instead.

    Those made from what the stage before had made with other settings, or before all of that was done anew with
    `--overwrite`, are of no use any more, and removed in any case.
    So are those of `items` with `--overwrite`, whatever they were made with. All before anything is made: after an
    interruption none may be taken for a new one.
    """
    path = logs / f"{stage.kept_as or stage.name}.settings.json"
    before, now = _read(path), dict(stage.settings)
    if before and MADE_ANEW in before:
        now[MADE_ANEW] = before[MADE_ANEW]
    if stage.after:
        now[MADE_FROM] = _read(logs / f"{stage.after}.settings.json")
    old, changed = set(), not _agree(before, now)
    if changed:
        old = there(root, map(stage.artifact_of, stage.items))
        outdated = _own(before) == _own(now)
        if old and not (options.overwrite or outdated):
            raise UserError(
                f"{stage.name} was run with {_as_options(before)}; use the same, or --overwrite does all again"
            )
        if old and (options.part != (1, 1) or (options.limit and not outdated)):
            what = f"what {stage.after} had made before" if outdated else "other settings"
            raise UserError(f"{stage.name} was run with {what}: all has to be done again, not --limit or --part alone")
        if old and outdated:
            print(f"{stage.name}: all is done again, since {stage.after} has made other artifacts", file=sys.stderr)
    elif options.overwrite:
        old = there(root, map(stage.artifact_of, items))
    if changed or options.overwrite:
        # The artifact first: what it stands for is not there any more.
        _remove(old, root.remote)
        _empty([folder for video in items for folder in stage.also_made(video)], root.remote)
    if options.overwrite and options.part == (1, 1) and not options.limit:
        now[MADE_ANEW] = uuid.uuid4().hex
    content = json.dumps(now).encode() + b"\n"
    if root.remote:
        path.write_bytes(content)
        return
    with replacing(path, uuid.uuid4().hex) as temporary:  # several shares may start at once, and all write the same
        temporary.write_bytes(content)


def with_crops(stage: str, root: DataRoot) -> str:
    """The name under which a stage whose artifacts lie with the crops keeps its settings: each folder has its own."""
    folder = os.path.relpath(root.crops, root.path)
    return stage if folder == CROPS else f"{stage}.{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def there(root: DataRoot, artifacts: Iterable[Path]) -> set[Path]:
    """Those of the artifacts that are there as a whole."""
    artifacts = list(artifacts)
    return done_already(root.remote, artifacts) if root.remote else {path for path in artifacts if path.exists()}


def _agree(before: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    """Whether settings are the same, as far as both are known."""
    if before is None or now is None:
        return True
    alike = _own(before) == _own(now) and before.get(MADE_ANEW) == now.get(MADE_ANEW)
    return alike and _agree(before.get(MADE_FROM), now.get(MADE_FROM))


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in (MADE_FROM, MADE_ANEW)}


def _remove(artifacts: Iterable[Path], remote: Remote | None) -> None:
    if remote:
        forget(remote, list(artifacts))
        return
    for path in artifacts:
        if path.is_dir():
            remove_folder(path)
        else:
            path.unlink()


def _empty(folders: Sequence[Path], remote: Remote | None) -> None:
    """Remove folders that no artifact stands for any more, where they are."""
    if remote:
        forget(remote, folders)
        empty(remote, folders)
        return
    for folder in folders:
        if folder.exists():
            remove_folder(folder)


def _read(path: Path | Remote) -> dict[str, Any] | None:
    try:
        settings = json.loads(path.read_bytes())
    except (FileNotFoundError, RemoteMissingError, ValueError):  # a first run
        return None
    return settings if isinstance(settings, dict) else None


def _as_options(settings: dict[str, Any]) -> str:
    return " ".join(f"--{name} {value}" for name, value in _own(settings).items()) or "no options"
