"""MTCNN's three networks with facenet-pytorch's weights, computed by PyTorch or, on a CPU, by OpenVINO if it is there.

Both give the same numbers to 1e-6: boxes are as exact as the network inputs they are made from. OpenVINO computes in
threads of its own, each input on one core, while the caller prepares other inputs.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from common.openvino import as_model, core

# Sides of the inputs of P-Net (any), R-Net and O-Net.
SIDES = (-1, 24, 48)

# Waits for the outputs of a network, a tensor each, and returns what a function makes of them, to be copied if it is a
# part of them: they are overwritten afterwards.
Outputs = Callable[[Callable[..., Any]], Any]


class Network(Protocol):
    """From an input (n, 4, h, w) float32, channels last, of which three count, to a tensor for each output."""

    def start(self, x: Tensor) -> Outputs:
        """Begin to compute."""


def in_openvino(device: torch.device) -> bool:
    """Whether OpenVINO computes the networks on a device."""
    return device.type == "cpu" and core() is not None


@lru_cache
def load_networks(device: torch.device) -> tuple[Network, Network, Network]:
    """P-Net, R-Net and O-Net on a device; one set for all that detect there."""
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    networks = [network().eval() for network in (PNet, RNet, ONet)]
    if in_openvino(device):
        return tuple(_InOpenVino(network, side) for network, side in zip(networks, SIDES, strict=True))
    return tuple(_InPyTorch(network, device) for network in networks)


def _of_four_channels(weight: Tensor) -> Tensor:
    """The first layer's weights with those of a fourth channel of its input, which changes nothing."""
    return torch.cat([weight.detach(), torch.zeros_like(weight[:, :1])], dim=1)


class _InPyTorch:
    def __init__(self, network: nn.Module, device: torch.device):
        network.conv1.weight = nn.Parameter(_of_four_channels(network.conv1.weight))
        self.network = network.to(device, memory_format=torch.channels_last)

    def start(self, x: Tensor) -> Outputs:
        outputs = self.network(x)
        return lambda read: read(*outputs)


def _of_rows(network: nn.Module) -> nn.Module:
    """The network for inputs (n, 1, h, 4 * w), each row the four channels of all its pixels.

    For OpenVINO, which would turn an input of channels last round twice, at a tenth of P-Net's time.
    """
    weight = _of_four_channels(network.conv1.weight)
    of_rows = nn.Conv2d(1, len(weight), (3, 3 * 4), stride=(1, 4))
    of_rows.weight = nn.Parameter(weight.permute(0, 2, 3, 1).reshape(of_rows.weight.shape))
    of_rows.bias = network.conv1.bias
    network.conv1 = of_rows
    return network


class _InOpenVino:
    def __init__(self, network: nn.Module, side: int):
        example = torch.zeros(1, 1, max(side, 12), 4 * max(side, 12))
        model = as_model(_of_rows(network), example, (-1, 1, side, max(4 * side, -1)))
        threads = torch.get_num_threads()
        # A CPU may have a default of its own that is less exact.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        # On any core, since the thread that prepares the next frames needs one too: a fifth faster.
        options["ENABLE_CPU_PINNING"] = False
        self.compiled = core().compile_model(model, "CPU", options)
        self.idle: list[_Running] = []

    def start(self, x: Tensor) -> Outputs:
        try:
            running = self.idle.pop()  # of all that detect here, in whatever thread
        except IndexError:
            running = _Running(self.compiled.create_infer_request())
        rows = x.permute(0, 2, 3, 1).contiguous().flatten(2)
        running.start(rows[:, None].numpy())

        def outputs(read: Callable[..., Any]) -> Any:
            found = read(*running.outputs(len(self.compiled.outputs)))
            self.idle.append(running)
            return found

        return outputs


class _Running:
    """A request of OpenVINO's with the pixels it reads, which must last until it is done."""

    def __init__(self, request: Any):
        self.request, self.pixels = request, None

    def start(self, pixels: np.ndarray) -> None:
        from openvino import Tensor as Shared

        self.pixels = pixels
        self.request.set_input_tensor(Shared(pixels, shared_memory=True))
        self.request.start_async()

    def outputs(self, count: int) -> tuple[Tensor, ...]:
        self.request.wait()
        self.pixels = None
        return tuple(torch.from_numpy(self.request.get_output_tensor(place).data) for place in range(count))

    def __del__(self):
        # Nobody asks for the outputs where an exception or Ctrl-C came between.
        self.request.wait()
