"""3-D ResNets with type-A shortcuts: no weights where a block shortens its input (Hara et al., 2018)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

# Per stage: channels, stride of the first block along all three axes.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


class BasicBlock3d(nn.Module):
    """Two 3x3x3 convolutions and a type-A shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        add_type_a_shortcut(y, x, self.stride)
        return F.relu(y, inplace=True)


def add_type_a_shortcut(y: Tensor, x: Tensor, stride: int) -> None:
    """Add `x` to `y` in place, as if averaged with kernel 1 at `stride` and filled up with channels of zeros.

    Such an average picks every `stride`-th value, and zeros change nothing, so neither is made.
    """
    y[:, : x.shape[1]] += x[:, :, ::stride, ::stride, ::stride]


class ResNet3d(nn.Module):
    """(n, 3, t, h, w) floats to (n, num_classes) logits, any size; `blocks` says how many each of the stages has."""

    def __init__(self, blocks: Sequence[int], num_classes: int = 2):
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, kernel_size=7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool = nn.MaxPool3d(kernel_size=3, stride=2, padding=1)
        in_channels = 64
        for number, (count, (channels, stride)) in enumerate(zip(blocks, STAGES, strict=True), start=1):
            first = BasicBlock3d(in_channels, channels, stride)
            stage = nn.Sequential(first, *(BasicBlock3d(channels, channels, 1) for _ in range(count - 1)))
            self.add_module(f"layer{number}", stage)
            in_channels = channels
        self.fc = nn.Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3, 4)))


class ResNet34_3D(ResNet3d):
    """34 layers, for clips of 32x224x224 in raw RGB from 0 to 255."""

    def __init__(self, num_classes: int = 2):
        super().__init__((3, 4, 6, 3), num_classes)


class ResNet10_3D(ResNet3d):
    """10 layers, one block a stage: quick enough to train on a CPU."""

    def __init__(self, num_classes: int = 2):
        super().__init__((1, 1, 1, 1), num_classes)
