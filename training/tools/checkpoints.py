"""Checkpoint files: written whole or not at all, loaded strictly, never unpickled as code."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from common.errors import UserError, one_line
from common.files import replacing, sha256_of
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of

# The released files may hold NumPy scalars (bce_best), pickled under the module names of NumPy 1 or 2.
_scalar = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
]
MOST_KEYS_SHOWN = 3


class CheckpointError(UserError):
    """A checkpoint file that is refused; the message names the file and the reason."""


@dataclass
class Checkpoint:
    """A loaded classifier in eval mode with what its file says about it."""

    name: str
    network: nn.Module
    config: NetworkConfig
    epoch: int | None
    bce_best: float | None
    sha256: str

    def describe(self) -> str:
        """One line: name, encoder, epoch, beginning of the file's SHA-256."""
        epoch = "unknown epochs" if self.epoch is None else f"{self.epoch} epochs"
        return f"loaded {self.name}: {self.config.description}, {epoch}, sha256 {self.sha256[:12]}"


def save_checkpoint(
    path: str | Path,
    network: nn.Module,
    config: NetworkConfig,
    epoch: int = 0,
    bce_best: float = 100.0,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint that `load_checkpoint` can read back without being told the network.

    `training` is what a run needs to go on from here (tensors, numbers, strings and containers of them). Raises OSError
    if the disk is full or fails; what stood under `path` before is then still there.
    """
    content = {
        "state_dict": network.state_dict(),
        "epoch": epoch,
        "bce_best": bce_best,
        "config": config.model_dump(mode="json"),
    }
    if training is not None:
        content["training"] = dict(training)
    with replacing(path) as temporary, temporary.open("wb") as file:
        _save(content, file)


def _save(content: Mapping[str, Any], file: BinaryIO) -> None:
    """torch.save, which turns a full disk into an error about positions, and here into what it is."""
    watched = _Watched(file)
    try:
        torch.save(content, watched)
    except RuntimeError as error:
        raise (watched.error or error) from error


class _Watched:
    """A file that remembers why a write failed."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = OSError(error.errno, error.strerror, self.file.name)
            raise

    def flush(self) -> None:
        self.file.flush()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a released checkpoint or one of our own, on the CPU, every key and shape matching.

    A file without a config is taken for one of the seven released ones (DeepFakeClassifier, b7).
    Raises CheckpointError if the file is missing, truncated, carries code or does not fit its network.
    """
    path = Path(path)
    content = read_checkpoint(path)
    config = _config_of(content, path)
    with ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(sha256_of, path)
        network = _network_of(content, config, path).eval()
    return Checkpoint(
        name=path.name,
        network=network,
        config=config,
        epoch=number_of(content, "epoch", int),
        bce_best=number_of(content, "bce_best", float),
        sha256=sha256.result(),
    )


def _network_of(content: Mapping, config: NetworkConfig, path: Path) -> nn.Module:
    """The network of `config` whose weights are the file's own pages: nothing is drawn, nothing is copied."""
    try:
        network = deepcopy(_without_weights(config.model_dump_json()))
        load_weights(network, content, path, config.description, assign=True)
        if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
            # What no checkpoint holds must be made.
            network = network_of(config)
            load_weights(network, content, path, config.description)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return network.float()


@lru_cache(1)  # the members of an ensemble are mostly of one kind, and copying is several times as fast as making
def _without_weights(config: str) -> nn.Module:
    """The network of a configuration (JSON), its tensors nowhere."""
    with torch.device("meta"):
        return network_of(NetworkConfig.model_validate_json(config))


def load_weights(network: nn.Module, content: Mapping, path: Path, what: str, assign: bool = False) -> None:
    """Load the content's `state_dict` strictly into `network`, which `what` describes; `assign`: in place of its own
    tensors, not into them. Raises CheckpointError.
    """
    state_dict = _state_dict_of(content, path)
    differences = _differences(network.state_dict(), state_dict)
    if differences:
        raise CheckpointError(f"{path}: does not fit {what}: {'; '.join(differences)}")
    network.load_state_dict(state_dict, strict=True, assign=assign)


def read_checkpoint(path: Path) -> Mapping:
    """The file's dictionary, tensors on the CPU, nothing in it executed. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        zipped = zipfile.is_zipfile(path)
    except zipfile.BadZipFile as error:  # a damaged end can look like one of several disks
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    if zipped:
        _refuse_bombs(path)
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            # Read where it is looked at; files of old versions of PyTorch cannot be.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be opened: {error.strerror}") from error
    except Exception as error:  # torch raises half a dozen types here; the reason always goes into the message
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a checkpoint dictionary")
    return content


def _refuse_bombs(path: Path) -> None:
    """PyTorch stores what it writes as it is: a file that holds more than its own size was made to fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    if content > path.stat().st_size:
        raise CheckpointError(f"{path}: refused, it unpacks to {content} bytes, more than it has")


def _refusal(error: Exception) -> str:
    """Why torch would not load a file, in a line."""
    code = re.search(r"(?:GLOBAL|global|class|function)\s+['`]?([\w.]+\.[\w.]+)", str(error))
    if "unsupported" in str(error).lower() and code:
        return f"refused, it carries code or objects beyond tensors and numbers ({code.group(1)})"
    if isinstance(error, pickle.UnpicklingError):  # whose text is about PyTorch's options
        return "is truncated or not a checkpoint"
    reason = shorten(one_line(error), 120, placeholder=" ...")
    return f"is truncated or not a checkpoint ({type(error).__name__}: {reason})"


def _config_of(content: Mapping, path: Path) -> NetworkConfig:
    config = content.get("config", {})
    try:
        return NetworkConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "config"
        raise CheckpointError(f"{path}: its config is not valid: {field}: {first['msg']}") from error


def _state_dict_of(content: Mapping, path: Path) -> dict[str, Tensor]:
    """The weights without the `module.` that distributed training puts before each name."""
    state_dict = content.get("state_dict")
    if isinstance(state_dict, Mapping) and not state_dict:
        raise CheckpointError(f"{path}: its state_dict is empty")
    if not isinstance(state_dict, Mapping):
        raise CheckpointError(
            f"{path}: has no state_dict (it holds {', '.join(map(str, islice(content, 5))) or 'nothing'})"
        )
    wrong = next((key for key, value in state_dict.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        raise CheckpointError(f"{path}: {wrong} in its state_dict is not a tensor")
    return {str(key).removeprefix("module."): value for key, value in state_dict.items()}


def _of_one_kind(found: Tensor, expected: Tensor) -> bool:
    """Whether both are plain tensors of real numbers, or both of whole ones; of how many bits does not matter."""
    plain = found.layout == torch.strided and not found.is_quantized and not found.is_complex()
    return plain and found.is_floating_point() == expected.is_floating_point()


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What keeps `found` from loading: the first missing and unexpected keys, and those of other shapes and kinds."""
    groups = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "other shape": [
            f"{key} {list(found[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in found and found[key].shape != value.shape
        ],
        "of another kind": [
            f"{key} {str(found[key].dtype).removeprefix('torch.')}"
            for key, value in expected.items()
            if key in found and not _of_one_kind(found[key], value)
        ],
    }
    return [
        f"{len(keys)} {kind}: {', '.join(keys[:MOST_KEYS_SHOWN])}{', ...' if len(keys) > MOST_KEYS_SHOWN else ''}"
        for kind, keys in groups.items()
        if keys
    ]


def number_of(content: Mapping, key: str, kind: type) -> int | float | None:
    """A number of the file, NumPy scalars and one-element tensors included; None where it is anything else."""
    try:
        return kind(content.get(key))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
