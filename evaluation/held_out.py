"""What is held out in cross-validation: which videos, and how networks that never saw them scored them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from preprocessing.data_root import METADATA, DataRoot, Video

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from evaluation.folds import FoldScores
    from evaluation.groups import Groups
    from inference.details import VideoDetails

LABEL, MEAN = "label", "mean of the faces"


def always_trained_on(table: "pd.DataFrame") -> "pd.DataFrame":
    """The `table` of crops with the real videos that have no fake in a fold of their own, which nobody holds out.

    Without fakes of the same people they would tell nothing about telling these apart, but much about two data sets.
    """
    paired = set(table.loc[table["label"] == 1, "original"].astype(str))
    unpaired = (table["label"] == 0) & ~table["video"].astype(str).isin(paired)
    return table.assign(fold=table["fold"].mask(unpaired, table["fold"].max() + 1))


def held_out_videos(table: "pd.DataFrame", root: DataRoot, fold: int) -> list[Video]:
    """The videos (no stills) of a fold's originals and all their fakes, sorted by name, also those without crops.

    Raises UserError if there are not both real and fake ones.
    """
    originals = set(table.loc[table["fold"] == fold, "original"].astype(str))
    videos = [video for video in root.videos.values() if video.source in originals and not video.is_still]
    if len({video.label for video in videos}) < 2:
        paired = table.loc[table["label"] == 1, "fold"].unique().tolist()
        there = ", ".join(map(str, sorted(paired)))
        raise UserError(f"fold {fold} has not both real and fake videos to hold out; folds that have fakes: {there}")
    return sorted(videos, key=lambda video: video.path.name)


def folder_of(folder: Path, videos: Sequence[Video]) -> Path:
    """A folder of links to exactly these videos."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for video in videos:
        (folder / video.path.name).symlink_to(video.path.resolve())
    return folder


def read_scores(path: Path, root: DataRoot, fold: int, seed: int | str, videos: Sequence[Video]) -> "FoldScores":
    """The scores of `videos` from the details of a prediction. Raises UserError if they are of other videos."""
    import numpy as np

    from evaluation.folds import FoldScores
    from inference.details import checked, read_details

    found = {details.filename: details for details in checked(read_details(path), path)}
    names = [video.path.name for video in videos]
    if found.keys() != set(names):
        raise UserError(f"{path}: is of other videos than fold {fold} has now; remove it, or choose another --out")
    scores = {
        LABEL: np.array([found[name].label for name in names]),
        MEAN: np.array([_mean_of_faces(found[name]) for name in names]),
    }
    fake = np.array([video.original is not None for video in videos])
    originals, unscored = [video.source for video in videos], [name for name in names if not found[name].scored]
    return FoldScores(fold, seed, fake, originals, _methods_of(root, videos, fake), scores, unscored)


def _mean_of_faces(details: "VideoDetails") -> float:
    """The mean over all faces (of clips and sequences: tracks); the label, 0.5, where there is none."""
    values = [p for shown in (*details.faces, *details.tracks) for p in shown.probabilities if p is not None]
    return sum(values) / len(values) if values else details.label


def _methods_of(root: DataRoot, videos: Sequence[Video], fake: "np.ndarray") -> "Groups":
    """Groups by method, where the metadata or the fakes' names tell it."""
    from evaluation.dataset import Dataset
    from evaluation.groups import MANIPULATION, UNKNOWN, groups_of
    from evaluation.labels import read_labels

    labels = {part: read_labels(root.path / part / METADATA) for part in {video.part for video in videos}}
    names = sorted({column for of_part in labels.values() for column in of_part.column_names()})
    told = [labels[video.part].columns.get(video.path.name, {}) for video in videos]
    columns = {column: [of_video.get(column, "") for of_video in told] for column in names}
    groups = groups_of(Dataset([video.path.name for video in videos], fake, [], columns, None), MANIPULATION)
    return [] if [name for name, _ in groups] == [UNKNOWN] else groups
