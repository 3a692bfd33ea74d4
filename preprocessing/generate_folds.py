"""Step 5: the table of training and validation crops. Writes video,file,label,original,frame,fold, a row per crop.

    python -m preprocessing.generate_folds --root-dir DATA_ROOT --out DATA_ROOT/folds.csv

The table is small and always written anew, from the crops that are there.
"""

import argparse
import csv
import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.arguments import Parser, whole_number
from common.errors import UserError, run_command
from common.places import Remote, writing
from preprocessing.data_root import CROP_NAME, DataRoot, Video, part_number, read_data_root
from preprocessing.runner import add_crops_option, stage_parser

COLUMNS = ("video", "file", "label", "original", "frame", "fold")
# The data set has 50 parts; a fold is a run of neighbouring ones, which share no actors with the other folds.
PARTS = 50
N_SPLITS = 16
WITH_UNPAIRED = "take real videos without a fake as well"
SEED = 777
Row = tuple[str, str, int, str, int, int]


def fold_of(original: Video, n_splits: int = N_SPLITS) -> int:
    """The fold of a real video and all its fakes: by its part's number, or where it has none, by a hash of its id."""
    number = part_number(original.part)
    if number is None:
        return int.from_bytes(hashlib.sha256(original.id.encode()).digest()[:8], "big") % n_splits
    return min(number // (PARTS // n_splits), n_splits - 1)


def fold_rows(root: DataRoot, n_splits: int = N_SPLITS, seed: int = SEED, with_unpaired: bool = False) -> list[Row]:
    """A row for every crop of every fake and of every real video that a fake points to, in shuffled order.

    `with_unpaired` adds the real videos to which no fake points.
    """
    videos = videos_of(root, with_unpaired)
    names = root.names_in([root.crops / video.id for video in videos])
    rows = [
        row
        for video, crops in zip(videos, names, strict=True)
        for row in _rows_of(video, fold_of(root.videos[video.source], n_splits), crops)
    ]
    # Folders list their files in any order: sorted first, the same seed gives the same table everywhere.
    rows.sort()
    random.Random(seed).shuffle(rows)
    return rows


def videos_of(root: DataRoot, with_unpaired: bool = False) -> list[Video]:
    """The videos whose crops are the table's rows."""
    paired = {fake.original for fake in root.fakes}
    return [video for video in root.videos.values() if with_unpaired or video.source in paired]


def _rows_of(video: Video, fold: int, crops: Sequence[str]) -> Iterator[Row]:
    for name in crops:
        if found := CROP_NAME.fullmatch(name):
            yield video.id, name, int(video.original is not None), video.source, int(found["frame"]), fold


def write_folds(rows: Sequence[Row], out: str | Path | Remote) -> None:
    with writing(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def refuse_unpaired(root: DataRoot, with_unpaired: bool) -> None:
    """Raise UserError if there is none of the pairs that tables are made of."""
    if root.videos and not root.fakes and not with_unpaired:
        raise UserError("no video is a fake of another, so there are no pairs; --with-unpaired takes real videos alone")


def refuse_useless(folds: Sequence[int], root: DataRoot, options: argparse.Namespace) -> None:
    """Raise UserError if a table of these `folds` leaves nothing to train on, or to validate on."""
    refuse_unpaired(root, options.with_unpaired)
    if len(folds) < 2 and not options.allow_empty:
        what = f"all crops are in fold {folds[0]}, so training or validation" if folds else "no crops: the table"
        raise UserError(
            f"{what} would be empty; parts found: {', '.join(root.parts)}; add parts of other folds, or --allow-empty"
        )


def make_parser() -> Parser:
    parser = stage_parser("generate_folds", "Step 5: the table of training and validation crops.", parallel=False)
    add_crops_option(parser)
    add = parser.add_argument
    add("--out", default="folds.csv", metavar="FILE", help="the table to write")
    add("--seed", type=int, default=SEED, metavar="N", help="order of the rows")
    add("--n_splits", type=whole_number(1, PARTS), default=N_SPLITS, metavar="N", help="number of folds")
    add("--with-unpaired", action="store_true", help=WITH_UNPAIRED)
    add("--allow-empty", action="store_true", help="write the table even if training or validation would be empty")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    rows = fold_rows(root, options.n_splits, options.seed, options.with_unpaired)
    folds = sorted({row[-1] for row in rows})
    refuse_useless(folds, root, options)
    write_folds(rows, options.out)
    fakes = sum(row[2] for row in rows)
    videos = {video.id for video in videos_of(root, options.with_unpaired)}
    without = len(videos - {row[0] for row in rows})
    missing = f"; no crops of {without} of {len(videos)} videos" if without else ""
    real = len(rows) - fakes
    print(f"generate_folds: {options.out}: {len(rows)} rows, {real} real, {fakes} fake, folds {folds}{missing}")
    return 0


if __name__ == "__main__":
    run_command(main)
