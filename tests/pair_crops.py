"""A data root for pairs, in milliseconds: a video with fakes, one without, and stills, all of one real face."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.generated_crops import write_image, write_table
from tests.portrait_points import POINTS, portrait


def make_pair_crops(root: Path, stills: int = 6, frames: int = 8) -> pd.DataFrame:
    """ "004" with the fakes "a_004" of all frames and "b_004" of the first, "519" without fakes, stills "s0", "s1", ...

    All crops but the first still and the last of "519" have hulls. The even stills are in fold 0, the rest in fold 1.
    Returns the table.
    """
    rng = np.random.default_rng(3)
    rows = []

    def add(video: str, frame: int, label: int, original: str, fold: int) -> None:
        image = np.clip(portrait() + rng.normal(0, 4, portrait().shape), 0, 255)
        write_image(root / "crops" / video / f"{frame}_0.png", image.astype(np.uint8)[..., ::-1])
        rows.append((video, f"{frame}_0.png", label, original, frame, fold))
        if label:
            mask = np.zeros(image.shape[:2], np.uint8)
            mask[110:160, 60:110] = 200
            write_image(root / "diffs" / video / f"{frame}_0_diff.png", mask)
            return
        for folder, points in (("hulls", POINTS), ("landmarks", POINTS[[39, 42, 30, 48, 54]])):
            (root / folder / video).mkdir(parents=True, exist_ok=True)
            np.save(root / folder / video / f"{frame}_0.npy", points)

    for frame in range(0, 10 * frames, 10):
        add("004", frame, 0, "004", 1)
        add("a_004", frame, 1, "004", 1)
        add("519", frame, 0, "519", 1)
    add("b_004", 0, 1, "004", 1)
    for still in range(stills):
        add(f"s{still}", 0, 0, f"s{still}", still % 2)
    (root / "hulls" / "s0" / "0_0.npy").unlink()
    (root / "hulls" / "519" / f"{10 * frames - 10}_0.npy").unlink()
    return write_table(root / "folds.csv", rows)
