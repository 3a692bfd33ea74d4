"""How good probabilities of crops are, judged by video, and by the number of faces in a video."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AGGREGATES = {"mean": np.mean, "median": np.median, "max": np.max}
CLIP = 1e-15  # a probability of exactly 0 or 1 must not make a loss infinite
THRESHOLD = 0.5  # above this probability a video is taken for a fake


@dataclass(frozen=True)
class FaceCount:
    """How the videos with `faces` faces were told apart: `tp` fakes and `tn` reals rightly, `fn` and `fp` wrongly.

    The shares are in 0-1, NaN where there is nothing to divide by: precision is of the videos taken for fakes, recall
    of the fakes.
    """

    faces: int
    videos: int
    tn: int
    fp: int
    fn: int
    tp: int
    accuracy: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Verdict:
    """Validation by video. Losses and AUC are NaN where a class is missing."""

    probabilities: dict[str, list[float]]
    targets: dict[str, int]
    fake_loss: float
    real_loss: float
    bce: float
    auc: float
    scores: dict[str, float]  # of each video
    by_faces: tuple[FaceCount, ...]  # fewest faces first; empty where the faces were not counted


def judge(
    crops: Sequence[tuple[str, str, float, int]], aggregate: str = "mean", faces: Mapping[str, int] | None = None
) -> Verdict:
    """A verdict from (video, file, P(fake), label) of every crop, and the number of faces of every video, if known.

    A video's probability is what `aggregate`, a key of AGGREGATES, makes of its crops'; `fake_loss` and `real_loss`
    are the log losses over the videos of each class and `bce` is their mean, or the only one there is.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    probabilities: dict[str, list[float]] = defaultdict(list)
    targets = {}
    # Sorted, so that the sum does not depend on which process scored what.
    for video, _, probability, label in sorted(crops):
        probabilities[video].append(float(probability))
        targets[video] = int(label)
    scores = np.array([AGGREGATES[aggregate](values) for values in probabilities.values()])
    labels = np.array(list(targets.values()))
    losses = {}
    for label in (0, 1):
        chosen = np.clip(scores[labels == label], CLIP, 1 - CLIP)
        wrong = not len(chosen) or not np.isfinite(chosen).all()
        losses[label] = math.nan if wrong else float(log_loss([label] * len(chosen), chosen, labels=[0, 1]))
    both = len(set(targets.values())) == 2 and np.isfinite(scores).all()
    there = [losses[label] for label in (0, 1) if (labels == label).any()]
    by_video = dict(zip(probabilities, scores.tolist(), strict=True))
    return Verdict(
        probabilities=dict(probabilities),
        targets=targets,
        fake_loss=losses[1],
        real_loss=losses[0],
        bce=float(np.mean(there)) if there else math.nan,
        auc=float(roc_auc_score(labels, scores)) if both else math.nan,
        scores=by_video,
        by_faces=judge_by_faces(by_video, targets, faces) if faces else (),
    )


def judge_by_faces(
    scores: Mapping[str, float], targets: Mapping[str, int], faces: Mapping[str, int]
) -> tuple[FaceCount, ...]:
    """How videos are told apart, for each number of faces that occurs. Videos whose score is NaN are left out."""
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

    groups: dict[int, list[str]] = defaultdict(list)
    for video, score in scores.items():
        if not math.isnan(score):
            groups[faces[video]].append(video)
    results = []
    for count, videos in sorted(groups.items()):
        labels, taken = [targets[video] for video in videos], [int(scores[video] > THRESHOLD) for video in videos]
        results.append(
            FaceCount(
                count,
                len(videos),
                *confusion_matrix(labels, taken, labels=[0, 1]).ravel().tolist(),
                accuracy=float(accuracy_score(labels, taken)),
                precision=float(precision_score(labels, taken, zero_division=math.nan)),
                recall=float(recall_score(labels, taken, zero_division=math.nan)),
            )
        )
    return tuple(results)


def count_faces(files: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The number of faces of each video, from (video, file) of its clips or sequences: the most tracks of one chunk.

    A file is called <first frame of the chunk>_<track>.<suffix>. Each chunk has tracks of its own, so one face has as
    many of them as there are chunks.
    """
    tracks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for video, file in files:
        chunk, _, track = file.partition(".")[0].partition("_")
        tracks[video, chunk].add(track)
    faces: dict[str, int] = defaultdict(int)
    for (video, _), found in tracks.items():
        faces[video] = max(faces[video], len(found))
    return dict(faces)


def roc_points(targets: Mapping[str, int], scores: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, in 0-1."""
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve([targets[v] for v in scores], list(scores.values()))
    return false_rate, true_rate
