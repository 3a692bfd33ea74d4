"""The command line of prediction. Imports neither torch nor what needs it: usage errors come at once."""

import argparse
from collections.abc import Sequence

from common.arguments import Parser, positive_int, under_half
from common.limits import add_limit_options
from common.ray_cluster import add_executor_options
from faces.detector import scale_argument
from faces.torchcodec_video import DECODERS
from inference.strategies import AGGREGATES, AUTO, STRATEGIES

DEFAULT_FRAMES = 32
GRAPH_MODES = ("auto", "on", "off")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="predict_folder", description="Score a folder of videos: P(deepfake) for each, as a CSV file.")
    add = parser.add_argument
    add("--test-dir", required=True, metavar="DIR", help="folder of videos, subfolders included; or one video or image")
    add(
        "--models",
        nargs="+",
        default=(),
        metavar="NAME",
        help="checkpoints in --weights-dir, or paths (default: the small network that comes along)",
    )
    add("--weights-dir", default="weights", metavar="DIR", help="where the checkpoints are")
    add("--output", default="submission.csv", metavar="FILE", help="the CSV to write: filename,label")
    add("--details", metavar="FILE", help="JSON lines to write: per video all faces, probabilities, times, warnings")
    add("--report", metavar="FILE", help="an HTML page to write: every video, and why it has its label")
    add(
        "--calibration",
        metavar="FILE",
        help="of evaluate.py --calibrate: adds calibrated probabilities to --details or --report",
    )
    add("--sample-submission", metavar="FILE", help="CSV whose filename column gives the rows and their order")
    add(
        "--frames",
        type=positive_int,
        default=DEFAULT_FRAMES,
        metavar="N",
        help="frames to look at for single faces",
    )
    add("--strategy", choices=list(STRATEGIES), default="confident", help="from the faces' probabilities to a label")
    add(
        "--aggregate",
        choices=list(AGGREGATES),
        default=AUTO,
        help="several people: all faces pooled, or each person's label and then the mean or the max of these"
        " (auto: as published; frames pooled, clips mean, sequences max)",
    )
    add("--clip-labels", type=under_half, default=0.0, metavar="X", help="keep labels X away from 0 and 1")
    add(
        "--detector-scale",
        type=scale_argument,
        default="auto",
        metavar="X",
        help="detector input over frame size",
    )
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N, mps; or several: cuda:0,cuda:1")
    add("--engine", choices=["auto", "torch", "openvino"], default="auto", help="what computes the networks on a CPU")
    add("--precision", choices=["auto", "fp32", "fp16", "bf16"], default="auto", help="number format of the networks")
    add(
        "--batch-size",
        type=positive_int,
        metavar="N",
        help="faces in one pass of a network (default: 1 by PyTorch on a CPU, else 32; clips 2, 8, sequences 1, 8)",
    )
    add("--workers", type=positive_int, default=2, metavar="N", help="videos decoded at the same time")
    add(
        "--decoder",
        choices=DECODERS,
        default=DECODERS[0],
        help="what decodes videos; torchcodec does it on the --device, on a GPU by NVDEC",
    )
    add("--cuda-graphs", choices=GRAPH_MODES, default="auto", help="on a GPU (auto: where they are faster)")
    add_executor_options(parser)
    add_limit_options(parser)
    add("--limit", type=positive_int, metavar="N", help="only the first N videos")
    add("--overwrite", action="store_true", help="replace an existing output")
    add("--strict", action="store_true", help="exit with code 1 if a video could not be read")
    return parser.parse_args(argv)
