"""Losses of logits (n, 1) against labels (n, 1) in 0-1, above 0.5 for fake."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOCAL_GAMMA = 3.0


class BinaryCrossentropy(nn.Module):
    """Binary cross entropy with logits, per item (n, 1)."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


class FocalLoss(nn.Module):
    """Cross entropy times (1 - p of the right answer) ** gamma, per item (n, 1) (Lin et al. 2017)."""

    def __init__(self, gamma: float = FOCAL_GAMMA):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        # From the logits' distance, not from exp(-entropy): smoothed labels have an entropy above 0 even when right.
        right = torch.sigmoid(logits) * labels + torch.sigmoid(-logits) * (1 - labels)
        return (1 - right) ** self.gamma * entropy


LOSSES: dict[str, type[nn.Module]] = {loss.__name__: loss for loss in (BinaryCrossentropy, FocalLoss)}


class WeightedLosses(nn.Module):
    """The weighted sum of losses by name, per item (n, 1)."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__()
        self.weights = dict(weights)
        self.losses = nn.ModuleDict({name: LOSSES[name]() for name in weights})

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sum(self.weights[name] * loss(logits, labels) for name, loss in self.losses.items())


def sided_loss(
    criterion: nn.Module, logits: Tensor, labels: Tensor, ohem_samples: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of a batch and its two sides, scalars: mean over fakes, mean over reals, and their average.

    A side that the batch does not have counts 0. With `ohem_samples` only that many of each side's largest losses
    count. Every logit takes part in the graph, so that gradients exist whatever the batch holds.
    """
    losses = criterion(logits, labels)
    fake = labels > 0.5
    sides = []
    for side in (fake, ~fake):
        chosen = losses[side]
        if ohem_samples is not None and chosen.numel() > ohem_samples:
            chosen = chosen.topk(ohem_samples).values
        sides.append(chosen.mean() if chosen.numel() else logits.sum() * 0)
    return (sides[0] + sides[1]) / 2, sides[0], sides[1]
