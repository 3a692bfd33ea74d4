"""folds.csv: which crops are for training, which for validation, and in which order an epoch takes them."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError, one_line

if TYPE_CHECKING:  # who only asks for a constant does not wait for pandas
    import pandas as pd

COLUMNS = ("video", "file", "label", "original", "frame", "fold")
VALIDATION_FRAME_STEP = 20
IN_PLACE_OF_SEED_0 = 2**32 - 1
# Ids like "004" and "519" are strings. Categories keep millions of rows small enough to hand to worker processes.
DTYPES = {
    "video": "category",
    "file": "category",
    "label": np.int8,
    "original": "category",
    "frame": np.int32,
    "fold": np.int32,
}


def read_folds(path: str | Path) -> "pd.DataFrame":
    """The table of crops, a row each, columns `COLUMNS`. Raises UserError if it is missing, empty or no such table."""
    import pandas as pd

    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; preprocess_data.sh writes it") from error
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path}: not a readable table: {one_line(error)}") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; generate_folds writes {','.join(COLUMNS)}")
    for name in ("label", "frame", "fold"):
        wrong = ~table[name].str.fullmatch(r"\d{1,7}") if name != "label" else ~table[name].isin(("0", "1"))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(f"{path}: line {row + 2}: {name} is {table[name].iloc[row]!r}")
    for name in ("video", "file", "original"):
        wrong = table[name].str.contains(r"[/\\\0]") | table[name].isin(("", ".", ".."))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(f"{path}: line {row + 2}: {name} {table[name].iloc[row]!r} is not a plain name")
    if table.empty:
        raise UserError(f"{path}: has no rows")
    return table[list(COLUMNS)].astype(DTYPES)


def split_by_fold(
    table: "pd.DataFrame", fold: int, frame_step: int = VALIDATION_FRAME_STEP
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Training and validation rows: all folds but `fold`, and every `frame_step`-th frame of `fold`.

    Raises UserError if either side is empty, naming the folds that there are.
    """
    held_out = table["fold"] == fold
    return _both(table[~held_out], table[held_out], frame_step, f"fold {fold} held out", table)


def split_by_videos(
    table: "pd.DataFrame", videos: Collection[str], frame_step: int = VALIDATION_FRAME_STEP
) -> "tuple[pd.DataFrame, pd.DataFrame, list[str]]":
    """Training and validation rows and the ids that are in no row; `videos` are held out.

    What shares an original with one of them is in neither side. Raises UserError if either side is empty.
    """
    wanted = set(videos)
    held_out = table["video"].isin(wanted)
    # An original that is held out may have no rows of its own, but fakes.
    kin = table["original"].isin(wanted | set(table.loc[held_out, "original"].astype(str)))
    training, validation = _both(table[~kin], table[held_out], frame_step, f"{len(wanted)} videos held out", table)
    return training, validation, sorted(wanted - set(table["video"].cat.categories))


def _both(training: "pd.DataFrame", validation: "pd.DataFrame", frame_step: int, how: str, table: "pd.DataFrame"):
    validation = validation[validation["frame"] % frame_step == 0]
    for rows, what in ((training, "training"), (validation, "validation")):
        if rows.empty:
            counts = table["fold"].value_counts().sort_index()
            there = ", ".join(f"{fold} ({count} crops)" for fold, count in counts.items())
            raise UserError(f"with {how} there is nothing for {what}; folds in the table: {there}")
    return training.reset_index(drop=True), validation.reset_index(drop=True)


def read_video_list(path: str | Path) -> list[str]:
    """Video ids from a text file, one a line, with or without .mp4; blank lines and #-comments are passed over."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list of videos: {error}") from error
    ids = [line.strip().removesuffix(".mp4") for line in lines]
    ids = [name for name in ids if name and not name.startswith("#")]
    if not ids:
        raise UserError(f"{path}: names no video")
    return ids


def training_order(labels: np.ndarray, epoch: int, seed: int, oversample: bool = True) -> np.ndarray:
    """Positions in `labels` (0 real, 1 fake) in the order in which the epoch takes them, int64.

    All real crops and as many fakes, drawn anew each epoch (all of them with `oversample` off, or if they are
    fewer), real first, then shuffled. The draws are those of the published solution, but for seed 0, whose draws
    would be the same in every epoch.
    """
    state = (epoch + 1) * (seed or IN_PLACE_OF_SEED_0) % 2**32
    real, fake = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    if oversample and len(fake) >= len(real):  # equal numbers are drawn too: it decides their order
        import pandas as pd

        fake = pd.Series(fake).sample(len(real), replace=False, random_state=state).to_numpy()
    return _shuffled(np.concatenate([real, fake]), state)


def validation_order(count: int, seed: int) -> np.ndarray:
    """The order in which `count` validation rows are taken, int64: that of epoch 1, always."""
    return _shuffled(np.arange(count), 2 * seed % 2**32)


def _shuffled(order: np.ndarray, state: int) -> np.ndarray:
    np.random.RandomState(state).shuffle(order)
    return order
