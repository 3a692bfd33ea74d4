"""Several networks scoring the same face crops."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from common.batching import in_batches
from faces.geometry import isotropically_resize_image, put_to_center
from training.tools.checkpoints import Checkpoint
from training.tools.config import NetworkConfig

COMPRESSION_QUALITY = 90
# Seconds a face takes EfficientNet-B7 on two cores, alone, in a batch of 8 and of 32: 0.16, 0.29, 0.45; where freed
# memory is kept (common.memory) 0.16, 0.15, 0.29. Alone is never slow, and makes a face's score independent of others.
CPU_BATCH_SIZE = 1
GPU_BATCH_SIZE = 32


@dataclass
class Member:
    """A network of the ensemble, its name in results and the input it was made for."""

    name: str
    network: nn.Module
    config: NetworkConfig

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Member":
        return cls(checkpoint.name, checkpoint.network, checkpoint.config)


def network_input(crop: np.ndarray, size: int, apply_compression: bool = False) -> np.ndarray:
    """The crop (h, w, 3) uint8 resized to `size`, centred on black, as (size, size, 3) uint8.

    With `apply_compression` it goes through JPEG of quality 90 as well, as an option of the published kernel does.
    """
    square = put_to_center(isotropically_resize_image(crop, size), size)
    if not apply_compression:
        return square
    _, encoded = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, COMPRESSION_QUALITY])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


class Ensemble:
    """Networks on one device in one number format; calls come from one thread at a time.

    `dtype` float32 runs plainly; half formats convert the networks on a GPU and use autocast on a CPU, where
    whole networks in half precision are slower and less exact. `batch_size` None is what suits the device.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        batch_size: int | None = None,
        apply_compression: bool = False,
    ):
        self.members = list(members)
        self.device = device
        self.batch_size = batch_size or (CPU_BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE)
        self.apply_compression = apply_compression
        self.autocast = device.type == "cpu" and dtype != torch.float32
        self.dtype = torch.float32 if self.autocast else dtype
        self.autocast_dtype = dtype
        for member in self.members:
            member.network.to(device, self.dtype, memory_format=torch.channels_last).eval()

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """P(fake) of each crop (h, w, 3) uint8 RGB by each network: (networks, crops) float64.

        Batches hold consecutive crops, so the result depends on the crops and the batch size alone.
        """
        rows = np.zeros((len(self.members), len(crops)))
        for size in {member.config.size for member in self.members}:
            squares = [network_input(crop, size, self.apply_compression) for crop in crops]
            chosen = [i for i, member in enumerate(self.members) if member.config.size == size]
            results, self.batch_size = in_batches(
                lambda batch, chosen=chosen: self._run(batch, chosen), squares, self.batch_size, "classification"
            )
            rows[chosen] = np.array(results, dtype=np.float64).reshape(len(crops), len(chosen)).T
        return rows

    @torch.inference_mode()
    def _run(self, squares: Sequence[np.ndarray], chosen: Sequence[int]) -> list[list[float]]:
        """Probabilities of one batch, per square one value for each chosen member."""
        pixels = torch.from_numpy(np.stack(squares)).to(self.device).permute(0, 3, 1, 2).float() / 255
        columns = []
        for member in (self.members[i] for i in chosen):
            x = _normalized(pixels, member.config).to(self.dtype).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, self.autocast_dtype) if self.autocast else nullcontext():
                logits = member.network(x)
            columns.append(torch.sigmoid(logits.float()).flatten())
        return torch.stack(columns, dim=1).cpu().tolist()


def _normalized(pixels: Tensor, config: NetworkConfig) -> Tensor:
    mean = torch.tensor(config.normalize.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(config.normalize.std, device=pixels.device).view(3, 1, 1)
    return (pixels - mean) / std
