"""Frame classifiers: a timm encoder, pooling, dropout and one logit (above 0: fake)."""

from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn

# Published names and drop path rates. timm names the same networks without the suffix of their pretrained weights.
ENCODERS: dict[str, tuple[str, float]] = {
    "tf_efficientnet_b2_ns": ("tf_efficientnet_b2", 0.2),
    "tf_efficientnet_b3_ns": ("tf_efficientnet_b3", 0.2),
    "tf_efficientnet_b4_ns": ("tf_efficientnet_b4", 0.5),
    "tf_efficientnet_b5_ns": ("tf_efficientnet_b5", 0.2),
    "tf_efficientnet_b6_ns": ("tf_efficientnet_b6", 0.2),
    "tf_efficientnet_b7_ns": ("tf_efficientnet_b7", 0.2),
    "tf_efficientnet_b4_ns_03d": ("tf_efficientnet_b4", 0.3),
    "tf_efficientnet_b5_ns_03d": ("tf_efficientnet_b5", 0.3),
    "tf_efficientnet_b5_ns_04d": ("tf_efficientnet_b5", 0.4),
    "tf_efficientnet_b6_ns_04d": ("tf_efficientnet_b6", 0.4),
}

# Three of the noise residual filters of Zhou et al., "Learning Rich Features for Image Manipulation Detection" (2018).
SRM_KERNELS: tuple[tuple[float, list[list[float]]], ...] = (
    (2, [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]),
    (4, [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]),
    (12, [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]),
)


def create_encoder(name: str) -> nn.Module:
    """A timm network with random weights: a published name (`ENCODERS`) or any of timm's own. Asks no hub.

    Raises ValueError if neither knows the name.
    """
    if name in ENCODERS:
        timm_name, drop_path_rate = ENCODERS[name]
        return timm.create_model(timm_name, pretrained=False, drop_path_rate=drop_path_rate)
    if not timm.is_model(name):
        raise ValueError(f"unknown encoder {name!r}: neither one of {', '.join(ENCODERS)} nor a timm model")
    return timm.create_model(name, pretrained=False)


class GlobalWeightedAvgPool2d(nn.Module):
    """Average over space with learned weights exp(sigmoid(1x1 convolution)): (n, c, h, w) to (n, c, 1, 1)."""

    def __init__(self, features: int):
        super().__init__()
        self.conv = nn.Conv2d(features, 1, kernel_size=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.exp(torch.sigmoid(self.conv(x)))
        return (x * weights).sum(dim=(2, 3), keepdim=True) / weights.sum(dim=(2, 3), keepdim=True)


class DeepFakeClassifier(nn.Module):
    """The winning solution's network: (n, 3, h, w) normalised RGB to (n, 1) logits, above 0 for fake."""

    def __init__(self, encoder: str, dropout_rate: float = 0.0):
        super().__init__()
        self.encoder = create_encoder(encoder)
        self.avg_pool = self._pool(self.encoder.num_features)
        self.dropout = nn.Dropout(dropout_rate)
        self.fc = nn.Linear(self.encoder.num_features, 1)

    def _pool(self, features: int) -> nn.Module:
        return nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder.forward_features(x)
        if x.ndim == 4 and x.shape[1] == self.fc.in_features:
            x = self.avg_pool(x).flatten(1)
        else:  # transformers give tokens or channels last, and know how to pool them
            x = self.encoder.forward_head(x, pre_logits=True)
        return self.fc(self.dropout(x))


class DeepFakeClassifierGWAP(DeepFakeClassifier):
    """The variant that pools with learned weights."""

    def __init__(self, encoder: str, dropout_rate: float = 0.5):
        super().__init__(encoder, dropout_rate)

    def _pool(self, features: int) -> nn.Module:
        return GlobalWeightedAvgPool2d(features)


class DeepFakeClassifierSRM(DeepFakeClassifier):
    """The variant whose encoder sees three fixed noise residuals instead of the picture."""

    def __init__(self, encoder: str, dropout_rate: float = 0.5):
        super().__init__(encoder, dropout_rate)
        self.srm_conv = srm_convolution(input_channels=3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.srm_conv(x))


def srm_convolution(input_channels: int) -> nn.Conv2d:
    """A frozen 5x5 convolution to three noise residuals, each kernel repeated over the input channels."""
    kernels = torch.stack([torch.tensor(values, dtype=torch.float32) / divisor for divisor, values in SRM_KERNELS])
    conv = nn.Conv2d(input_channels, len(SRM_KERNELS), kernel_size=5, padding=2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(kernels[:, None].expand_as(conv.weight))
    return conv.requires_grad_(False)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    network.__name__: network for network in (DeepFakeClassifier, DeepFakeClassifierSRM, DeepFakeClassifierGWAP)
}


def create_network(network: str, encoder: str) -> nn.Module:
    """A network of `NETWORKS` on `encoder`, randomly initialised. Raises ValueError on an unknown name."""
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}: one of {', '.join(NETWORKS)}")
    return NETWORKS[network](encoder)
