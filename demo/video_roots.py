"""What a generated data root is made of: the row of a video, metadata, and how a root is checked, filled and reported.

The layout is that of the DFDC data set: one folder a part, which holds videos and a metadata.json.
"""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from common.arguments import Parser
from common.files import replacing

METADATA = "metadata.json"
WORKERS = 2  # videos rendered at a time


@dataclass(frozen=True)
class SampleVideo:
    """One row of a root's table: a real video if `original` is None, else a fake of the video with that id."""

    id: str
    part: int
    original: str | None
    kind: str  # what is filmed: "single", "upright", "double" or "faceless"

    @property
    def path(self) -> Path:
        """Where the video lies below the data root."""
        return Path(f"dfdc_train_part_{self.part}", f"{self.id}.mp4")


def check_root(root: Path, seed: int, table: Sequence[SampleVideo]) -> None:
    """Raise ValueError, in one line, for a negative seed and for a `root` that holds other videos than `table`."""
    if seed < 0:
        raise ValueError(f"the seed must not be negative, not {seed}")
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    # Another data set's metadata.json must not be replaced.
    ours = {root / video.path for video in table} | {root / video.path.with_name(METADATA) for video in table}
    if others := set(root.glob("dfdc_train_part_*/[!.]*")) - ours:
        raise ValueError(f"{min(others)} is no sample video: choose an empty folder")


def fill_root(
    root: Path,
    rows: Sequence[SampleVideo],
    write: Callable[[SampleVideo], None],
    overwrite: bool,
    table: Sequence[SampleVideo],
) -> list[Path]:
    """`write` those of `rows` that are not there, or all with `overwrite`, and describe their parts from `table`.

    Returns the paths of all `rows`, in their order.
    """
    todo = [row for row in rows if overwrite or not (root / row.path).exists()]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(tqdm(pool.map(write, todo), total=len(todo), desc="videos", unit="video", disable=not todo))
    for folder in {root / row.path.parent for row in rows}:
        write_metadata(folder, table)
    return [root / row.path for row in rows]


def write_metadata(folder: Path, table: Sequence[SampleVideo]) -> None:
    """Describe those videos of `table` that lie in the part `folder`; a metadata.json that is right stays untouched."""
    entries = {}
    for video in table:
        if video.path.parent.name == folder.name and (folder / video.path.name).exists():
            original = {"original": f"{video.original}.mp4"} if video.original else {}
            entries[video.path.name] = {"label": "FAKE" if original else "REAL", "split": "train", **original}
    path, text = folder / METADATA, json.dumps(entries, indent=1)
    if not path.exists() or path.read_text() != text:
        with replacing(path) as temporary:
            temporary.write_text(text)


def run_maker(parser: Parser, make: Callable[..., list[Path]], argv: Sequence[str] | None) -> int:
    """Build a root with `make` from the options of `parser`, and say in one line what it wrote."""
    args = vars(parser.parse_args(argv))
    root = args.pop("out_dir")
    before = set() if args["overwrite"] else set(root.glob("*/*.mp4"))
    try:
        paths = make(root, **args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    kept = len(before.intersection(paths))
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{root}: {len(paths) - kept} videos written, {kept} kept, {size:.1f} MB in all")
    return 0
