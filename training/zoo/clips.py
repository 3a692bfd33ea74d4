"""The networks of the clip system (5th place, "The Medics") by name, and their form for inference.

They look at a clip: (n, 3, t, h, w) to (n, 2) logits, class 0 FAKE and class 1 REAL. The system's SE-ResNeXt50, which
looks at single frames, is a DeepFakeClassifier with that encoder.
"""

import copy
from collections.abc import Callable
from functools import partial

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.video import mc3_18, r2plus1d_18

from training.zoo.i3d import I3D
from training.zoo.resnet3d import ResNet10_3D, ResNet34_3D

CLASSES = ("FAKE", "REAL")

CLIP_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "I3D": partial(I3D, num_classes=len(CLASSES)),
    "ResNet10_3D": partial(ResNet10_3D, num_classes=len(CLASSES)),
    "ResNet34_3D": partial(ResNet34_3D, num_classes=len(CLASSES)),
    "mc3_18": partial(mc3_18, weights=None, num_classes=len(CLASSES)),
    "r2plus1d_18": partial(r2plus1d_18, weights=None, num_classes=len(CLASSES)),
}

# Weights to start training from, as torchvision names them. The others start from a file, or from chance.
TORCHVISION_WEIGHTS: dict[str, str] = {
    "mc3_18": "MC3_18_Weights.KINETICS400_V1",
    "r2plus1d_18": "R2Plus1D_18_Weights.KINETICS400_V1",
}


def create_clip_network(name: str) -> nn.Module:
    """A network of `CLIP_NETWORKS`, randomly initialised: nothing is downloaded.

    Raises ValueError on an unknown name.
    """
    if name not in CLIP_NETWORKS:
        raise ValueError(f"unknown clip network {name!r}: one of {', '.join(CLIP_NETWORKS)}")
    return CLIP_NETWORKS[name]()


def fold_batchnorms(network: nn.Module) -> nn.Module:
    """A copy in eval mode, without gradients, whose convolutions do the work of the batch norms after them.

    For networks that register each batch norm right after its convolution, as all of this file do. Fold before
    casting to a lower precision. On a CPU all of them are faster with weights in the memory format channels last.
    Raises ValueError on a batch norm that has no convolution right before it.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    leaves = [(name, module) for name, module in folded.named_modules() if not any(module.children())]
    for (conv_name, conv), (bn_name, bn) in zip([("", None), *leaves], leaves, strict=False):
        if not isinstance(bn, nn.BatchNorm3d):
            continue
        if not isinstance(conv, nn.Conv3d) or conv.out_channels != bn.num_features:
            raise ValueError(f"cannot fold {bn_name}: no convolution to {bn.num_features} channels right before it")
        folded.set_submodule(conv_name, fuse_conv_bn_eval(conv, bn))
        folded.set_submodule(bn_name, nn.Identity())
    return folded
