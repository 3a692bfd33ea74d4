"""Videos in groups: by a column of the labels, by number of faces, by resolution, by manipulation."""

from pathlib import PurePosixPath

import numpy as np

from common.errors import UserError
from evaluation.dataset import Dataset
from evaluation.metrics import CLIP, at_threshold, auc, log_losses

FACES, RESOLUTION, MANIPULATION = "faces", "resolution", "manipulation"
UNKNOWN = "unknown"
NONE = "-"
# By shorter side in pixels, so that a portrait and a landscape video of one camera are together.
RESOLUTIONS = ((480, "under 480p"), (720, "480p to 719p"), (1080, "720p to 1079p"), (float("inf"), "1080p and up"))
METHOD_COLUMNS = ("manipulation", "method", "type")
# FaceForensics++ by folder or by the beginning of the file's name.
METHODS = {
    "df": "Deepfakes",
    "f2f": "Face2Face",
    "fs": "FaceSwap",
    "nt": "NeuralTextures",
    "fsh": "FaceShifter",
    "dfd": "DeepFakeDetection",
}

Groups = list[tuple[str, np.ndarray]]


def groups_of(dataset: Dataset, by: str) -> Groups:
    """The groups by `by` and which videos belong to each, bool (n,).

    `faces` and `resolution` are what the details tell, else a label column of that name; `manipulation` is a label
    column of METHOD_COLUMNS, else what an FF++-like name tells, and every group of it consists of its fakes and of
    all real videos. Anything else is a label column. Raises UserError where there is nothing to group by.
    """
    if by == MANIPULATION:
        return _by_manipulation(dataset)
    if by in (FACES, RESOLUTION) and dataset.details is not None:
        value = _faces if by == FACES else _resolution
        values = [UNKNOWN if record is None else value(record) for record in dataset.details]
    elif by in dataset.columns:
        values = [value.strip() or NONE for value in dataset.columns[by]]
    elif by in (FACES, RESOLUTION):
        raise UserError(f"--by {by}: needs --details, which predict_folder.py --details writes")
    else:
        columns = f" ({', '.join(dataset.columns)})" if dataset.columns else ", which have none"
        known = f"{FACES}, {RESOLUTION}, {MANIPULATION}"
        raise UserError(f"--by {by}: is neither one of {known} nor a further column of the labels{columns}")
    return [(group, np.array([value == group for value in values])) for group in _sorted(set(values))]


def judge_group(fake: np.ndarray, scores: np.ndarray, clip: float = CLIP) -> dict:
    """Size, log loss and AUC of a group, and accuracy, precision, recall and confusion matrix at 0.5."""
    at_half = at_threshold(fake, scores)
    return {
        "videos": len(fake),
        "real": int((~fake).sum()),
        "fake": int(fake.sum()),
        "log_loss": log_losses(fake, scores, clip)["log_loss"],
        "auc": auc(fake, scores),
        **{key: at_half[key] for key in ("accuracy", "precision", "recall", "confusion")},
    }


def _faces(record) -> str:
    return UNKNOWN if record.faces is None else str(record.faces)


def _resolution(record) -> str:
    if record.shorter_side is None:
        return UNKNOWN
    return next(name for below, name in RESOLUTIONS if record.shorter_side < below)


def _by_manipulation(dataset: Dataset) -> Groups:
    column = next((name for name in METHOD_COLUMNS if name in dataset.columns), None)
    if column:
        values = [value.strip() or UNKNOWN for value in dataset.columns[column]]
    else:
        values = [_method_in(name) for name in dataset.names]
    found = {value for value, fake in zip(values, dataset.fake, strict=True) if fake}
    is_in = {group: np.array([value == group for value in values]) for group in found}
    return [(group, (is_in[group] & dataset.fake) | ~dataset.fake) for group in _sorted(found)]


def _method_in(name: str) -> str:
    by_word = METHODS | {method.lower(): method for method in METHODS.values()}
    for part in PurePosixPath(name.lower()).parts:
        if (word := part.partition("_")[0]) in by_word:
            return by_word[word]
    return UNKNOWN


def _sorted(names: set[str]) -> list[str]:
    """Resolutions by size, numbers by value, then other names; what is not known last."""
    sizes = [name for _, name in RESOLUTIONS]

    def rank(name: str) -> tuple:
        if name in sizes:
            return (0, sizes.index(name), name)
        if name in (NONE, UNKNOWN):
            return (3, 0, name)
        return (1, int(name), name) if name.isdecimal() else (2, 0, name)

    return sorted(names, key=rank)
