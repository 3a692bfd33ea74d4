"""The report's first lines: what the run did, and how right it was where that is known."""

from collections.abc import Sequence

import numpy as np

from evaluation.labels import Truth
from evaluation.metrics import THRESHOLD, auc, log_losses
from evaluation.report import number
from inference.details import VideoDetails


def summary_of(videos: Sequence[VideoDetails], truths: Sequence[Truth | None]) -> list[str]:
    """Sentences about the run as a whole; `truths` are those of the videos, in their order."""
    scored = [video for video in videos if video.scored]
    fakes = sum(video.label > THRESHOLD for video in scored)
    failed = sum(video.error is not None for video in videos)
    lines = [
        f"{len(scored)} of {len(videos)} video{'' if len(videos) == 1 else 's'} scored: {fakes} above 0.5 (fake side), "
        f"{len(scored) - fakes} not (real side)"
    ]
    if faceless := len(videos) - len(scored) - failed:
        lines.append(f"{faceless} without a face, not scored")
    if failed:
        lines.append(f"{failed} could not be read or failed, not scored")
    if warned := sum(bool(video.warnings) for video in scored):
        lines.append(f"{warned} scored with warnings: their labels deserve less trust")
    if known := [(video, truth) for video, truth in zip(videos, truths, strict=True) if truth is not None]:
        lines.append(_quality(known))
    by = dict.fromkeys(video.calibration for video in scored if video.calibrated is not None and video.calibration)
    if by:
        lines.append(f"calibrated scores are by {', '.join(f'{each} ({each.file})' for each in by)}")
    return lines


def _quality(known: Sequence[tuple[VideoDetails, Truth]]) -> str:
    """How well labels fit what is known, by the numbers of evaluate.py: a video without a score has its 0.5 there."""
    scores = np.array([video.label for video, _ in known])
    fake = np.array([truth == "FAKE" for _, truth in known])
    right = int(((scores > THRESHOLD) == fake).sum())
    share = f"{100 * right / len(known):.1f}".removesuffix(".0")
    area = auc(fake, scores)
    said = (
        f"{right} of {len(known)} with a known label are on the right side of 0.5 ({share}%); "
        f"log loss {number(log_losses(fake, scores)['log_loss'])}"
    )
    said += f", AUC {number(area)}" if area is not None else ""
    unscored = sum(not video.scored for video, _ in known)
    return f"{said}; {unscored} unscored count as 0.5" if unscored else said
