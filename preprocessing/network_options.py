"""The options of the two stages that run the face detector, and a detector made by them inside a worker."""

import argparse
import ctypes
import os
import re
from collections.abc import Sequence

from common.errors import Parser, UserError
from faces.detector import FaceDetector

# What a worker with a detector imports.
PRELOAD = ("faces.mtcnn",)
DETECTORS = ("FacenetDetector",)
# The device of a worker that will be on any node: one of its GPUs, over which its processes are spread, else the CPU.
OF_NODE = "of the node"


def add_network_options(parser: Parser) -> None:
    parser.add_argument("--detector-type", choices=DETECTORS, default=DETECTORS[0], help="the face detector")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")


def resolve_device(options: argparse.Namespace) -> str:
    """The device's name for the workers, after saying so if what was asked for is not there."""
    wanted = options.device
    if wanted not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", wanted):
        raise UserError(f"--device {wanted}: not one of auto, cpu, cuda, cuda:N")
    if options.executor == "ray":
        if ":" in wanted:
            raise UserError(f"--device {wanted}: which GPUs there are differs from node to node; auto or cpu")
        return "cpu" if wanted == "cpu" else OF_NODE
    if wanted != "cpu" and _has_cuda_driver():
        import torch

        if torch.cuda.is_available():
            return "cuda:0" if wanted == "auto" else wanted
    if wanted.startswith("cuda"):
        print(f"device: cpu ({wanted} was asked for, but no CUDA device is usable)")
    return "cpu"


def _has_cuda_driver() -> bool:
    """Whether it is worth importing torch, which takes seconds, to ask for its devices."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def make_detector(thresholds: Sequence[float], device: str, scale: float | None = None) -> FaceDetector:
    """A detector for one worker process: the processes share the cores, so each computes with one thread."""
    import torch

    if device == OF_NODE:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        device = f"cuda:{os.getpid() % count}" if count else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    return FaceDetector(thresholds, device, scale)
