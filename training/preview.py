"""A sheet of crops before and after each augmentation, for a person to check.

    python -m training.preview --config configs/b7.json --data-dir DATA_ROOT --folds-csv DATA_ROOT/folds.csv

A row is a crop; the columns are the crop, where it differs from its original, every augmentation by itself, done for
certain, and the whole training pipeline, drawn four times. Of a recipe of pairs two rows are a pair, the real crop
above its fake, drawn four times: as they are made, the mask above the difference, and as training sees them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from common.arguments import Parser, count, positive_int
from common.errors import UserError, run_command
from common.files import replacing
from common.places import only_local
from training.datasets.classifier_dataset import DeepFakeClassifierDataset, UnreadableCropError, tighter
from training.datasets.folds import read_folds
from training.datasets.pair_dataset import PairDataset
from training.tools.config import TrainConfig, read_config
from training.transforms import albu, blackout
from training.transforms.self_blending import self_blend

TILE = 160  # pixels of a picture on the sheet
HEADER, GAP = 36, 4
DRAWS = 4
BRIGHTER = 6  # the difference of a pair is shown this many times as bright
TIGHTER = 6  # the padding part that is shown
Shown = Callable[[np.ndarray, np.ndarray, bool, np.ndarray | None, np.random.Generator], np.ndarray]


def augmentations() -> dict[str, Shown]:
    """Each augmentation by name, as (image, mask, fake, landmarks, rng) to the image it makes."""
    shown: dict[str, Shown] = {
        "landmark": lambda image, mask, fake, marks, rng: (
            image if marks is None else blackout.black_out_landmark(image, marks, rng)
        ),
        "hull": lambda image, mask, fake, marks, rng: blackout.black_out_hull(image, rng),
        "area": lambda image, mask, fake, marks, rng: blackout.black_out_area(image, mask, fake, rng)[0],
        "half*": lambda image, mask, fake, marks, rng: blackout.black_out_half(image, mask, fake, rng)[0],
        "self-blend*": lambda image, mask, fake, marks, rng: (self_blend(image, rng) or (image,))[0],
        f"padding {TIGHTER}*": lambda image, mask, fake, marks, rng: tighter(image, TIGHTER),
    }
    for name, transform in albu.single_transforms().items():
        shown[name] = lambda image, mask, fake, marks, rng, t=transform: albu.seeded(t, rng)(image=image, mask=mask)[
            "image"
        ]
    return shown


def make_sheet(dataset: DeepFakeClassifierDataset, rows: pd.DataFrame, config: TrainConfig, seed: int) -> np.ndarray:
    """The sheet as (h, w, 3) uint8 RGB. Raises UnreadableCropError."""
    names, lines = [], []
    for number, row in enumerate(rows.itertuples()):
        image, mask = dataset.read(row)
        marks, fake = dataset.landmarks(row, image.shape[:2]), bool(row.label)
        tiles = {("fake" if fake else "real"): image, "difference": np.repeat(mask[..., None], 3, axis=2)}
        for k, (name, augment) in enumerate(augmentations().items()):
            tiles[name] = augment(image, mask, fake, marks, np.random.default_rng([seed, number, k]))
        for k in range(DRAWS):
            tiles[f"training {k + 1}"] = dataset.augmented(row, np.random.default_rng([seed, number, 1000 + k]))
        names = ["crop", *list(tiles)[1:]]
        lines.append([_tile(tile) for tile in tiles.values()])
    header = np.hstack([_title(name) for name in names])
    return np.vstack([header, *(np.hstack(line) for line in lines)])


def make_sheet_of_pairs(dataset: PairDataset, count: int, seed: int) -> np.ndarray:
    """The sheet of the first `count` pairs of an epoch as (h, w, 3) uint8 RGB. Raises UnreadableCropError."""
    order, lines = dataset.order(seed).reshape(-1, 2)[:count], []
    for number, (real, fake) in enumerate(order):
        row = dataset.rows.iloc[fake]
        pair_lines = [[_title("blended" if real == fake else row.video), _title(row.original)], [], []]
        for k in range(DRAWS):
            pair, seen = dataset.augmented_pair(real, fake, np.random.default_rng([seed, number, k]))
            difference = np.abs(pair.fake.astype(int) - pair.real) * BRIGHTER
            mask = np.repeat(pair.mask[..., None], 3, axis=2)
            pair_lines[1] += [_tile(picture) for picture in (pair.real, mask, seen[0])]
            pair_lines[2] += [_tile(picture) for picture in (pair.fake, np.minimum(difference, 255), seen[1])]
        blank = np.full((HEADER, TILE + GAP, 3), 255, np.uint8)
        pair_lines[0] += [blank] * (len(pair_lines[1]) - 2)
        lines += [np.hstack(line) for line in pair_lines]
    titles = ["real, fake", "mask, difference", "training"] * DRAWS
    return np.vstack([np.hstack([_title(name) for name in titles]), *lines])


def _tile(image: np.ndarray) -> np.ndarray:
    square = np.full((TILE + GAP, TILE + GAP, 3), 255, np.uint8)
    image = image.astype(np.uint8)
    square[:TILE, :TILE] = albu.create_val_transforms(TILE)(image=image, mask=image[..., 0])["image"]
    return square


def _title(name: str) -> np.ndarray:
    title = np.full((HEADER, TILE + GAP, 3), 255, np.uint8)
    cv2.putText(title, name, (4, HEADER - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return title


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="training.preview", description="A sheet of crops before and after each augmentation.")
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help="the recipe, see configs/")
    add("--folds-csv", required=True, metavar="FILE", help="the table of crops")
    add("--data-dir", metavar="DIR", help="the data root (default: the folder of --folds-csv)")
    add("--crops-dir", default="crops", metavar="DIR", help="folder of the crops, below the data root")
    add("--out", default="preview.png", metavar="FILE", help="the sheet")
    add("--crops", type=positive_int, default=8, metavar="N", help="crops on the sheet, half of them real")
    add("--seed", type=count, default=777, metavar="N", help="which crops, and what is drawn")
    options = parser.parse_args(argv)
    for path in (options.folds_csv, options.data_dir or "", options.out):
        only_local(path, "training.preview")
    if Path(options.out).suffix.lower() != ".png":
        raise UserError(f"{options.out}: the sheet's name must end in .png")
    config, table = read_config(options.config), read_folds(options.folds_csv)
    if config.input != "frame":
        raise UserError(f"{options.config}: is of {config.input}s; this sheet is of single crops")
    common = {
        "data_dir": options.data_dir or Path(options.folds_csv).parent,
        "crops_dir": options.crops_dir,
        "size": config.size,
        "normalize": config.normalize,
        "augmentation": config.augmentation,
    }
    half = -(-options.crops // 2)
    try:
        if config.sampling == "pairs":
            dataset = PairDataset(table, pairs=config.pairs, **common)
            for remark in dataset.remarks():
                print(remark)
            shown = 2 * min(half, len(dataset.order(options.seed)) // 2)
            if not shown:
                raise UserError(f"{options.folds_csv}: no real crop has a fake or can be blended")
            sheet = make_sheet_of_pairs(dataset, half, options.seed)
        else:
            sides = [table[table["label"] == label] for label in (0, 1)]
            chosen = pd.concat([side.sample(min(half, len(side)), random_state=options.seed) for side in sides])
            shown = len(chosen)
            sheet = make_sheet(DeepFakeClassifierDataset(table, **common), chosen, config, options.seed)
    except UnreadableCropError as error:
        raise UserError(f"cannot be used: {error}") from error
    _, encoded = cv2.imencode(".png", sheet[..., ::-1])
    with replacing(options.out) as temporary:
        temporary.write_bytes(encoded.tobytes())
    marks = "" if config.sampling == "pairs" else "; * marks what is off unless asked for"
    print(f"{options.out}: {shown} crops{marks}")
    return 0


if __name__ == "__main__":
    run_command(main)
