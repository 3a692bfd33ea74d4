"""MTCNN's three networks with facenet-pytorch's weights, computed by PyTorch or, on a CPU, by OpenVINO if it is there.

Both give the same numbers to 1e-6: boxes are as exact as the network inputs they are made from.
"""

from collections.abc import Callable
from functools import lru_cache
from threading import local
from typing import Any

import torch
from torch import Tensor, nn

from common.openvino import as_model, core

# From inputs (n, 3, h, w) float32, channels last, to a tensor for each of the network's outputs.
Network = Callable[[Tensor], tuple[Tensor, ...]]
# Sides of the inputs of P-Net (any), R-Net and O-Net.
SIDES = (-1, 24, 48)


@lru_cache
def load_networks(device: torch.device) -> tuple[Network, Network, Network]:
    """P-Net, R-Net and O-Net on a device. They may be called from several threads at once."""
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    networks = [network().eval() for network in (PNet, RNet, ONet)]
    if device.type == "cpu" and core() is not None:
        return tuple(_OpenVinoNetwork(network, side) for network, side in zip(networks, SIDES, strict=True))
    return tuple(network.to(device, memory_format=torch.channels_last) for network in networks)


class _OpenVinoNetwork:
    """A network that is computed on one core at a time for each thread that calls it."""

    def __init__(self, network: nn.Module, side: int):
        from openvino import Layout
        from openvino.preprocess import PrePostProcessor

        model = as_model(network, torch.zeros(1, 3, max(side, 12), max(side, 12)), (-1, 3, side, side))
        ends = PrePostProcessor(model)
        ends.input().tensor().set_layout(Layout("NHWC"))
        ends.input().model().set_layout(Layout("NCHW"))
        threads = torch.get_num_threads()
        # A device may have a default of its own that is less exact.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        self.compiled = core().compile_model(ends.build(), "CPU", options)
        self.own = local()

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        request = self._request()
        request.infer([x.permute(0, 2, 3, 1).contiguous().numpy()], share_inputs=True)
        outputs = range(len(self.compiled.outputs))
        return tuple(torch.from_numpy(request.get_output_tensor(index).data.copy()) for index in outputs)

    def _request(self) -> Any:
        if not hasattr(self.own, "request"):
            self.own.request = self.compiled.create_infer_request()
        return self.own.request
