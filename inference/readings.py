"""How networks of each kind read what a view has found: the inputs of a sighting, and one probability from theirs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np
import torch
from torch import Tensor

from faces.clips import centred_clip, resized_faces
from faces.geometry import isotropically_resize_image, put_to_center
from training.tools.config import NetworkConfig, Normalize

COMPRESSION_QUALITY = 90


@dataclass(frozen=True)
class Reading:
    """A kind of network input.

    `inputs` makes arrays (..., h, w, 3) uint8 of one of a sighting's pictures, `tensor` a float32 batch of n of them on
    their device, `combine` one probability of those of a sighting's inputs. As many inputs as the batch sizes say make
    a good batch: on a CPU a single crop (EfficientNet-B7 takes 0.16 s alone, 0.29 and 0.45 s each in batches of 8 and
    32, and is independent of others), but a clip and its mirror image together.
    """

    inputs: Callable[..., list[np.ndarray]]
    tensor: Callable[[Tensor, Normalize], Tensor]
    combine: Callable[[Sequence[float]], float]
    cpu_batch: int
    gpu_batch: int


def network_input(crop: np.ndarray, size: int, apply_compression: bool = False) -> np.ndarray:
    """The crop (h, w, 3) uint8 resized to `size`, centred on black, as (size, size, 3) uint8.

    With `apply_compression` it goes through JPEG of quality 90 as well, as an option of the published kernel does.
    """
    square = put_to_center(isotropically_resize_image(crop, size), size)
    if not apply_compression:
        return square
    _, encoded = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, COMPRESSION_QUALITY])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def _crop(crop: np.ndarray, config: NetworkConfig, apply_compression: bool) -> list[np.ndarray]:
    return [network_input(crop, config.size, apply_compression)]


def _tracked(crops: Sequence[np.ndarray], config: NetworkConfig, apply_compression: bool) -> list[np.ndarray]:
    squares = [network_input(crop, config.size, apply_compression) for crop in crops]
    return [square[:, ::-1] if place % 2 else square for place, square in enumerate(squares)]


def _clip(clip: np.ndarray, config: NetworkConfig, _: bool) -> list[np.ndarray]:
    seen = centred_clip(clip, config.frames, config.size)
    return [seen, seen[:, :, ::-1]]


def _sequence(faces: np.ndarray, config: NetworkConfig, _: bool) -> list[np.ndarray]:
    return [resized_faces(faces, config.size)]


def _normalized(x: Tensor, normalize: Normalize) -> Tensor:
    """Inputs (n, ..., h, w, 3) uint8 as (n, 3, ..., h, w) float32, normalised."""
    x = x.movedim(-1, 1).float() / 255
    shape = (3, *[1] * (x.ndim - 2))
    mean, std = (values.view(shape) for values in _constants(normalize, x.device))
    return (x - mean) / std


@lru_cache
def _constants(normalize: Normalize, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (3,) on a device; copied once, since a GPU finishes all its work before a copy."""
    with torch.inference_mode(False):
        return torch.tensor(normalize.mean, device=device), torch.tensor(normalize.std, device=device)


def _raw(x: Tensor, _: Normalize) -> Tensor:
    """Inputs (n, t, h, w, 3) uint8 as (n, t, 3, h, w) float32 in 0-255."""
    return x.movedim(-1, 2).float()


_single = partial(np.mean, dtype=np.float64)

READINGS: dict[str, Reading] = {
    "frame": Reading(_crop, _normalized, _single, cpu_batch=1, gpu_batch=32),
    "tracked": Reading(_tracked, _normalized, np.median, cpu_batch=1, gpu_batch=32),
    "clip": Reading(_clip, _normalized, _single, cpu_batch=2, gpu_batch=8),
    "sequence": Reading(_sequence, _raw, _single, cpu_batch=1, gpu_batch=8),
}
