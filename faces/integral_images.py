"""Parts of frames resized by averaging areas, as MTCNN's networks see them, read from integral images.

A mean over any window is four look-ups, whatever the window's size. What is looked up are four numbers (RGB and
nothing) that pass for one, since what is moved as a whole is moved several times as fast.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Pixels become (pixel - 127.5) / 128.
FACTOR, SHIFT = 0.0078125, 127.5 * 0.0078125
CACHED = 2**18  # bytes that are worked on at a time: what stays in a core's own cache
NARROW = 257  # pixels whose sum fits into 16 bits


class Areas(Protocol):
    """Frames of one size, of which any area can be averaged."""

    def cropped(self, boxes: Tensor, image_of: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The content under each box resized by area to (size, size); boxes with nothing under them go.

        Returns boxes (n, 4), the frame of each and crops (n, 4, size, size) float32, normalised, channels last. Box
        corners count pixels from 1, both ends included.
        """


def averaged(
    frames: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], device: torch.device
) -> tuple[list[Tensor], Areas]:
    """Frames (h, w, 3) uint8 of one size, of 8 million pixels at most, resized by area to each of `sizes`, and what
    crops are made of.

    The former are (n, 4, *size) float32, normalised, channels last; of the four channels three count.
    """
    if device.type != "cpu":
        areas = AreasInPyTorch(frames, device)
        return [areas.resized(*size) for size in sizes], areas
    areas = AreasInNumPy(frames)
    levels = [np.empty((len(frames), *size, 4), np.float32) for size in sizes]
    for image in range(len(frames)):
        areas.resize(image, [level[image] for level in levels])
    return [_channels_first(level) for level in levels], areas


class AreasInNumPy:
    """On a CPU: sums over windows of up to NARROW pixels, which nearly all are, are computed in 16 bits. There a whole
    integral image overflows many times, but the difference of its corners is right all the same.
    """

    def __init__(self, frames: Sequence[np.ndarray]):
        self.frames = frames
        self.height, self.width = frames[0].shape[:2]
        self.narrow = np.empty((len(frames), self.height + 1, self.width + 1), np.int64)  # four uint16 each

    def resize(self, image: int, levels: Sequence[np.ndarray]) -> None:
        """Fill `levels` (h, w, 4) with a frame resized to them; to be done before anything is cropped from it."""
        wide = _integral_image(self.frames[image])
        self.narrow[image].view(np.uint16)[:] = wide.view(np.int32)
        for level in levels:
            height, width = level.shape[:2]
            top, bottom, left, right, shares, kind_of_row, largest = _grid(self.height, self.width, height, width)
            sums, kind = (self.narrow[image], np.uint16) if largest <= NARROW else (wide, np.int32)
            step = max(CACHED // (sums.itemsize * sums.shape[1]), 1)
            for begin in range(0, height, step):
                part = slice(begin, begin + step)
                rows = _differences(sums, bottom[part], top[part], 0, kind)
                windows = _differences(rows, right, left, 1, kind).view(kind)
                _normalize(windows, shares.take(kind_of_row[part], 0), level[part].reshape(-1, 4 * width))

    @cached_property
    def wide(self) -> np.ndarray:
        """What `narrow` is, four int32 each."""
        return np.stack([_integral_image(frame) for frame in self.frames])

    def cropped(self, boxes: Tensor, image_of: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        left, top, right, bottom = boxes.numpy().astype(np.int64).T
        left, top = np.maximum(left, 1) - 1, np.maximum(top, 1) - 1
        right, bottom = np.minimum(right, self.width), np.minimum(bottom, self.height)
        seen = (right > left) & (bottom > top)
        left, top, right, bottom = (side[seen, None] for side in (left, top, right, bottom))
        boxes, image_of = boxes[torch.from_numpy(seen)], image_of[torch.from_numpy(seen)]
        first_row, row_after = _windows(bottom - top, size)
        first_column, column_after = _windows(right - left, size)
        heights, widths = row_after - first_row, column_after - first_column
        rows = np.concatenate([row_after, first_row], axis=1) + top + image_of.numpy()[:, None] * (self.height + 1)
        positions = rows * (self.width + 1), np.concatenate([column_after, first_column], axis=1) + left

        crops = np.empty((len(boxes), size, 4 * size), np.float32)
        fits = heights.max(axis=1) * widths.max(axis=1) <= NARROW
        for kind, chosen in ((np.uint16, fits.nonzero()[0]), (np.int32, (~fits).nonzero()[0])):
            step = max(CACHED // (2 * 16 * size**2), 1)
            for begin in range(0, len(chosen), step):
                part = chosen[begin : begin + step]
                sums = self.narrow if kind is np.uint16 else self.wide
                corners = sums.ravel().take(positions[0][part, :, None] + positions[1][part, None, :])
                corners = corners.view(kind)
                between = corners[:, :size] - corners[:, size:]
                windows = between[:, :, : 4 * size] - between[:, :, 4 * size :]
                crops[part] = _normalize(windows, _shares(heights[part], widths[part]))
        return boxes, image_of, _channels_first(crops.reshape(-1, size, size, 4))


def _integral_image(frame: np.ndarray) -> np.ndarray:
    """Sums over all pixels above and left of each corner: (h + 1, w + 1), four int32 that pass for a complex number."""
    return cv2.integral(cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA), sdepth=cv2.CV_32S).view(np.complex128)[..., 0]


def _differences(sums: np.ndarray, ends: np.ndarray, begins: np.ndarray, axis: int, kind: type) -> np.ndarray:
    taken = sums.take(ends, axis)
    difference = taken.view(kind)
    difference -= sums.take(begins, axis).view(kind)
    return taken


def _normalize(windows: np.ndarray, shares: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Sums over windows, multiplied with shares and shifted."""
    out = np.multiply(windows, shares, out=out, dtype=np.float32, casting="same_kind")
    out -= np.float32(SHIFT)
    return out


def _channels_first(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).permute(0, 3, 1, 2)


def _windows(length: np.ndarray | int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Where area resizing from `length` (k, 1) or a number to `cells` averages: first and last plus one, (k, cells)."""
    index = np.arange(cells)
    return index * length // cells, ((index + 1) * length + cells - 1) // cells


def _shares(heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """What sums over windows are multiplied with to be scaled means: (..., rows, 4 * columns) float32.

    Once for each of the four numbers, since short loops over these would take longer than all the rest.
    """
    widths = widths.astype(np.float32).repeat(4, axis=-1)
    areas = heights.astype(np.float32)[..., :, None] * widths[..., None, :]
    return np.divide(np.float32(FACTOR), areas, out=areas)


@lru_cache(maxsize=64)  # the levels of a few videos' pyramids
def _grid(height: int, width: int, rows: int, columns: int) -> tuple:
    """How frames of (height, width) are resized to (rows, columns): the windows' edges; for each height of a window the
    shares; which of these is a row's; the pixels of the largest window.
    """
    top, bottom = _windows(height, rows)
    left, right = _windows(width, columns)
    heights, kind_of_row = np.unique(bottom - top, return_inverse=True)
    shares = _shares(heights, right - left)
    return top, bottom, left, right, shares, kind_of_row, int(heights.max() * (right - left).max())


class AreasInPyTorch:
    """On a GPU: four int32 pass for one complex number."""

    def __init__(self, frames: Sequence[np.ndarray], device: torch.device):
        self.height, self.width = frames[0].shape[:2]
        pixels = functional.pad(torch.from_numpy(np.stack(frames)).to(device), (0, 1))
        sums = pixels.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
        self.sums = functional.pad(sums, (0, 0, 1, 0, 1, 0)).view(torch.complex128)[..., 0]

    def resized(self, height: int, width: int) -> Tensor:
        top, bottom, left, right, shares = _grid_in_pytorch(
            self.height, self.width, height, width, device=self.sums.device
        )
        rows = _minus(self.sums.index_select(1, bottom), self.sums.index_select(1, top))
        return _normalized(_minus(rows.index_select(2, right), rows.index_select(2, left)), shares)

    def cropped(self, boxes: Tensor, image_of: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        left, top, right, bottom = boxes.trunc().long().unbind(1)
        left, top = left.clamp(min=1) - 1, top.clamp(min=1) - 1
        right, bottom = right.clamp(max=self.width), bottom.clamp(max=self.height)
        seen = (right > left) & (bottom > top)
        boxes, image_of = boxes[seen], image_of[seen]
        left, top, right, bottom = (side[seen, None] for side in (left, top, right, bottom))
        row0, row1 = (top + rows for rows in _windows_in_pytorch(bottom - top, size, self.sums.device))
        column0, column1 = (left + columns for columns in _windows_in_pytorch(right - left, size, self.sums.device))

        flat, stride = self.sums.flatten(), self.width + 1
        first = (image_of * (self.height + 1) * stride)[:, None, None]

        def corner(rows: Tensor, columns: Tensor) -> Tensor:
            positions = first + rows[:, :, None] * stride + columns[:, None, :]
            return flat.index_select(0, positions.flatten()).view(positions.shape)

        upper = _minus(corner(row0, column1), corner(row0, column0))
        content = _minus(_minus(corner(row1, column1), corner(row1, column0)), upper)
        return boxes, image_of, _normalized(content, _shares_in_pytorch(row1 - row0, column1 - column0))


def _minus(one: Tensor, other: Tensor) -> Tensor:
    return (one.view(torch.int32) - other.view(torch.int32)).view(torch.complex128)


def _windows_in_pytorch(length: Tensor | int, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
    index = torch.arange(cells, device=device)
    return index * length // cells, ((index + 1) * length + cells - 1) // cells


def _shares_in_pytorch(rows: Tensor, columns: Tensor) -> Tensor:
    return FACTOR / (rows[..., :, None] * columns[..., None, :])[..., None]


def _normalized(sums: Tensor, shares: Tensor) -> Tensor:
    values = sums[..., None].view(torch.int32) * shares
    return values.sub_(SHIFT).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _grid_in_pytorch(height: int, width: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, ...]:
    top, bottom = _windows_in_pytorch(height, rows, device)
    left, right = _windows_in_pytorch(width, columns, device)
    return top, bottom, left, right, _shares_in_pytorch(bottom - top, right - left)
