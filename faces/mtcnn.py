"""MTCNN (Zhang et al., 2016) over a batch of frames, on facenet-pytorch's networks and weights.

The three networks are facenet-pytorch's; the way from frames to boxes is written for one frame or many at once. What
costs most elsewhere is resizing by area, once per scale and once per candidate box. Here every resize reads one
integral image per frame: a mean over any window is four look-ups, whatever the window's size.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms

from faces.mtcnn_networks import Network, Outputs, load_networks

SCALE_FACTOR = 0.709
PNET_CELL, PNET_STRIDE = 12, 2
RNET_SIZE, ONET_SIZE = 24, 48
# Overlap above which the weaker of two boxes goes: within a scale, between scales and after R-Net, after O-Net.
NMS_IN_SCALE, NMS_BETWEEN, NMS_FINAL = 0.5, 0.7, 0.7
CROPS_PER_BATCH = {"cpu": 64, "cuda": 4096}  # on a CPU what stays in the caches, and keeps several cores busy
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
        sums = _integral_images(frames, self.device)
        started = self._start_pnet(sums, smallest)
        yield None
        boxes, image_of = self._candidates(started, len(frames))
        boxes, image_of, crops = _cropped(sums, boxes, image_of, RNET_SIZE)
        started = _started(self.rnet, crops)
        yield None
        boxes, image_of = self._confirmed(_finished(started, crops, (4, 2)), boxes, image_of)
        boxes, image_of, crops = _cropped(sums, boxes, image_of, ONET_SIZE)
        started = _started(self.onet, crops)
        yield None
        boxes, scores, points, image_of = self._faces(_finished(started, crops, (4, 2 * LANDMARKS, 2)), boxes, image_of)
        keep = _nms_by_smaller_area(boxes, scores, image_of)
        found = [part[keep].cpu().numpy() for part in (boxes, scores, points)]
        image_of = image_of[keep].cpu().numpy()
        yield [tuple(part[image_of == index] for part in found) for index in range(len(frames))]

    def _start_pnet(self, sums: Tensor, smallest: float) -> list[tuple[float, Outputs]]:
        """P-Net begun on the levels of the image pyramid, by their scales."""
        height, width = sums.shape[1] - 1, sums.shape[2] - 1
        scales = _pyramid(min(height, width), self.min_face, self.factor)
        return [
            (scale, self.pnet.start(_resized(sums, int(height * scale + 1), int(width * scale + 1))))
            for scale in scales
            if PNET_CELL / scale >= smallest
        ]

    def _candidates(self, started: Sequence[tuple[float, Outputs]], frames: int) -> tuple[Tensor, Tensor]:
        """What P-Net takes for a face: boxes (n, 4), made square, and the frame of each."""
        found = []
        for level, (scale, outputs) in enumerate(started):
            offset, probability = outputs()
            image, row, column = (probability[:, 1] >= self.thresholds[0]).nonzero(as_tuple=True)
            score = probability[image, 1, row, column]
            cell = PNET_STRIDE * torch.stack([column, row], dim=1)
            corners = [((cell + shift).to(score.dtype) / scale).floor() for shift in (1, PNET_CELL)]
            group = image + level * frames
            found.append((torch.cat(corners, dim=1), score, offset[image, :, row, column], image, group))
        boxes, scores, offsets, image_of, groups = (torch.cat(part) for part in zip(*found, strict=True))
        keep = batched_nms(boxes, scores, groups, NMS_IN_SCALE)
        boxes, scores, offsets, image_of = boxes[keep], scores[keep], offsets[keep], image_of[keep]
        keep = batched_nms(boxes, scores, image_of, NMS_BETWEEN)
        boxes, offsets, image_of = boxes[keep], offsets[keep], image_of[keep]
        # P-Net's offsets are shares of the plain side, those of the later networks of the side plus one.
        return _squared(_moved(boxes, offsets, plus=0)), image_of

    def _confirmed(self, outputs: Sequence[Tensor], boxes: Tensor, image_of: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates that R-Net confirms, moved and made square."""
        offsets, probability = outputs
        sure = probability[:, 1] > self.thresholds[1]
        boxes, scores, offsets, image_of = boxes[sure], probability[sure, 1], offsets[sure], image_of[sure]
        keep = batched_nms(boxes, scores, image_of, NMS_BETWEEN)
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


def _integral_images(frames: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Sums over all pixels above and left of each corner: (n, h + 1, w + 1), exact up to 8 million pixels.

    Each element is four int32 (RGB and nothing) that pass for one complex number, since what is moved as a whole, and
    has 16 bytes, is moved three times as fast.
    """
    if device.type == "cpu":
        four = [cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA) for frame in frames]
        sums = torch.from_numpy(np.stack([cv2.integral(frame, sdepth=cv2.CV_32S) for frame in four]))
    else:
        pixels = functional.pad(torch.from_numpy(np.stack(frames)).to(device), (0, 1))
        sums = pixels.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
        sums = functional.pad(sums, (0, 0, 1, 0, 1, 0))
    return sums.view(torch.complex128)[..., 0]


def _taken(sums: Tensor, dim: int, index: Tensor) -> Tensor:
    if sums.device.type == "cpu":  # NumPy is three times as fast
        return torch.from_numpy(sums.numpy().take(index.numpy(), dim))
    return sums.index_select(dim, index)


def _minus(one: Tensor, other: Tensor) -> Tensor:
    return (one.view(torch.int32) - other.view(torch.int32)).view(torch.complex128)


def _windows(length: Tensor | int, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where area resizing from `length` (k, 1) or a number to `cells` averages: first and last plus one, (k, cells)."""
    index = torch.arange(cells, device=device)
    return index * length // cells, ((index + 1) * length + cells - 1) // cells


def _shares(rows: Tensor, columns: Tensor) -> Tensor:
    """What a sum over windows of `rows` by `columns` pixels is multiplied with to be a normalised mean."""
    return 0.0078125 / (rows[..., :, None] * columns[..., None, :])[..., None]


def _normalized(sums: Tensor, shares: Tensor) -> Tensor:
    """Window sums (n, rows, columns) as the networks' input (n, 4, rows, columns), (pixel - 127.5) / 128."""
    values = sums[..., None].view(torch.int32) * shares
    return values.sub_(127.5 * 0.0078125).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)  # the levels of a few videos' pyramids
def _grid(height: int, width: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, ...]:
    """Windows and shares with which frames of (height, width) are resized to (rows, columns)."""
    top, bottom = _windows(height, rows, device)
    left, right = _windows(width, columns, device)
    return top, bottom, left, right, _shares(bottom - top, right - left)


def _resized(sums: Tensor, height: int, width: int) -> Tensor:
    """All frames resized by area to (height, width): (n, 4, height, width) float32, normalised, channels last."""
    top, bottom, left, right, shares = _grid(sums.shape[1] - 1, sums.shape[2] - 1, height, width, sums.device)
    rows = _minus(_taken(sums, 1, bottom), _taken(sums, 1, top))
    return _normalized(_minus(_taken(rows, 2, right), _taken(rows, 2, left)), shares)


def _cropped(sums: Tensor, boxes: Tensor, image_of: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The frames' content under each box resized by area to (size, size); boxes with nothing under them go."""
    height, width = sums.shape[1] - 1, sums.shape[2] - 1
    left, top, right, bottom = boxes.trunc().long().unbind(1)
    # Box corners count pixels from 1, both ends included.
    left, top = left.clamp(min=1) - 1, top.clamp(min=1) - 1
    right, bottom = right.clamp(max=width), bottom.clamp(max=height)
    seen = (right > left) & (bottom > top)
    boxes, image_of = boxes[seen], image_of[seen]
    left, top, right, bottom = (side[seen, None] for side in (left, top, right, bottom))
    row0, row1 = (top + rows for rows in _windows(bottom - top, size, sums.device))
    column0, column1 = (left + columns for columns in _windows(right - left, size, sums.device))

    flat, stride = sums.flatten(), width + 1
    first = (image_of * (height + 1) * stride)[:, None, None]

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        positions = first + rows[:, :, None] * stride + columns[:, None, :]
        return _taken(flat, 0, positions.flatten()).view(positions.shape)

    upper = _minus(corner(row0, column1), corner(row0, column0))
    content = _minus(_minus(corner(row1, column1), corner(row1, column0)), upper)
    return boxes, image_of, _normalized(content, _shares(row1 - row0, column1 - column0))


def _started(network: Network, crops: Tensor) -> list[Outputs]:
    """The network begun on any number of crops, in parts."""
    return [network.start(part) for part in crops.split(CROPS_PER_BATCH[crops.device.type]) if len(part)]


def _finished(started: Sequence[Outputs], crops: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The outputs for all crops; `widths` are their columns where there is no crop at all."""
    if not started:
        return [crops.new_zeros(0, width) for width in widths]
    return [torch.cat(parts) for parts in zip(*(outputs() for outputs in started), strict=True)]


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


def _nms_by_smaller_area(boxes: Tensor, scores: Tensor, image_of: Tensor) -> Tensor:
    """Indices of boxes to keep, best first: one goes where it shares too much of the smaller area with a better one."""
    order = scores.argsort(descending=True)
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
