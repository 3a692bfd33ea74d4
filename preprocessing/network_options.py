"""The options of the two stages that run the face detector, and a detector made by them inside a worker."""

import argparse
from collections.abc import Sequence

from common.errors import Parser, UserError
from faces.detector import FaceDetector

DETECTORS = ("FacenetDetector",)


def add_network_options(parser: Parser) -> None:
    parser.add_argument("--detector-type", choices=DETECTORS, default=DETECTORS[0], help="the face detector")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N")


def resolve_device(options: argparse.Namespace) -> str:
    """The device's name for the workers, after saying so if what was asked for is not there.

    Importing torch here, in the parent, lets forked workers share it.
    """
    import torch

    import faces.mtcnn  # noqa: F401

    if options.device == "cpu":
        return "cpu"
    if options.device != "auto" and not options.device.startswith("cuda"):
        raise UserError(f"--device {options.device}: not one of auto, cpu, cuda, cuda:N")
    if torch.cuda.is_available():
        return "cuda:0" if options.device == "auto" else options.device
    if options.device != "auto":
        print(f"device: cpu ({options.device} was asked for, but no CUDA device is usable)")
    return "cpu"


def make_detector(thresholds: Sequence[float], device: str, scale: float | None) -> FaceDetector:
    """A detector for one worker process: the processes share the cores, so each computes with one thread."""
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    return FaceDetector(thresholds, device, scale)
