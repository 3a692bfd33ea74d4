"""Networks in OpenVINO, which computes them on a CPU several times faster than PyTorch does.

A network is converted once, together with what is done to its inputs and its logits, compiled for this very CPU and
kept in a cache on disk; from then on it is there in a second.
"""

import errno
import hashlib
import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.files import replacing
from common.openvino import as_model, core
from inference.bfloat16_weights import round_weights
from inference.readings import READINGS
from inference.views import picture_of
from training.families import family_of
from training.tools.config import NetworkConfig

FORMATS = {torch.float32: "f32", torch.bfloat16: "bf16"}
KINDS = ("frame", "clip")  # an LSTM's states keep the batch size it was converted with
LAYOUT = 2  # of what is cached: part of the key
MAGIC, HEADER = "dfdc network in OpenVINO", 64  # bytes before the network, which say how long it is


def has_bfloat16() -> bool:
    """Whether OpenVINO is there and this CPU computes bfloat16 natively."""
    return core() is not None and "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoNetwork:
    """A network from pictures (n, ..., h, w, 3) uint8 to P(fake) (n,) float32, each picture on a core of its own."""

    def __init__(self, compiled: Any, dtype: torch.dtype, memory: np.ndarray | None = None):
        from openvino import AsyncInferQueue

        self.dtype = dtype  # in which it computes
        self.memory = memory  # in which a network that came from the cache has its weights
        self.settled = False
        _forget_pages(memory)  # several networks are opened before the first is used
        self.queue = AsyncInferQueue(compiled)
        self.queue.set_callback(self._keep)
        self.results: dict[int, float] = {}

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        for place, picture in enumerate(pictures):
            self.queue.start_async({0: np.ascontiguousarray(picture)[None]}, place)
        self.queue.wait_all()
        if not self.settled:
            self.settled = True
            _forget_pages(self.memory)
        return np.array([self.results.pop(place) for place in range(len(pictures))], np.float32)

    def _keep(self, request: Any, place: int) -> None:
        self.results[place] = float(request.get_output_tensor(0).data.ravel()[0])


class _FromPictures(nn.Module):
    """The network with what is done before and after it."""

    def __init__(self, network: nn.Module, config: NetworkConfig):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, pictures: Tensor) -> Tensor:
        x = READINGS[picture_of(self.config)].tensor(pictures, self.config.normalize)
        return family_of(self.config).probabilities(self.network(x))


def open_network(network: nn.Module, config: NetworkConfig, sha256: str, dtype: torch.dtype) -> OpenVinoNetwork:
    """The network of a checkpoint with that hash, from the cache or converted into it."""
    # Several processes share a machine by the threads that each gives PyTorch.
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    options = {"INFERENCE_PRECISION_HINT": FORMATS[dtype], "PERFORMANCE_HINT": "THROUGHPUT", **threads}
    name = f"{sha256[:16]}-{_key(config, options)}.blob"
    # Not there, not to be read, damaged, or of something else: made again.
    with suppress(OSError, RuntimeError, ValueError):
        memory = _mapped(cache_folder() / name)
        return OpenVinoNetwork(core().import_model(_as_tensor(memory), "CPU", options), dtype, memory)
    compiled = core().compile_model(converted(network, config, dtype), "CPU", options)
    try:
        _keep(compiled, cache_folder() / name)
    except OSError as error:
        _warn(f"converted networks cannot be kept ({error.strerror}: {error.filename}); every start converts them")
    return OpenVinoNetwork(compiled, dtype)


def _keep(compiled: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = compiled.export_model().getvalue()
    # Others may be converting the same network: each writes a file of its own, the last one stays.
    own = path.with_name(f"{path.stem}-{os.getpid()}-{get_ident()}.blob")
    with replacing(own) as temporary, temporary.open("wb") as file:
        file.write(_header(len(content)))
        file.write(content)
    own.replace(path)


@lru_cache
def _warn(line: str) -> None:
    """Said once, however many networks it is about."""
    print(line, file=sys.stderr)


def _mapped(path: Path) -> np.ndarray:
    """What follows the header of a file, as bytes (n,) uint8 that are read where they are looked at.

    Raises ValueError if the file is not whole: OpenVINO would believe it.
    """
    with path.open("rb") as file:
        if file.read(HEADER) != _header(path.stat().st_size - HEADER):
            raise ValueError(f"{path} is damaged")
    # OpenVINO takes writable memory only; nothing that is written there reaches the file.
    return np.memmap(path, np.uint8, "c", offset=HEADER)


def _forget_pages(memory: np.ndarray | None) -> None:
    """Give back what was read of a mapped file: the weights have been laid out anew elsewhere by their first use.

    What is looked at again after all is read again.
    """
    if isinstance(memory, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        memory._mmap.madvise(mmap.MADV_DONTNEED)


def _as_tensor(memory: np.ndarray) -> Any:
    import openvino

    return openvino.Tensor(memory, shared_memory=True)


def converted(network: nn.Module, config: NetworkConfig, dtype: torch.dtype) -> Any:
    """The network as an OpenVINO model of one picture, to be computed in `dtype`."""
    shape = {"frame": (), "clip": (config.frames,)}[config.input]
    example = torch.zeros(1, *shape, config.size, config.size, 3, dtype=torch.uint8)
    model = as_model(_FromPictures(network, config), example)
    if dtype == torch.bfloat16:
        round_weights(model)
    return model


def _header(length: int) -> bytes:
    return f"{MAGIC} {length}".encode().ljust(HEADER)


def cache_folder() -> Path:
    """Where converted networks are: below XDG_CACHE_HOME, else ~/.cache. OSError if there is no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfdc-deepfake-detection"
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "no such folder", "~/.cache") from error


def _key(config: NetworkConfig, options: dict[str, str]) -> str:
    """What else decides the compiled network: its input, the number format, the CPU, the versions."""
    import openvino

    cpu = (core().get_property("CPU", "FULL_DEVICE_NAME"), os.cpu_count())
    parts = (LAYOUT, config.model_dump_json(), options, cpu, openvino.__version__, torch.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
