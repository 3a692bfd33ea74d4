"""Small crops with their differences, landmarks and table, drawn at random: a data root in milliseconds."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from training.datasets.folds import COLUMNS, read_folds

HEIGHT, WIDTH = 50, 40
ORIGINALS = ("004", "519")


def make_crops(root: Path, frames: int = 6) -> pd.DataFrame:
    """Two pairs, original "004" in fold 0 and "519" in fold 1, and their fakes; returns the table."""
    rng = np.random.default_rng(7)
    rows = []
    for fold, original in enumerate(ORIGINALS):
        (root / "landmarks" / original).mkdir(parents=True)
        (root / "diffs" / f"{original}_fake").mkdir(parents=True)
        for frame in range(0, 10 * frames, 10):
            name = f"{frame}_0"
            for video in (original, f"{original}_fake"):
                write_image(root / "crops" / video / f"{name}.png", rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
                rows.append((video, f"{name}.png", int(video != original), original, frame, fold))
            write_image(root / "diffs" / f"{original}_fake" / f"{name}_diff.png", bright_square(10))
            points = np.array([[12, 20], [28, 20], [20, 28], [14, 36], [26, 36]], np.int16)
            np.save(root / "landmarks" / original / f"{name}.npy", points)
    return write_table(root / "folds.csv", rows)


def bright_square(side: int) -> np.ndarray:
    """A mask of a crop, (HEIGHT, WIDTH) uint8, with a bright square in its middle."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    top, left = (HEIGHT - side) // 2, (WIDTH - side) // 2
    mask[top : top + side, left : left + side] = 200
    return mask


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_table(path: Path, rows: list[tuple]) -> pd.DataFrame:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return read_folds(path)
