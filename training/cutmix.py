"""CutMix in three dimensions: a box of time, rows and columns of one clip is replaced by that of another.

After Yun et al. 2019, as the fifth-placed solution of the challenge used it for its 3-D networks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The larger part of a mixed clip is always its own.
MIN_LAMBDA = 0.5


def cutmix(clips: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Paste into every clip a box of another clip of the batch, as that was before any pasting.

    `clips` (n, c, t, h, w) of any dtype, `labels` (n,) int64; neither is changed. All chance comes from `generator`.
    Returns the mixed clips, the clips' own labels, those of the clips pasted from, and the share of each clip that is
    still its own, (n,) float32 in 0.5-1. A clip alone in its batch stays as it is.
    """
    mixed = clips.clone()
    count, sizes = len(clips), clips.shape[2:]
    if count < 2:
        return mixed, labels, labels, clips.new_ones(count, dtype=torch.float32)
    boxes = draw_boxes(draw_lambda(count, generator), sizes, generator)
    # Any of the other clips, each as likely.
    ahead = torch.randint(1, count, (count,), generator=generator, device=generator.device)
    partners = ((torch.arange(count, device=generator.device) + ahead) % count).tolist()
    own = []
    for index, (partner, box) in enumerate(zip(partners, boxes, strict=True)):
        region = (slice(None), *(slice(start, end) for start, end in box))
        mixed[index][region] = clips[partner][region]
        pasted = 1.0
        for (start, end), size in zip(box, sizes, strict=True):
            pasted *= (end - start) / size
        own.append(1 - pasted)
    return mixed, labels, labels[partners], torch.tensor(own, dtype=torch.float32, device=clips.device)


def draw_lambda(count: int, generator: torch.Generator) -> Tensor:
    """The shares (count,) float64 of Beta(1, 1), which is uniform, given that they are at least 0.5."""
    share = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    return MIN_LAMBDA + (1 - MIN_LAMBDA) * share


def draw_boxes(lam: Tensor, sizes: torch.Size, generator: torch.Generator) -> list[list[tuple[int, int]]]:
    """For each of `lam` (n,) a box in a volume of `sizes`: (start, end) of every dimension, end exclusive.

    Its sides are (1 - lambda) ** (1/3) of the volume's, rounded down, so that it never holds more than 1 - lambda of
    it; its centre is any voxel, and what reaches beyond the volume is cut off.
    """
    ratio = (1 - lam) ** (1 / 3)
    dimensions = []
    for size in sizes:
        side = (size * ratio).long()
        centre = torch.randint(size, lam.shape, generator=generator, device=generator.device)
        start = centre - side // 2
        dimensions.append(torch.stack([start.clamp(min=0), (start + side).clamp(max=size)], dim=1).tolist())
    return [[(start, end) for start, end in box] for box in zip(*dimensions, strict=True)]


def mixed_cross_entropy(logits: Tensor, labels_a: Tensor, labels_b: Tensor, lam: Tensor) -> Tensor:
    """Cross entropy of `logits` (n, classes) against both labels (n,), weighted `lam` and 1 - `lam`, per item (n,)."""
    entropy_a = F.cross_entropy(logits, labels_a, reduction="none")
    entropy_b = F.cross_entropy(logits, labels_b, reduction="none")
    return lam * entropy_a + (1 - lam) * entropy_b
