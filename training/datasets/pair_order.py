"""Which real crops an epoch of pairs takes, and what becomes their fakes: each a fake of the table, or a blend."""

from typing import TYPE_CHECKING

import numpy as np

from training.tools.config import Pairs

if TYPE_CHECKING:
    import pandas as pd

WITH_FAKES, WITHOUT_FAKES, STILL = range(3)  # kinds of sources, in the order of config.Pairs.weights


class PairTable:
    """The real crops of a table that can have a fake beside them.

    `blendable` (n,) bool says of every row whether it can be blended into itself. A row's fakes are the rows of label 1
    of the same original and file name.
    """

    def __init__(self, rows: "pd.DataFrame", blendable: np.ndarray):
        labels = rows["label"].to_numpy()
        keys = _keys(rows)
        fakes = np.flatnonzero(labels == 1)
        self._fakes = fakes[np.argsort(keys[fakes], kind="stable")]
        real = np.flatnonzero(labels == 0)
        sorted_keys = keys[self._fakes]
        first, end = (np.searchsorted(sorted_keys, keys[real], side) for side in ("left", "right"))
        usable = (end > first) | blendable[real]
        self.left_out = int(np.count_nonzero(~usable))
        self.real = real[usable]
        self._first, self._count = first[usable], (end - first)[usable]
        self._blendable = blendable[self.real]
        self._video = _codes(rows["video"])[self.real]
        self._kind = _kinds(self._video, self._count > 0, rows["frame"].to_numpy()[self.real])

    def order(self, pairs: Pairs, blended: float, rng: np.random.Generator) -> np.ndarray:
        """Row numbers (2 n,) int64: a real crop and its fake's, or once more its own where it is to be blended.

        The share `blended` of the crops that could be either are blends.
        """
        chosen = rng.permutation(np.concatenate(self._chosen(pairs, rng)))
        blend = self._blendable[chosen] & ((rng.random(len(chosen)) < blended) | (self._count[chosen] == 0))
        # Every fake of a crop is as likely; a crop without any is a blend, whose draw is not used.
        fakes = self._first[chosen] + rng.integers(np.maximum(self._count[chosen], 1))
        real = self.real[chosen]
        order = np.stack([real, real], axis=1)
        order[~blend, 1] = self._fakes[fakes[~blend]]
        return order.reshape(-1)

    def _chosen(self, pairs: Pairs, rng: np.random.Generator) -> list[np.ndarray]:
        """Places in `real` for each kind of source: its share of the pairs, the videos of a kind taking turns."""
        weights = np.array(pairs.weights) * [(self._kind == kind).any() for kind in range(3)]
        shares = np.rint(pairs.per_epoch * weights / (weights.sum() or 1)).astype(int)
        chosen = []
        for kind, share in enumerate(shares):
            places = rng.permutation(np.flatnonzero(self._kind == kind))
            turns = np.argsort(_rank_within(self._video[places]), kind="stable")
            chosen.append(places[turns][:share])
        return chosen


def _kinds(video: np.ndarray, has_fake: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The kind of source of each real crop's video."""
    with_fakes = np.isin(video, video[has_fake])
    frames_of, frames = np.unique(np.unique(np.stack([video, frame]), axis=1)[0], return_counts=True)
    still = np.isin(video, frames_of[frames == 1])
    return np.where(with_fakes, WITH_FAKES, np.where(still, STILL, WITHOUT_FAKES))


def _rank_within(groups: np.ndarray) -> np.ndarray:
    """How many of the same group came before, for each."""
    by_group = np.argsort(groups, kind="stable")
    ordered = groups[by_group]
    ranks = np.empty(len(groups), np.int64)
    ranks[by_group] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return ranks


def _keys(rows: "pd.DataFrame") -> np.ndarray:
    """A number for every original and file name, (n,) int64."""
    files = _codes(rows["file"])
    return _codes(rows["original"]) * (files.max(initial=0) + 1) + files


def _codes(column: "pd.Series") -> np.ndarray:
    return column.astype("category").cat.codes.to_numpy().astype(np.int64)
