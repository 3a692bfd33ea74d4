"""Files that appear complete or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError

# At the top of a disk's own file system; nobody but root may look into it.
LOST_AND_FOUND = "lost+found"
# A full disk, a used-up quota, a file as large as the limit on files allows (`ulimit -f`).
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | Path, mark: str = "") -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it is renamed to `path`, on failure removed.

    Missing parent folders are made. Whatever stood under `path` stays until the rename. Where several processes may
    write the same file at once, each gives a `mark` of its own.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name per file, so that what a killed process left is written over by the next.
    temporary = path.with_name(f".{path.name[:200]}{mark}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:  # writing, unlike opening, does not say to which file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def refuse_unreadable(error: OSError) -> None:
    """What `os.walk` calls with a folder that it may not look into: UserError, instead of passing it over."""
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error


def remove_folder(path: Path) -> None:
    """Remove a folder that is gone at once: an interruption leaves no part of it under its name."""
    if path.is_symlink():
        path.unlink()
        return
    aside = set_aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def set_aside(path: Path) -> Path:
    """Where a folder lies while it is being removed."""
    return path.with_name(f".{path.name}.old")


@contextmanager
def held(path: str | Path, refusal: str) -> Iterator[None]:
    """Keep `path`, a lock file, to this process while the block runs; UserError with `refusal` if another has it."""
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(refusal) from error
    try:
        yield
    finally:
        # Removed while it is held: a waiting process notices that it got hold of a removed file, and tries again.
        Path(path).unlink(missing_ok=True)
        lock.release()


def is_held(path: str | Path) -> bool:
    """Whether a process has `path`, a lock file that is there; what a killed one left is nobody's."""
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
