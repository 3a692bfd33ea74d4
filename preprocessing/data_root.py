"""The index of a data root: its parts, their videos and who is a fake of whom. Problems are listed, never raised.

A still image is a video of one frame. A root may lie under a URL: then all paths are relative to it, see `remote_root`.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import LOST_AND_FOUND
from common.places import Remote, RemoteError, asked_at_once, is_url, place
from faces.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

METADATA = "metadata.json"
CROPS = "crops"
# Of a crop, a clip or a sequence: its (first) frame, and its actor or track. Other files may lie beside them.
CROP_NAME = re.compile(r"(?P<frame>\d+)_\d+\.(png|mkv)", re.ASCII)
REAL, FAKE = "REAL", "FAKE"
SUFFIXES = (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)


@dataclass(frozen=True)
class Video:
    """A video of the data root. `id` is its file name without extension, `original` the id of a fake's original."""

    id: str
    path: Path
    part: str
    label: str
    original: str | None = None

    @property
    def source(self) -> str:
        """The id of the real video whose faces this one shows: its original's, or its own."""
        return self.original or self.id

    @property
    def is_still(self) -> bool:
        return self.path.suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class Problem:
    """Something in the data that a stage passes over, and why."""

    item: str
    reason: str


@dataclass
class DataRoot:
    """All usable videos by id, in the order of parts and metadata, and everything that is not usable.

    `crops` is the folder of the faces. If the root lies at a URL, `remote`, `path` is empty and `sizes` are in bytes.
    """

    path: Path
    crops: Path
    remote: Remote | None = None
    sizes: dict[Path, int] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    videos: dict[str, Video] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def place(self) -> Path | Remote:
        """Where it lies, as the user names it."""
        return self.remote or self.path

    @property
    def reals(self) -> list[Video]:
        return [video for video in self.videos.values() if video.label == REAL]

    @property
    def fakes(self) -> list[Video]:
        return [video for video in self.videos.values() if video.label == FAKE]

    def folder(self, artifact: str) -> Path:
        """Where a kind of artifact (`boxes`, `crops`, ...) lies."""
        return self.path / artifact

    def size_of(self, video: Video) -> int:
        """In bytes; 0 of a video that is gone since the root was read, the reason for which is told in its turn."""
        if self.remote:
            return self.sizes[video.path]
        try:
            return video.path.stat().st_size
        except OSError:
            return 0

    def names_in(self, folders: Sequence[Path]) -> list[list[str]]:
        """What lies in each of these folders; nothing in one that is not there, or not as a whole yet."""
        if self.remote:
            parents = sorted({folder.parent for folder in folders})
            listed = asked_at_once(lambda parent: (self.remote / parent).entries(), parents)
            marks = {parent / name for parent, entries in zip(parents, listed, strict=True) for name in entries}
            whole = [folder for folder in folders if mark_of(folder) in marks]
            names = asked_at_once(lambda folder: list((self.remote / folder).entries()), whole)
            found = dict(zip(whole, names, strict=True))
            return [found.get(folder, []) for folder in folders]
        return [[path.name for path in folder.glob("*")] for folder in folders]


def mark_of(folder: Path) -> Path:
    """What says at a URL, where a folder does not appear at once, that all of it is there."""
    return folder.with_name(f".{folder.name}.done")


def read_data_root(path: str | Path | Remote, crops_dir: str | Path = CROPS) -> DataRoot:
    """Read every metadata.json below the root; `crops_dir` is relative to it. Raises UserError if there is no part."""
    if is_url(path):
        return _read_remote(place(path), Path(crops_dir))
    root = DataRoot(Path(path), Path(path, crops_dir))
    if not root.path.is_dir():
        raise UserError(f"{root.path}: no such directory")
    if (root.path / METADATA).exists():
        raise UserError(f"{root.path}: is a part itself ({METADATA} lies in it); give the folder above it")
    for folder in sorted(root.path.iterdir(), key=_by_number):
        if folder.name == LOST_AND_FOUND:
            continue
        try:
            is_part = (folder / METADATA).is_file()
        except PermissionError as error:
            if folder.name.startswith("."):  # what a system keeps at the top of a disk
                continue
            root.problems.append(Problem(folder.name, f"cannot be read ({error.strerror})"))
            continue
        if is_part:
            read = (folder / METADATA).read_bytes
            _add_part(root, folder, read, lambda name, folder=folder: (folder / name).is_file())
        elif folder.is_dir() and "dfdc" in folder.name:
            root.problems.append(Problem(folder.name, f"has no {METADATA}"))
    return _finished(root)


def _read_remote(remote: Remote, crops_dir: Path) -> DataRoot:
    if crops_dir.is_absolute() or ".." in crops_dir.parts:
        raise UserError(f"--crops-dir {crops_dir}: is not a folder below {remote}")
    root = DataRoot(Path(), crops_dir, remote)
    entries = remote.entries()
    if not entries:
        raise UserError(f"{remote}: no such directory, or nothing in it")
    if METADATA in entries:
        raise UserError(f"{remote}: is a part itself ({METADATA} lies in it); give the folder above it")
    folders = sorted((Path(name) for name, file in entries.items() if file is None), key=_by_number)
    # What steps have made is not looked into: it may be millions of files.
    parts = [folder for folder in folders if (remote / folder / METADATA).is_file()]
    root.problems += [Problem(f.name, f"has no {METADATA}") for f in folders if f not in parts and "dfdc" in f.name]
    for folder in parts:
        files = {name: file for name, file in (remote / folder).entries().items() if file}
        root.sizes |= {folder / name: file.size for name, file in files.items()}
        _add_part(root, folder, files[METADATA].read_bytes, files.__contains__)
    return _finished(root)


def _finished(root: DataRoot) -> DataRoot:
    if not root.parts:
        raise UserError(f"{root.place}: no part in it, such as dfdc_train_part_0 with its videos and {METADATA}")
    _check_originals(root)
    return root


def _add_part(root: DataRoot, folder: Path, read: Callable[[], bytes], is_there: Callable[[str], bool]) -> None:
    root.parts.append(folder.name)
    for video in _read_part(folder, read, is_there, root.problems):
        _add(root, video)


def part_number(part: str) -> int | None:
    """The number at the end of a part's name, as in dfdc_train_part_7; None where there is none."""
    number = part.rpartition("_")[2]
    return int(number) if "dfdc" in part and "_" in part and number.isdecimal() else None


def _by_number(folder: Path) -> tuple[float, str]:
    number = part_number(folder.name)
    return (float("inf") if number is None else number, folder.name)


def _read_part(
    folder: Path, read: Callable[[], bytes], is_there: Callable[[str], bool], problems: list[Problem]
) -> Iterator[Video]:
    """The videos a metadata.json names and that can be used; the others become problems."""
    where = f"{folder.name}/{METADATA}"
    try:
        entries = json.loads(read().decode("utf-8-sig"))
    except (OSError, RemoteError, ValueError, RecursionError) as error:
        problems.append(Problem(where, f"is not JSON ({error})"))
        return
    if not isinstance(entries, dict):
        problems.append(Problem(where, f"is not an object but a {type(entries).__name__}"))
        return
    for name, entry in entries.items():
        reason = _unusable(name, entry, is_there)
        if reason:
            problems.append(Problem(f"{folder.name}/{name}", reason))
            continue
        original = Path(entry["original"]).stem if entry["label"] == FAKE else None
        yield Video(Path(name).stem, folder / name, folder.name, entry["label"], original)


def _unusable(name: str, entry: object, is_there: Callable[[str], bool]) -> str | None:
    """Why a metadata entry cannot be used; None if it can."""
    if not is_plain(name):
        return "its name is not a plain file name; refused"
    if Path(name).suffix.lower() not in SUFFIXES:
        return f"its name does not end in {', '.join(SUFFIXES)}"
    if not isinstance(entry, dict):
        return "its metadata is not an object"
    if entry.get("label") not in (REAL, FAKE):
        return f"its label is {entry.get('label')!r}, neither {REAL} nor {FAKE}"
    original = entry.get("original")
    if entry["label"] == FAKE and not (isinstance(original, str) and is_plain(original)):
        return f"its original is {original!r}, not the name of a video"
    try:
        there = is_there(name)
    except OSError as error:  # a name that no file can have
        return f"the file is missing ({error.strerror})"
    return None if there else "the file is missing"


def is_plain(name: str) -> bool:
    """Whether a name stays in its folder, as artifacts are named after it, and in its cell of a table in UTF-8."""
    if not name or name.startswith(".") or len(name) >= 200:
        return False
    return not any(c in "/\\\x7f" or c < " " or "\ud800" <= c <= "\udfff" for c in name)


def _add(root: DataRoot, video: Video) -> None:
    known = root.videos.get(video.id)
    if known is not None:
        reason = f"its id stands in {known.part} already; this one is left out"
        root.problems.append(Problem(f"{video.part}/{video.path.name}", reason))
        return
    root.videos[video.id] = video


def _check_originals(root: DataRoot) -> None:
    """Name the fakes whose original is not there: nothing can be learned about where their faces are."""
    for fake in root.fakes:
        original = root.videos.get(fake.original)
        where = f"{fake.part}/{fake.path.name}"
        if original is None:
            root.problems.append(Problem(where, f"its original {fake.original} is missing or unusable"))
        elif original.label != REAL:
            root.problems.append(Problem(where, f"its original {fake.original} is a fake itself"))
        else:
            continue
        del root.videos[fake.id]
