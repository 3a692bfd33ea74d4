"""OpenVINO, where it is installed: networks of PyTorch computed on a CPU several times faster."""

import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn


@lru_cache(1)
def core() -> Any:
    """OpenVINO's, or None where it is not installed."""
    # It tells an analytics service that it was imported, to which nobody here has agreed.
    sys.modules.setdefault("openvino_telemetry", None)
    try:
        import openvino
    except ImportError:
        return None
    return openvino.Core()


def as_model(network: nn.Module, example: Tensor, shape: Sequence[int] | None = None) -> Any:
    """The network in evaluation mode as an OpenVINO model of inputs of `shape` (-1: any), by default the example's."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, about what is constant here
        traced = torch.jit.trace(network.eval(), example, check_trace=False)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
    model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape if shape is None else shape))
    return model
