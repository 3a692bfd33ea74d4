"""Step 2: cut the faces out of real and fake videos. Writes crops/<video>/<frame>_<actor>.png.

    python -m preprocessing.extract_crops --root-dir DATA_ROOT

A fake's faces are where its original's are.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser
from common.errors import run_command
from faces.geometry import crop_face
from faces.video import OpenVideo, VideoError, VideoFile
from preprocessing.artifacts import write_png
from preprocessing.data_root import Video, read_data_root
from preprocessing.detect_original_faces import FRAME_STEP
from preprocessing.network_options import Decoding, add_decoder_option
from preprocessing.runner import Outcome, Stage, StageError, add_crops_option, folder_replacing, run_stage, stage_parser
from preprocessing.settings import with_crops

Boxes = dict[int, np.ndarray]
# Crops on their way to the disk; decoding waits beyond that, so that memory stays bounded.
CROPS_IN_FLIGHT = 64


def crop_video(
    video: Video, original_path: Path, boxes_dir: Path, crops_dir: Path, open_video: OpenVideo = VideoFile
) -> Outcome:
    """Write the crops of one video as PNG files, named by frame and by the box's place in its list.

    Raises StageError if its original's boxes are missing or unreadable, VideoError if no frame can be decoded.
    """
    boxes = read_boxes(boxes_dir / f"{video.source}.json")
    outcome = Outcome()
    with open_video(video.path) as file, folder_replacing(crops_dir / video.id) as folder:
        written: deque[Future] = deque()
        scale = None
        decoded = 0
        # Encoding and writing have a thread of their own: OpenCV gives the interpreter free while it compresses.
        with ThreadPoolExecutor(1) as writer:
            for index, frame in file.frames(index for index in boxes if index < file.frame_count):
                decoded += 1
                if scale is None:
                    scale = scale_to(frame, video, original_path, outcome)
                for actor, box in enumerate(boxes[index] * scale):
                    crop = crop_face(frame, box)
                    if crop.size:
                        written.append(writer.submit(write_png, folder / f"{index}_{actor}.png", crop))
                while len(written) > CROPS_IN_FLIGHT:
                    written.popleft().result()
                    outcome.counts["crops"] += 1
            for future in written:
                future.result()
                outcome.counts["crops"] += 1
        if boxes and not decoded:
            raise VideoError("no frame with a face can be decoded")
        if decoded < len(boxes):
            outcome.notes.append(f"{len(boxes) - decoded} of {len(boxes)} frames with faces are not in it")
    return outcome


def read_boxes(path: Path) -> Boxes:
    """Step 1's boxes of every tenth frame, those without a face left out: frame to (n, 4) float64."""
    try:
        content = json.loads(path.read_text())
        frames = {int(frame): found for frame, found in content.items() if found}
        boxes = {frame: np.array(found, dtype=np.float64) for frame, found in frames.items() if frame % FRAME_STEP == 0}
    except FileNotFoundError as error:
        raise StageError(f"no boxes of {path.stem}; run detect_original_faces, or see its errors") from error
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise StageError(f"{path} is not a file of boxes ({error})") from error
    for frame, found in boxes.items():
        if frame < 0 or found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
            raise StageError(f"{path} is not a file of boxes (frame {frame})")
    return boxes


def scale_to(frame: np.ndarray, video: Video, original_path: Path, outcome: Outcome) -> np.ndarray:
    """What to multiply an original's boxes by for this frame's size: (4,), ones unless the sizes differ.

    Raises StageError if none of the frames of the original that step 1 has looked at can be decoded.
    """
    if video.original is None:
        return np.ones(4)
    with VideoFile(original_path) as original:
        looked_at = original.frames(range(0, original.frame_count, FRAME_STEP))
        size = next((image.shape[:2] for _, image in looked_at), None)
    if size is None:
        raise StageError(f"no frame of its original, {original_path.name}, can be decoded")
    (height, width), (original_height, original_width) = frame.shape[:2], size
    if (height, width) == size:
        return np.ones(4)
    outcome.notes.append(f"{width}x{height}, its original {original_width}x{original_height}: boxes are scaled")
    return np.tile([width / original_width, height / original_height], 2)


def make_work(
    originals: dict[str, Path], boxes_dir: Path, crops_dir: Path, decoding: Decoding
) -> Callable[[Video], Outcome]:
    cv2.setNumThreads(1)
    open_video = decoding.opener()
    return lambda video: crop_video(video, originals[video.source], boxes_dir, crops_dir, open_video)


def make_parser() -> Parser:
    parser = stage_parser("extract_crops", "Step 2: cut the faces out of real and fake videos.")
    add_decoder_option(parser)
    return add_crops_option(parser)


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    crops_dir, boxes_dir, decoding = root.crops, root.folder("boxes"), Decoding.of(options)
    originals = {video.id: video.path for video in root.reals}
    stage = Stage(
        name="extract_crops",
        items=list(root.videos.values()),
        make_work=partial(make_work, originals, boxes_dir, crops_dir, decoding),
        artifact_of=lambda video: crops_dir / video.id,
        settings=decoding.settings,
        after="detect_original_faces",
        kept_as=with_crops("extract_crops", root),
        files_of=lambda video: [video.path, originals[video.source], boxes_dir / f"{video.source}.json"],
        problems=root.problems,
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
