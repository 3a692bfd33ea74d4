"""I3D: Inception-v1 with every kernel inflated to three dimensions (Carreira and Zisserman, 2017).

Module names are those of the public PyTorch weights, so that their state dicts load.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels of a block's branches: 1x1x1 | 1x1x1, then 3x3x3 | 1x1x1, then 3x3x3 | max pooling, then 1x1x1.
MIXED_3: dict[str, tuple[int, ...]] = {"b": (64, 96, 128, 16, 32, 32), "c": (128, 128, 192, 32, 96, 64)}
MIXED_4: dict[str, tuple[int, ...]] = {
    "b": (192, 96, 208, 16, 48, 64),
    "c": (160, 112, 224, 24, 64, 64),
    "d": (128, 128, 256, 24, 64, 64),
    "e": (112, 144, 288, 32, 64, 64),
    "f": (256, 160, 320, 32, 128, 128),
}
MIXED_5: dict[str, tuple[int, ...]] = {"b": (256, 160, 320, 32, 128, 128), "c": (384, 192, 384, 48, 128, 128)}

# The convolutions shorten a clip 8 times and a side 32 times, rounding up; the last pooling needs 2x7x7 of that.
FINAL_POOL = (2, 7, 7)
MIN_FRAMES = 8 * (FINAL_POOL[0] - 1) + 1
MIN_SIDE = 32 * (FINAL_POOL[1] - 1) + 1


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Zeros that TensorFlow's "same" adds along an axis: half of them in front, an odd one at the end.

    After them the windows end exactly at the border, and there are ceil(size / stride) of them. For kernel >= stride.
    """
    windows = -(-size // stride)
    return (windows - 1) * stride + kernel - size


class SameConv3d(nn.Conv3d):
    """A convolution with "same" padding: by the convolution where both ends get equally many zeros, by a copy else."""

    def forward(self, x: Tensor) -> Tensor:
        axes = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        totals = [same_padding(*axis) for axis in axes]
        if any(total % 2 for total in totals):
            x = F.pad(x, [zeros for total in reversed(totals) for zeros in (0, total % 2)])
        return F.conv3d(x, self.weight, self.bias, self.stride, [total // 2 for total in totals])


class SameMaxPool3d(nn.Module):
    """Max pooling with "same" padding of an input without negative values: there zeros never win a window.

    So nothing is padded: `ceil_mode` lets the last window reach over the end where an odd zero would stand.
    """

    def __init__(self, kernel_size: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        axes = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        padding = [same_padding(*axis) // 2 for axis in axes]
        if x.device.type == "cpu":  # PyTorch pools several times as fast there with channels last, copy included
            x = x.contiguous(memory_format=torch.channels_last_3d)
        return F.max_pool3d(x, self.kernel_size, self.stride, padding, ceil_mode=True)


class Unit3d(nn.Module):
    """Convolution, batch norm with the eps and momentum of the public weights, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1):
        super().__init__()
        self.conv3d = SameConv3d(in_channels, out_channels, kernel_size, stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(x)), inplace=True)


class Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, in_channels: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int):
        super().__init__()
        self.b0 = Unit3d(in_channels, b0)
        self.b1a = Unit3d(in_channels, b1a)
        self.b1b = Unit3d(b1a, b1b, kernel_size=3)
        self.b2a = Unit3d(in_channels, b2a)
        self.b2b = Unit3d(b2a, b2b, kernel_size=3)
        self.b3a = SameMaxPool3d((3, 3, 3), stride=(1, 1, 1))
        self.b3b = Unit3d(in_channels, b3b)
        self.out_channels = b0 + b1b + b2b + b3b

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class I3D(nn.Module):
    """(n, 3, t, h, w) floats, RGB from -1 to 1, to (n, num_classes) logits: the mean over time (and space, if larger).

    Made for 32 or 64 frames of 224x224. Raises ValueError on less than 9 frames or 193 pixels a side, which leave
    nothing to pool.
    """

    def __init__(self, num_classes: int = 2, dropout: float = 0.5):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3d(3, 64, kernel_size=7, stride=2)
        self.MaxPool3d_2a_3x3 = SameMaxPool3d((1, 3, 3), stride=(1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3d(64, 64)
        self.Conv3d_2c_3x3 = Unit3d(64, 192, kernel_size=3)
        self.MaxPool3d_3a_3x3 = SameMaxPool3d((1, 3, 3), stride=(1, 2, 2))
        channels = self._add_mixed("Mixed_3", 192, MIXED_3)
        self.MaxPool3d_4a_3x3 = SameMaxPool3d((3, 3, 3), stride=(2, 2, 2))
        channels = self._add_mixed("Mixed_4", channels, MIXED_4)
        self.MaxPool3d_5a_2x2 = SameMaxPool3d((2, 2, 2), stride=(2, 2, 2))
        channels = self._add_mixed("Mixed_5", channels, MIXED_5)
        self.avg_pool = nn.AvgPool3d(FINAL_POOL, stride=1)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(channels, num_classes, kernel_size=1)))

    def _add_mixed(self, prefix: str, channels: int, blocks: dict[str, tuple[int, ...]]) -> int:
        """Add the blocks, one on the other; returns the channels of the last."""
        for letter, branches in blocks.items():
            block = Mixed(channels, *branches)
            self.add_module(prefix + letter, block)
            channels = block.out_channels
        return channels

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5 or x.shape[1] != 3 or x.shape[2] < MIN_FRAMES or min(x.shape[3:]) < MIN_SIDE:
            raise ValueError(
                f"I3D takes clips (n, 3, t, h, w) of at least {MIN_FRAMES} frames of {MIN_SIDE}x{MIN_SIDE} pixels, "
                f"not {tuple(x.shape)}"
            )
        for layer in self.children():  # they are registered in their order
            x = layer(x)
        return x.mean(dim=(2, 3, 4))
