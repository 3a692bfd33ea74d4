"""Step 1: find the faces in real videos. Writes boxes/<video>.json: frame number to boxes, or null without a face.

python -m preprocessing.detect_original_faces --root-dir DATA_ROOT
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from common.arguments import Parser, positive_int
from common.errors import run_command
from common.files import replacing
from faces.detector import BOX_THRESHOLDS, FaceDetector, scale_argument, shrink
from faces.video import OpenVideo, VideoError, VideoFile
from preprocessing.data_root import Video, read_data_root
from preprocessing.network_options import (
    PRELOAD,
    Decoding,
    add_decoder_option,
    add_network_options,
    make_detector,
    resolve_device,
)
from preprocessing.runner import Outcome, Stage, run_stage, stage_parser

# Only every tenth frame is used by any later step.
FRAME_STEP = 10
# Frames shrunk and waiting for the detector: enough for a batch, few enough for 4K.
FRAMES_AT_ONCE = 16


def detect_video(
    video: Video, detector: FaceDetector, frame_step: int, boxes_dir: Path, open_video: OpenVideo = VideoFile
) -> Outcome:
    """Write the boxes of one video, [xmin, ymin, xmax, ymax] in pixels of the full frame, largest first.

    Raises VideoError if no frame can be decoded.
    """
    boxes: dict[str, list | None] = {}
    outcome = Outcome()
    with open_video(video.path) as file:
        wanted = range(0, file.frame_count, frame_step)
        for indices, inputs, sizes in _chunks(file.frames(wanted), detector.scale):
            for index, found in zip(indices, detector.detect_shrunk(inputs, sizes), strict=True):
                boxes[str(index)] = found.boxes.tolist() or None
        if not boxes:
            raise VideoError("no frame of it can be decoded")
        outcome.notes += _remarks(file, len(boxes), len(wanted))
    with replacing(boxes_dir / f"{video.id}.json") as temporary:
        temporary.write_text(json.dumps(boxes))
    faces = sum(len(found) for found in boxes.values() if found)
    if not faces:
        outcome.notes.append("no face in it")
    most = max((len(found) for found in boxes.values() if found), default=0)
    if most > 2:
        outcome.notes.append(f"up to {most} faces in a frame")
    outcome.counts = Counter({"faces": faces})
    return outcome


def _chunks(
    frames: Iterator[tuple[int, np.ndarray]], scale: float | None
) -> Iterator[tuple[list[int], list[np.ndarray], list[tuple[int, int]]]]:
    """Frames as the detector wants them, a few at a time: indices, small RGB copies, sizes before shrinking."""
    small = ((index, shrink(np.ascontiguousarray(frame[..., ::-1]), scale), frame.shape[:2]) for index, frame in frames)
    while chunk := list(islice(small, FRAMES_AT_ONCE)):
        indices, inputs, sizes = zip(*chunk, strict=True)
        yield list(indices), list(inputs), list(sizes)


def _remarks(file: VideoFile, decoded: int, wanted: int) -> list[str]:
    """What is odd about a video's length."""
    remarks = []
    if file.announced and file.announced != file.frame_count:
        remarks.append(f"announces {file.announced} frames, has {file.frame_count}")
    if decoded < wanted:
        remarks.append(f"only {decoded} of {wanted} frames could be decoded")
    return remarks


def make_work(
    device: str, scale: float | None, frame_step: int, boxes_dir: Path, decoding: Decoding
) -> Callable[[Video], Outcome]:
    detector = make_detector(BOX_THRESHOLDS, device, scale)
    open_video = decoding.opener()
    return partial(detect_video, detector=detector, frame_step=frame_step, boxes_dir=boxes_dir, open_video=open_video)


def make_parser() -> Parser:
    parser = stage_parser("detect_original_faces", "Step 1: find the faces in real videos.")
    parser.add_argument("--frame-step", type=positive_int, default=FRAME_STEP, metavar="N", help="every N-th frame")
    parser.add_argument(
        "--detector-scale",
        type=scale_argument,
        default="auto",
        metavar="X",
        help="detector input over frame size",
    )
    add_network_options(parser)
    add_decoder_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir)
    boxes_dir, device = root.folder("boxes"), resolve_device(options)
    decoding = Decoding.of(options)
    stage = Stage(
        name="detect_original_faces",
        items=root.reals,
        make_work=partial(make_work, device, options.detector_scale, options.frame_step, boxes_dir, decoding),
        artifact_of=lambda video: boxes_dir / f"{video.id}.json",
        settings={
            "frame-step": options.frame_step,
            "detector-scale": options.detector_scale or "auto",
            **decoding.settings,
        },
        preload=PRELOAD,
        problems=root.problems,
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
