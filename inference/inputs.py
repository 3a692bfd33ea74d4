"""Which files a run scores, and under which names and in which order they appear in its results."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import LOST_AND_FOUND, refuse_unreadable
from common.places import Remote, is_url, place
from faces.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from inference.stream import Video

# What preprocessing makes of a data root's videos, beside the folders that hold them.
PREPROCESSED = ("clips", "compressed")


def find_videos(test_dir: str | Path | Remote) -> list[Video]:
    """The videos under a folder, its subfolders included, sorted by name; or the one video or image given.

    A name is the path below the folder, with `/` between its parts. What preprocessing made below a data root (folders
    with a metadata.json) is left out. A folder without videos but with images gives
    the images. The same of a URL. Raises UserError if there is nothing to score.
    """
    if is_url(test_dir):
        files = _walk_remote(place(test_dir))
        return _chosen(test_dir, list(files), lambda file: files[file])
    if not str(test_dir):
        raise UserError("--test-dir is empty; give it the name of a folder, a video or an image")
    root = Path(test_dir)
    if root.is_file():
        if root.suffix.lower() not in VIDEO_SUFFIXES + IMAGE_SUFFIXES:
            raise UserError(
                f"{root}: neither a video ({_listed(VIDEO_SUFFIXES)}) nor an image ({_listed(IMAGE_SUFFIXES)})"
            )
        return [Video(root.name, root)]
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is neither a file nor a directory")
    if not root.is_dir():
        raise UserError(f"{root}: no such file or directory")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"{root}: cannot be read (permission denied)")
    return _chosen(root, list(_walk(root)), lambda path: path.relative_to(root).as_posix())


def _chosen(root: object, files: Sequence[Any], name_of: Callable[[Any], str]) -> list[Video]:
    """The videos among the files below `root`, or the images if there is none, sorted by name."""
    for suffixes in (VIDEO_SUFFIXES, IMAGE_SUFFIXES):
        chosen = [path for path in files if path.suffix.lower() in suffixes]
        if chosen:
            return sorted((Video(name_of(path), path) for path in chosen), key=lambda video: video.name)
    raise UserError(f"{root}: no videos in it ({_listed(VIDEO_SUFFIXES)}), nor images")


def _walk_remote(root: Remote) -> dict[Remote, str]:
    """What `_walk` would find, with the names below `root`; of one file, itself."""
    files = dict(root.files())
    if not files:
        raise UserError(f"{root}: no such file or directory, or nothing in it")
    if "" in files:
        return {files[""]: root.name}
    parts = {name: name.split("/") for name in files}
    roots = {tuple(folders[:-2]) for folders in parts.values() if len(folders) > 1 and folders[-1] == "metadata.json"}

    def counts(folders: list[str]) -> bool:
        made = any(tuple(folders[:i]) in roots for i, name in enumerate(folders[:-1]) if name in PREPROCESSED)
        return not made and not any(name.startswith(".") for name in folders)

    return {file: name for name, file in files.items() if counts(parts[name])}


def _walk(root: Path) -> Iterator[Path]:
    """Files below `root`, hidden ones left out; linked folders are followed, but none is entered twice."""
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refuse_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != LOST_AND_FOUND]
        left_out = PREPROCESSED if any(_is_part(Path(folder, name)) for name in subfolders) else ()
        subfolders[:] = sorted(name for name in subfolders if name not in left_out)
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _is_part(folder: Path) -> bool:
    try:
        return (folder / "metadata.json").is_file()
    except PermissionError:  # os.walk will say so
        return False


def in_submission_order(
    videos: Sequence[Video], sample_submission: str | Path
) -> tuple[list[Video], list[str], list[str]]:
    """Videos in the order of a sample submission's rows (`filename` column, as Kaggle hands it out).

    Returns (videos of every row, names of rows without a file, names of files without a row); a row without a file
    gets a Video without a path, so that the submission has its row. Raises UserError on a file that is
    no sample submission.
    """
    try:
        with Path(sample_submission).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "filename" not in (rows.fieldnames or []):
                raise UserError(f"{sample_submission}: no column 'filename'")
            names = [row["filename"] for row in rows if row["filename"]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{sample_submission}: cannot be read as a CSV file: {error}") from error
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{sample_submission}: {len(twice)} file names stand in it more than once, first {twice[0]}")
    by_name = {video.name: video for video in videos}
    missing = [name for name in names if name not in by_name]
    extra = sorted(by_name.keys() - set(names))
    return [by_name.get(name) or Video(name, None) for name in names], missing, extra


def _listed(suffixes: Sequence[str]) -> str:
    return " ".join(suffixes)
