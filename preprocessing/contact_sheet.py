"""See what was made: one picture per video with its crops in a row, landmarks drawn on them, differences below.

python -m preprocessing.contact_sheet --root-dir DATA_ROOT --out contact_sheets [VIDEO ...]
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.files import replacing
from common.places import only_local
from faces.geometry import isotropically_resize_image
from preprocessing.data_root import DataRoot, Video, read_data_root
from preprocessing.generate_landmarks import crops_of, read_png
from preprocessing.runner import StageError, add_crops_option

TILE = 180
CAPTION = 22
COLUMNS = 12
LANDMARK_COLOURS = ((0, 255, 255), (0, 255, 255), (0, 255, 0), (255, 128, 0), (255, 128, 0))  # BGR


def contact_sheet(root: DataRoot, video: Video, columns: int = COLUMNS) -> np.ndarray | None:
    """A BGR picture of up to `columns` crops spread over the video; None if it has no crops."""
    try:
        paths = sorted(crops_of(root.crops / video.id), key=_by_frame)
    except StageError:
        paths = []
    if not paths:
        return None
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(columns, len(paths))).astype(int))]
    rows = [[_crop_tile(root, video, path) for path in chosen]]
    if video.original is not None:
        rows.append([_file_tile(root.crops / video.source / path.name) for path in chosen])
        rows.append([_file_tile(root.folder("diffs") / video.id / f"{path.stem}_diff.png") for path in chosen])
    sheet = np.vstack([np.hstack(row) for row in rows])
    kind = f"fake of {video.original}, original and difference below" if video.original else "real"
    title = np.full((2 * CAPTION, sheet.shape[1], 3), 40, np.uint8)
    _write(title, f"{video.part}/{video.id}: {kind}, {len(paths)} crops", (6, CAPTION - 6))
    for column, path in enumerate(chosen):
        _write(title, path.stem, (column * TILE + 6, 2 * CAPTION - 6))
    return np.vstack([title, sheet])


def _by_frame(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.split("_"))


def _crop_tile(root: DataRoot, video: Video, path: Path) -> np.ndarray:
    crop = _read(path)
    if crop is not None:
        points = _points(root.folder("landmarks") / video.id / f"{path.stem}.npy")
        size = max(2, round(max(crop.shape) / 60))
        for (x, y), colour in zip(points, LANDMARK_COLOURS, strict=False):
            cv2.circle(crop, (int(x), int(y)), size, colour, -1)
    return _tile(crop)


def _points(path: Path) -> np.ndarray:
    """The landmarks, (5, 2); (0, 2) where there are none, or none that can be read."""
    try:
        return np.load(path, allow_pickle=False).reshape(5, 2)
    except Exception:  # NumPy parses the header as Python, which raises half a dozen types
        return np.empty((0, 2))


def _read(path: Path) -> np.ndarray | None:
    """The picture, BGR; None where there is none, or none that can be read."""
    try:
        return read_png(path, cv2.IMREAD_COLOR) if path.exists() else None
    except StageError:
        return None


def _file_tile(path: Path) -> np.ndarray:
    return _tile(_read(path))


def _tile(image: np.ndarray | None) -> np.ndarray:
    """An image fitted into a square; a cross where there is none."""
    tile = np.full((TILE, TILE, 3), 20, np.uint8)
    if image is None:
        cv2.line(tile, (0, 0), (TILE, TILE), (60, 60, 60), 1)
        cv2.line(tile, (TILE, 0), (0, TILE), (60, 60, 60), 1)
        return tile
    image = isotropically_resize_image(image, TILE - 4)
    height, width = image.shape[:2]
    top, left = (TILE - height) // 2, (TILE - width) // 2
    tile[top : top + height, left : left + width] = image
    return tile


def _write(image: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="preprocessing.contact_sheet", description="One picture per video of what was made of it.")
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="ids of videos (default: all)")
    parser.add_argument("--root-dir", required=True, metavar="DIR", help="the data root")
    add_crops_option(parser)
    parser.add_argument("--out", default="contact_sheets", metavar="DIR", help="folder for the pictures")
    parser.add_argument("--columns", type=positive_int, default=COLUMNS, metavar="N", help="crops in a row")
    options = parser.parse_args(argv)
    root = read_data_root(only_local(options.root_dir, "contact_sheet"), options.crops_dir)
    unknown = [name for name in options.videos if name not in root.videos]
    if unknown:
        raise UserError(f"no such video in {root.path}: {', '.join(unknown)}")
    out = only_local(options.out, "contact_sheet")
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    for video in root.videos.values():
        if options.videos and video.id not in options.videos:
            continue
        sheet = contact_sheet(root, video, options.columns)
        if sheet is not None:
            _, encoded = cv2.imencode(".png", sheet)
            with replacing(out / f"{video.id}.png") as temporary:
                temporary.write_bytes(encoded)
            written += 1
    print(f"{out}: {written} contact sheets{'' if written else '; there are no crops, preprocess_data.sh makes them'}")
    return 0


if __name__ == "__main__":
    run_command(main)
