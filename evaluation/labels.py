"""Which videos are fake: a metadata.json, a CSV, or a data root with a metadata.json in each part."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.errors import UserError
from common.files import LOST_AND_FOUND, refuse_unreadable
from evaluation.problems import Problems

Truth = Literal["FAKE", "REAL"]
METADATA = "metadata.json"
# As a number column that had a gap in it once, 1 comes back from a table as 1.0.
LABELS = {"real": False, "0": False, "0.0": False, "fake": True, "1": True, "1.0": True}
# What preprocessing puts beside the parts of a root: millions of files, none of which is a label.
ARTIFACTS = {"boxes", "crops", "landmarks", "diffs", "tracks", "clips", "sequences", "jpegs", "compressed", "logs"}


@dataclass
class Labels:
    """Videos by name: whether each is fake (None: its label is unusable), and what else is said of it, as text.

    `places` maps the same names to paths, by which predictions made on a folder above or below find their video.
    """

    source: Path
    fake: dict[str, bool | None] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    by_bare_name: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, place: str, label: object, columns: Mapping[str, str]) -> None:
        """A name that is there already, or a label that is none, makes the video unusable."""
        if name in self.fake:
            self.problems.add("duplicate label", name)
            self.fake[name] = None
            return
        self.fake[name] = LABELS.get(str(label).strip().lower())
        if self.fake[name] is None:
            self.problems.add("bad label", name, repr(label))
        self.columns[name], self.places[name] = dict(columns), place
        self.by_bare_name[_bare(name)].append(name)

    def find(self, filename: str) -> list[str]:
        """The names of the videos that a prediction for `filename` can be meant for: the one exactly so named, or
        all those of whose path it is the end, or whose path is the end of it."""
        if filename in self.fake:
            return [filename]
        found = self.by_bare_name.get(_bare(filename), [])
        return [n for n in found if _ends(self.places[n], filename) or _ends(filename, self.places[n])]

    def column_names(self) -> list[str]:
        return sorted({column for columns in self.columns.values() for column in columns})


def read_labels(path: str | Path) -> Labels:
    """Labels of a metadata.json, of a CSV with the columns `filename` and `label`, or of a folder: every
    metadata.json below it, names being paths below the folder and `part` a further column.

    Raises UserError on what is none of these or not there; what is wrong with single videos is listed in `problems`.
    """
    labels = Labels(Path(path))
    if not labels.source.exists():
        raise UserError(f"{path}: no such file or folder of labels")
    if labels.source.is_dir():
        for file in _metadata_files(labels.source):
            below = file.parent.relative_to(labels.source)
            for name, label, columns in _read_metadata(file):
                # The part is named after its folder even where the root itself is one.
                part = file.parent.name or file.parent.resolve().name
                labels.add((below / name).as_posix(), _place(file, name), label, {"part": part, **columns})
        if not labels.fake:
            raise UserError(f"{path}: no {METADATA} with videos in it or in the folders below")
    elif labels.source.suffix.lower() == ".json":
        for name, label, columns in _read_metadata(labels.source):
            labels.add(name, _place(labels.source, name), label, columns)
    else:
        for row in read_table(labels.source):
            name, label = row.pop("filename"), row.pop("label")
            labels.add(name, name, label, row)
    if not labels.fake:
        raise UserError(f"{path}: no labels in it")
    return labels


def truths_of(filenames: Sequence[str], paths: Sequence[str | Path]) -> list[Truth | None]:
    """What the labels in `paths` (each as in `read_labels`) say of videos, None where they say nothing.

    Raises UserError for what is no file of labels, and for a video that is both real and fake.
    """
    truths: list[Truth | None] = [None] * len(filenames)
    for labels in map(read_labels, paths):
        if labels.problems:
            raise UserError(f"{labels.source}: {'; '.join(labels.problems.sentences())}")
        for number, filename in enumerate(filenames):
            found = labels.find(filename)
            if len(found) == 1:
                truth = "FAKE" if labels.fake[found[0]] else "REAL"
                if truths[number] not in (None, truth):
                    raise UserError(f"{labels.source}: {filename} is {truth} here and {truths[number]} elsewhere")
                truths[number] = truth
    return truths


def read_table(path: Path, needed: tuple[str, ...] = ("filename", "label")) -> Iterator[dict[str, str]]:
    """The rows of a CSV file that has at least the columns `needed`; cells that are not there are empty.

    Raises UserError if it cannot be read as one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restval="", restkey="")
            if missing := [column for column in needed if column not in (rows.fieldnames or [])]:
                raise UserError(f"{path}: no column {' and no column '.join(map(repr, missing))}")
            for row in rows:
                row.pop("", None)
                yield row
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error}") from error


def _metadata_files(root: Path) -> list[Path]:
    """Every metadata.json below the root, sorted; hidden folders and preprocessing's artifacts are not searched."""
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refuse_unreadable):
        if (real := os.path.realpath(folder)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        skipped = {n for n in ARTIFACTS if not Path(folder, n, METADATA).is_file()} if Path(folder) == root else set()
        skipped.add(LOST_AND_FOUND)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in skipped]
        if METADATA in names:
            found.append(Path(folder, METADATA))
    return sorted(found)


def _read_metadata(path: Path) -> Iterator[tuple[str, object, dict[str, str]]]:
    """(name, label, other columns) of every entry; a name that occurs twice is given twice."""
    try:
        # As an object, JSON would keep the last of two entries with one name, and nobody would know.
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(entries, _Pairs):
        raise UserError(f'{path}: is no object of the form {{"name.mp4": {{"label": "FAKE"}}}}')
    for name, entry in entries:
        if isinstance(entry, _Pairs):
            columns = {key: value if isinstance(value, str) else json.dumps(value) for key, value in entry}
            yield name, dict(entry).get("label"), {key: columns[key] for key in columns if key != "label"}
        else:
            yield name, entry, {}


class _Pairs(list):
    """A JSON object as its (key, value) pairs."""


def _place(metadata: Path, name: str) -> str:
    # Links are not followed: predictions have the name of the link in theirs.
    return f"{metadata.parent.absolute().as_posix()}/{name}"


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _ends(place: str, filename: str) -> bool:
    return f"/{place}".endswith(f"/{filename}")
