"""MTCNN (Zhang et al., 2016) over a batch of frames, on facenet-pytorch's networks and weights.

The three networks are facenet-pytorch's; the way from frames to boxes is written for one frame or many at once. What
costs most elsewhere is resizing by area, once per scale and once per candidate box. Here every resize reads one
integral image per frame: a mean over any window is four look-ups, whatever the window's size.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from faces.integral_images import averaged
from faces.mtcnn_networks import Network, Outputs, load_networks

SCALE_FACTOR = 0.709
PNET_CELL, PNET_STRIDE = 12, 2
RNET_SIZE, ONET_SIZE = 24, 48
# Overlap above which the weaker of two boxes goes: within a scale, between scales and after R-Net, after O-Net.
NMS_IN_SCALE, NMS_BETWEEN, NMS_FINAL = 0.5, 0.7, 0.7
# Pixels that a network is given at a time: on a CPU what its first layer makes of them, ten numbers each in P-Net and
# thirty in the others, stays in the caches, and all cores are kept busy.
PIXELS_OF_LEVELS = {"cpu": 2**16, "cuda": 2**30}
PIXELS_OF_CROPS = {"cpu": 2**14, "cuda": 2**23}
LANDMARKS = 5


# Boxes (n, 4), scores (n,) and points (n, 5, 2) of a frame's faces, float32, in pixels, unordered.
Found = tuple[np.ndarray, np.ndarray, np.ndarray]


class Mtcnn:
    """All faces of RGB frames: boxes, scores and five landmarks each.

    `thresholds` are those of P-Net, R-Net and O-Net; `min_face` is the smallest face looked for, in pixels; `factor`
    (0-1) is the step from one scale of the image pyramid to the next.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        min_face: int = 20,
        device: str | torch.device = "cpu",
        factor: float = SCALE_FACTOR,
    ):
        self.thresholds = tuple(thresholds)
        self.min_face = min_face
        self.factor = factor
        self.device = torch.device(device)
        self.pnet, self.rnet, self.onet = load_networks(self.device)

    def detect(self, frames: Sequence[np.ndarray], smallest: float = 0) -> list[Found]:
        """The faces of each frame (h, w, 3) uint8.

        The scales of the image pyramid that look for faces under `smallest` pixels are left out.
        """
        return next(self.detect_each([frames], smallest))

    @torch.inference_mode()
    def detect_each(self, batches: Iterable[Sequence[np.ndarray]], smallest: float = 0) -> Iterator[list[Found]]:
        """The same for several batches of frames, those of a batch of one size.

        While the networks are at work on one batch, the next is prepared and what was found in earlier ones looked at.
        """
        running: deque[Iterator[list[Found] | None]] = deque()
        for batch in chain(batches, repeat(None)):
            if batch is None and not running:
                return
            before = list(running)
            if batch is not None:
                running.append(self._steps(batch, smallest))
                next(running[-1])
            for steps in before:
                if (found := next(steps)) is not None:
                    running.popleft()
                    yield found

    def _steps(self, frames: Sequence[np.ndarray], smallest: float) -> Iterator[list[Found] | None]:
        """None whenever a network has been given work, in the end what was found in each frame."""
        height, width = frames[0].shape[:2]
        scales = [s for s in _pyramid(min(height, width), self.min_face, self.factor) if PNET_CELL / s >= smallest]
        levels, areas = averaged(frames, [(int(height * s + 1), int(width * s + 1)) for s in scales], self.device)
        at_once = PIXELS_OF_LEVELS[self.device.type]
        started = [(scale, _started(self.pnet, level, at_once)) for scale, level in zip(scales, levels, strict=True)]
        yield None
        boxes, image_of = self._candidates(started, len(frames))
        boxes, image_of, crops = areas.cropped(boxes, image_of, RNET_SIZE)
        started = _started(self.rnet, crops, PIXELS_OF_CROPS[self.device.type])
        yield None
        boxes, image_of = self._confirmed(_finished(started, crops, (4, 2)), boxes, image_of)
        boxes, image_of, crops = areas.cropped(boxes, image_of, ONET_SIZE)
        started = _started(self.onet, crops, PIXELS_OF_CROPS[self.device.type])
        yield None
        boxes, scores, points, image_of = self._faces(_finished(started, crops, (4, 2 * LANDMARKS, 2)), boxes, image_of)
        keep = _nms_by_smaller_area(boxes, scores, image_of)
        found = [part[keep].cpu().numpy() for part in (boxes, scores, points)]
        image_of = image_of[keep].cpu().numpy()
        yield [tuple(part[image_of == index] for part in found) for index in range(len(frames))]

    def _candidates(self, started: Sequence[tuple[float, list[Outputs]]], frames: int) -> tuple[Tensor, Tensor]:
        """What P-Net takes for a face: boxes (n, 4), made square, and the frame of each."""
        found = []
        for level, (scale, parts) in enumerate(started):
            first = 0
            for outputs in parts:
                images, image, row, column, score, offset = outputs(self._likely)
                cell = PNET_STRIDE * torch.stack([column, row], dim=1)
                corners = [((cell + shift).to(score.dtype) / scale).floor() for shift in (1, PNET_CELL)]
                image += first
                first += images
                found.append((torch.cat(corners, dim=1), score, offset, image, image + level * frames))
        boxes, scores, offsets, image_of, groups = (torch.cat(part) for part in zip(*found, strict=True))
        keep = _nms(boxes, scores, groups, NMS_IN_SCALE)
        boxes, scores, offsets, image_of = boxes[keep], scores[keep], offsets[keep], image_of[keep]
        keep = _nms(boxes, scores, image_of, NMS_BETWEEN)
        boxes, offsets, image_of = boxes[keep], offsets[keep], image_of[keep]
        # P-Net's offsets are shares of the plain side, those of the later networks of the side plus one.
        return _squared(_moved(boxes, offsets, plus=0)), image_of

    def _likely(self, offset: Tensor, probability: Tensor) -> tuple[int | Tensor, ...]:
        """How many images there are, and where P-Net sees faces: image, row, column, probability, offsets (n, 4)."""
        image, row, column = (probability[:, 1] >= self.thresholds[0]).nonzero(as_tuple=True)
        return len(probability), image, row, column, probability[image, 1, row, column], offset[image, :, row, column]

    def _confirmed(self, outputs: Sequence[Tensor], boxes: Tensor, image_of: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates that R-Net confirms, moved and made square."""
        offsets, probability = outputs
        sure = probability[:, 1] > self.thresholds[1]
        boxes, scores, offsets, image_of = boxes[sure], probability[sure, 1], offsets[sure], image_of[sure]
        keep = _nms(boxes, scores, image_of, NMS_BETWEEN)
        return _squared(_moved(boxes[keep], offsets[keep], plus=1)), image_of[keep]

    def _faces(self, outputs: Sequence[Tensor], boxes: Tensor, image_of: Tensor) -> tuple[Tensor, ...]:
        """What O-Net takes for a face: final boxes, scores, points and the frame of each."""
        offsets, points, probability = outputs
        sure = probability[:, 1] > self.thresholds[2]
        boxes, offsets, image_of = boxes[sure], offsets[sure], image_of[sure]
        corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2] + 1
        # O-Net gives all x first, then all y, as shares of the box.
        points = points[sure].view(-1, 2, LANDMARKS).transpose(1, 2) * side + corner - 1
        return _moved(boxes, offsets, plus=1), probability[sure, 1], points, image_of


def _pyramid(shorter_side: int, min_face: int, factor: float) -> list[float]:
    """Scales at which faces from `min_face` pixels up to the shorter side fill P-Net's cell."""
    scales = [PNET_CELL / min_face]
    while shorter_side * scales[-1] * factor >= PNET_CELL:
        scales.append(scales[-1] * factor)
    return scales


def _started(network: Network, x: Tensor, pixels: int) -> list[Outputs]:
    """The network begun on any number of inputs, so many pixels at a time."""
    return [network.start(part) for part in x.split(max(pixels // (x.shape[2] * x.shape[3]), 1)) if len(part)]


def _finished(started: Sequence[Outputs], crops: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The outputs for all crops; `widths` are their columns where there is no crop at all."""
    if not started:
        return [crops.new_zeros(0, width) for width in widths]
    parts = [outputs(lambda *tensors: [tensor.clone() for tensor in tensors]) for outputs in started]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def _moved(boxes: Tensor, offsets: Tensor, plus: int) -> Tensor:
    """Boxes whose corners are moved by shares of their sides (sides counted with `plus` extra pixels)."""
    side = boxes[:, 2:] - boxes[:, :2] + plus
    return boxes + offsets * side.repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """Boxes grown to squares around their centres."""
    side = boxes[:, 2:] - boxes[:, :2]
    longer = side.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + side * 0.5 - longer * 0.5
    return torch.cat([corner, corner + longer], dim=1)


def _nms(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """Indices of boxes to keep, best first: in each group one goes that overlaps too much with a better one.

    It is what `batched_nms` does, which takes twice as long on a CPU.
    """
    if boxes.device.type != "cpu":
        return batched_nms(boxes, scores, groups, overlap)
    members = groups.argsort(stable=True).split(groups.bincount().tolist())
    keep = [own[nms(boxes[own], scores[own], overlap)] for own in members if len(own)]
    keep = torch.cat([groups.new_zeros(0), *keep]).sort().values
    return keep[scores[keep].argsort(descending=True, stable=True)]


def _nms_by_smaller_area(boxes: Tensor, scores: Tensor, image_of: Tensor) -> Tensor:
    """Indices of boxes to keep, best first: one goes where it shares too much of the smaller area with a better one.

    Of equal scores, and those of clear faces are all 1, the last counts as the best, as in facenet-pytorch.
    """
    order = scores.argsort(stable=True).flip(0)
    boxes, image_of = boxes[order], image_of[order]
    area = (boxes[:, 2:] - boxes[:, :2] + 1).prod(dim=1)
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low + 1).clamp(min=0).prod(dim=2) / torch.minimum(area[:, None], area[None])
    rivals = (shared > NMS_FINAL) & (image_of[:, None] == image_of[None])
    beaten = rivals.tril(diagonal=-1).cpu().numpy()
    keep: list[int] = []
    for index in range(len(boxes)):
        if not beaten[index, keep].any():
            keep.append(index)
    return order[keep]
