"""Your own videos and still images as a data root, by links: nothing is copied, and nothing written beside them.

    python -m preprocessing.build_data_root OUT --real FOLDER ... --fake FOLDER ...
    python -m preprocessing.build_data_root OUT --csv videos.csv        (columns: video,label[,original])
    python -m preprocessing.build_data_root OUT --root DATA_ROOT ... [--real FOLDER ...] [--fake FOLDER ...]

A fake's original is its `original` in the CSV. In folders it is the real video whose name the fake's name begins with
or contains between separators (`004_519.mp4` is a fake of `004.mp4`), the first of several. What belongs to one
original lands in one fold; what comes from another data root stays in the part it is in there.
"""

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, one_line, run_command
from common.files import LOST_AND_FOUND, refuse_unreadable, replacing
from common.places import only_local
from preprocessing.data_root import FAKE, METADATA, REAL, SUFFIXES, is_plain, read_data_root
from preprocessing.generate_folds import N_SPLITS, PARTS

LABELS = {"real": REAL, "0": REAL, "fake": FAKE, "1": FAKE}


@dataclass(frozen=True)
class Entry:
    """A video to link: where it is, what it is, the id of a fake's original, and its part (None: to be drawn)."""

    path: Path
    label: str
    original: str | None = None
    part: str | None = None

    @property
    def id(self) -> str:
        return self.path.stem


def entries_of_root(path: Path) -> list[Entry]:
    """Entries for what is usable of another data root, in its parts. What is not is printed."""
    root = read_data_root(path)
    for problem in root.problems:
        print(one_line(f"{path}: {problem.item}: {problem.reason}; left out"))
    return [Entry(video.path, video.label, video.original, video.part) for video in root.videos.values()]


def entries_of_folders(reals: Sequence[Path], fakes: Sequence[Path], others: Sequence[Entry] = ()) -> list[Entry]:
    """Entries for all videos below the folders; a fake's original may be one of the `others` as well.

    Raises UserError if it cannot be told.
    """
    real_entries = [Entry(path, REAL) for folder in reals for path in _videos_below(folder)]
    known = {entry.id for entry in (*real_entries, *others) if entry.label == REAL}
    fake_entries, lost, several = [], [], []
    for folder in fakes:
        for path in _videos_below(folder):
            named = reals_in(path.stem, known)
            if not named:
                lost.append(path.name)
                continue
            fake_entries.append(Entry(path, FAKE, named[0]))
            if len(named) > 1:
                several.append(f"{path.name} is taken for a fake of {named[0]}, not of {' or '.join(named[1:])}")
    if several:
        what = f"names of {len(several)} fakes contain several real videos'"
        print(one_line(f"{what}: {several[0]}; a --csv can say otherwise"))
    if lost:
        raise UserError(
            f"{len(lost)} fakes whose name contains no real video's, first {lost[0]}; name originals in a --csv"
        )
    return real_entries + fake_entries


def reals_in(fake: str, reals: set[str]) -> list[str]:
    """The real ids that a fake's name contains between separators, in order; of those in one place the longest."""
    ends = [match.start() for match in re.finditer(r"[_\-. ]|$", fake)]
    named: dict[str, None] = {}
    beyond = 0
    for start in (0, *(end + 1 for end in ends[:-1])):
        real = max((fake[start:end] for end in ends if fake[start:end] in reals), key=len, default=None)
        if real and start >= beyond:  # `a_b` says nothing of a video that is called `b`
            named[real] = None
            beyond = start + len(real)
    return list(named)


def entries_of_csv(path: Path) -> list[Entry]:
    """Entries of a table video,label[,original]; paths are relative to the table. Raises UserError on a bad row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error}") from error
    if not rows or not {"video", "label"} <= rows[0].keys():
        raise UserError(f"{path}: needs the columns video,label and, for fakes, original")
    return [_entry_of_row(path, number, row) for number, row in enumerate(rows, start=2)]


def _entry_of_row(table: Path, number: int, row: dict[str, str | None]) -> Entry:
    video, label = table.parent / (row["video"] or ""), LABELS.get((row["label"] or "").strip().lower())
    if label is None:
        raise UserError(f"{table}: line {number}: label {row['label']!r} is none of {', '.join(LABELS)}")
    if not video.is_file():
        raise UserError(f"{table}: line {number}: no such file {video}")
    original = (row.get("original") or "").strip()
    if label == FAKE and not original:
        raise UserError(f"{table}: line {number}: a fake needs its original")
    return Entry(video, label, Path(original).stem if label == FAKE else None)


def _videos_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory")
    found = []
    for parent, subfolders, names in os.walk(folder, onerror=refuse_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != LOST_AND_FOUND]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    yield from sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())


def assign_parts(originals: Sequence[str]) -> dict[str, int]:
    """A part number for each original, so that every fold gets its share and fold 0 is never empty.

    The order is drawn from the names alone: the same videos get the same parts again.
    """
    parts_per_fold = PARTS // N_SPLITS
    shuffled = sorted(originals, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    return {name: (index % N_SPLITS) * parts_per_fold for index, name in enumerate(shuffled)}


def build(out: Path, entries: Sequence[Entry]) -> Counter:
    """Link the entries into parts below `out` and write each metadata.json; returns videos by label."""
    twice = [name for name, count in Counter(entry.id for entry in entries).items() if count > 1]
    if twice:
        raise UserError(f"{len(twice)} video names stand for more than one file, first {twice[0]}; rename one")
    if odd := [entry.path.name for entry in entries if not is_plain(entry.path.name)]:
        raise UserError(f"{len(odd)} names that no table can hold, first {odd[0]!r}; rename it")
    reals = {entry.id: entry for entry in entries if entry.label == REAL}
    orphans = [entry.path.name for entry in entries if entry.original and entry.original not in reals]
    if orphans:
        raise UserError(f"{len(orphans)} fakes whose original is not among the real videos, first {orphans[0]}")
    if not entries:
        raise UserError("no videos to link")
    drawn = assign_parts([name for name, entry in reals.items() if entry.part is None])
    part_of = {name: entry.part or f"dfdc_train_part_{drawn[name]}" for name, entry in reals.items()}
    folder_of = {entry.id: out / (entry.part or part_of[entry.original or entry.id]) for entry in entries}
    if left := sorted({path.parent for path in out.glob(f"*/{METADATA}")} - set(folder_of.values())):
        raise UserError(f"{left[0]}: is of other videos than these; remove it, or choose an empty folder")
    metadata: dict[Path, dict] = {}
    for entry in entries:
        folder = folder_of[entry.id]
        folder.mkdir(parents=True, exist_ok=True)
        _link(folder / entry.path.name, entry.path)
        described = {"label": entry.label, "split": "train"}
        if entry.original:
            described["original"] = reals[entry.original].path.name
        metadata.setdefault(folder, {})[entry.path.name] = described
    for folder, content in metadata.items():
        with replacing(folder / METADATA) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
    return Counter(entry.label for entry in entries)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() or link.exists():
        if link.is_symlink() and link.resolve() == target.resolve():
            return
        raise UserError(f"{link}: is there already and is no link to {target}; choose an empty folder")
    link.symlink_to(target.resolve())


_local = partial(only_local, command="build_data_root")


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="preprocessing.build_data_root", description="Your own videos as a data root, by links.")
    parser.add_argument("out", type=_local, metavar="OUT", help="the data root to make")
    parser.add_argument("--real", nargs="+", type=_local, default=[], metavar="DIR", help="folders of real videos")
    parser.add_argument("--fake", nargs="+", type=_local, default=[], metavar="DIR", help="folders of fake videos")
    parser.add_argument("--root", nargs="+", type=_local, default=[], metavar="DIR", help="data roots, parts and all")
    parser.add_argument("--csv", type=_local, metavar="FILE", help="a table video,label[,original] instead of folders")
    options = parser.parse_args(argv)
    if bool(options.csv) == bool(options.real or options.root) or (options.csv and options.fake):
        parser.error("give either --csv, or --root or --real, and --fake")
    for folder in (*options.real, *options.fake):
        if folder.resolve() in (options.out.resolve(), *options.out.resolve().parents):
            raise UserError(f"{options.out}: lies in {folder}, whose videos it is to link; choose a folder elsewhere")
    others = [entry for root in options.root for entry in entries_of_root(root)]
    folders = entries_of_folders(options.real, options.fake, others)
    entries = entries_of_csv(options.csv) if options.csv else [*others, *folders]
    counts = build(options.out, entries)
    print(f"{options.out}: {counts[REAL]} real and {counts[FAKE]} fake videos linked")
    print(f"next: preprocess_data.sh {options.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
