"""The options of the stages that run the face detector or decode videos, and what they make of them in a worker."""

import argparse
import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.arguments import Parser
from common.errors import UserError
from faces.detector import FaceDetector
from faces.torchcodec_video import DECODERS, video_opener
from faces.video import OpenVideo

# What a worker with a detector imports.
PRELOAD = ("faces.mtcnn",)
DETECTORS = ("FacenetDetector",)
# The device of a worker that will be on any node: one of its GPUs, over which its processes are spread, else the CPU.
OF_NODE = "of the node"


def add_network_options(parser: Parser) -> None:
    parser.add_argument("--detector-type", choices=DETECTORS, default=DETECTORS[0], help="the face detector")
    _add_device_option(parser)


def add_decoder_option(parser: Parser) -> None:
    """`--decoder`, and `--device` if the stage does not have it anyway."""
    parser.add_argument(
        "--decoder",
        choices=DECODERS,
        default=DECODERS[0],
        help="what decodes videos; torchcodec does it on the --device, on a GPU by NVDEC",
    )
    if "--device" not in parser.flags():
        _add_device_option(parser)


def _add_device_option(parser: Parser) -> None:
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")


@dataclass(frozen=True)
class Decoding:
    """How a stage's workers decode videos; `device` is a name that `resolve_device` gave."""

    decoder: str = DECODERS[0]
    device: str = "cpu"

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Decoding":
        """Raises UserError for a decoder that is not there."""
        if options.decoder == DECODERS[0]:
            return cls()
        decoding = cls(options.decoder, resolve_device(options))
        if options.executor == "local":
            decoding.opener()
        return decoding

    @property
    def settings(self) -> dict[str, str]:
        """What artifacts that other decoders made must not be mixed with."""
        return {} if self.decoder == DECODERS[0] else {"decoder": self.decoder}

    def opener(self) -> OpenVideo:
        """What opens videos in this process."""
        return video_opener(self.decoder, device_here(self.device))


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

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(wanted.partition(":")[2] or 0) < count:
            return "cuda:0" if wanted == "auto" else wanted
    if wanted.startswith("cuda"):
        print(f"device: cpu ({wanted} was asked for, but it is not usable)")
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

    device = device_here(device)
    if device == "cpu":
        torch.set_num_threads(1)
    return FaceDetector(thresholds, device, scale)


def device_here(device: str) -> str:
    """The device itself, or that of this worker process on its node."""
    if device != OF_NODE:
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{os.getpid() % count}" if count else "cpu"
