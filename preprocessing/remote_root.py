"""Stages on a data root in an object store: each video is worked on in a small local copy of the root.

The copy holds what the stage reads of one video, and what it makes, under the same names; what it makes is then put
where it belongs. A worker's current folder is its copy, so that paths relative to the root are right there. A folder
does not appear at once as on a disk: `.<its name>.done` beside it, written last, says that all of it is there.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.places import TEMPORARY, Remote, RemoteMissingError, asked_at_once
from preprocessing.data_root import Video, mark_of

Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Job:
    """A video, the files and folders that a stage reads of it, the artifact that says it is done, and other folders of
    the video's own that it makes.
    """

    video: Video
    files: set[Path]
    folders: set[Path]
    artifact: Path
    also: set[Path]


def make_work_in_copy(make_work: Callable[[], Work], remote: Remote, scratch: Path) -> Work:
    """Work on a Job that does what `make_work()` does of its video, in a copy below the folder `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(dir=scratch))
    os.chdir(copy)
    work = make_work()

    def work_in_copy(job: Job) -> Any:
        copy.mkdir(parents=True, exist_ok=True)
        os.chdir(copy)  # another stage of this process may have been elsewhere
        _empty(copy)  # what an earlier job left that could not be removed
        try:
            fetched = _fetch(job, remote)
            result = work(job.video)
            _store(job, remote, fetched)
        finally:
            _empty(copy)
        return result

    return work_in_copy


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fetch(job: Job, remote: Remote) -> set[Path]:
    """Copy what the job needs into the current folder; what is not there is for the stage to miss."""
    for path in job.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            (remote / path).get(path)
        except RemoteMissingError:
            path.unlink(missing_ok=True)
    for folder in job.folders:
        if (remote / mark_of(folder)).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (remote / folder).get_all([name for name, file in (remote / folder).entries().items() if file], folder)
    return set(_files())


def _files() -> Iterator[Path]:
    return (path for path in Path().rglob("*") if path.is_file())


def _store(job: Job, remote: Remote, fetched: set[Path]) -> None:
    """Put what has been made, the artifact last."""
    made = [path for path in _files() if path not in fetched and path != job.artifact]
    # The folders of this video's own, which the job began anew; the one that says that all is done comes last.
    own = [*job.also, *([job.artifact] if job.artifact.is_dir() else [])]
    for folder in own:
        (remote / mark_of(folder)).unlink()
    empty(remote, own, set(made))
    remote.put_all(Path(), [path.as_posix() for path in made])
    for folder in own:
        (remote / mark_of(folder)).write_bytes(b"")
    if job.artifact not in own:
        (remote / job.artifact).put(job.artifact)


def done_already(remote: Remote, artifacts: Sequence[Path]) -> set[Path]:
    """Those of the artifacts that are there as a whole, by one listing of each folder that they lie in."""
    folders = sorted({path.parent for path in artifacts})
    there = dict(zip(folders, asked_at_once(lambda folder: (remote / folder).entries(), folders), strict=True))
    return {path for path in artifacts if there[path.parent].get(path.name) or mark_of(path).name in there[path.parent]}


def forget(remote: Remote, artifacts: Sequence[Path]) -> None:
    """Remove files, and the marks of folders, that say of these artifacts that they are there."""
    asked_at_once(lambda path: (remote / path).unlink(), [*artifacts, *map(mark_of, artifacts)])


def empty(remote: Remote, folders: Sequence[Path], but: Container[Path] = ()) -> None:
    """Remove the files of folders, but some."""
    listed = asked_at_once(lambda folder: (remote / folder).entries(), folders)
    found = {folder / name: file for folder, there in zip(folders, listed, strict=True) for name, file in there.items()}
    asked_at_once(Remote.unlink, [file for path, file in found.items() if file and path not in but])


@contextmanager
def stored_afterwards(remote: Remote, logs: Sequence[Path]) -> Iterator[None]:
    """Local files that are put below `remote` when the block ends, however it ends; removed there if there are none."""
    try:
        yield
    finally:
        for path in logs:
            if path.exists():
                (remote / path.name).put(path)
            else:
                (remote / path.name).unlink()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the copies of this run; on other machines it lies under the same path, and is left empty."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        yield Path(folder)
