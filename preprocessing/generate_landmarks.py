"""Step 3: five landmarks in each crop of a real video. Writes landmarks/<original>/<frame>_<actor>.npy.

python -m preprocessing.generate_landmarks --root-dir DATA_ROOT
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser
from common.errors import run_command
from faces.detector import LANDMARK_THRESHOLDS, FaceDetector
from preprocessing.artifacts import write_array
from preprocessing.data_root import CROP_NAME, Video, read_data_root
from preprocessing.network_options import PRELOAD, add_network_options, make_detector, resolve_device
from preprocessing.runner import Outcome, Stage, StageError, add_crops_option, folder_replacing, run_stage, stage_parser
from preprocessing.settings import with_crops


def landmark_video(video: Video, detector: FaceDetector, crops_dir: Path, landmarks_dir: Path) -> Outcome:
    """Write (5, 2) int16 x, y in pixels of the crop: eyes, nose, corners of the mouth, left before right.

    A crop without a face gets no file. Raises StageError if the video has no crops folder.
    """
    outcome = Outcome()
    with folder_replacing(landmarks_dir / video.id) as folder:
        for path in crops_of(crops_dir / video.id):
            crop = read_png(path, cv2.IMREAD_COLOR)
            found = detector.largest_in_crop(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB))
            if len(found) == 0:
                outcome.counts["crops without landmarks"] += 1
                continue
            write_array(folder / f"{path.stem}.npy", np.around(found.points[0]).astype(np.int16))
            outcome.counts["landmarks"] += 1
    return outcome


def crops_of(folder: Path) -> list[Path]:
    """A video's crops, sorted by name. Raises StageError if step 2 has not made the folder."""
    try:  # not glob, which finds nothing in a folder that is taken away at that moment
        return sorted(path for path in folder.iterdir() if CROP_NAME.fullmatch(path.name) and path.suffix == ".png")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StageError(f"no crops of {folder.name}; run extract_crops, or see its errors") from error


def read_png(path: Path, flags: int) -> np.ndarray:
    """The image. Raises StageError, with the file's name, if it is not one."""
    try:
        image = cv2.imread(str(path), flags)
    except cv2.error:  # more pixels than OpenCV reads
        image = None
    if image is None:
        raise StageError(f"{path} is not a readable image; do step 2 again with --overwrite")
    return image


def make_work(device: str, crops_dir: Path, landmarks_dir: Path) -> Callable[[Video], Outcome]:
    detector = make_detector(LANDMARK_THRESHOLDS, device)
    return partial(landmark_video, detector=detector, crops_dir=crops_dir, landmarks_dir=landmarks_dir)


def make_parser() -> Parser:
    parser = stage_parser("generate_landmarks", "Step 3: five landmarks in each crop of a real video.")
    add_crops_option(parser)
    add_network_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    landmarks_dir, device = root.folder("landmarks"), resolve_device(options)
    stage = Stage(
        name="generate_landmarks",
        items=root.reals,
        make_work=partial(make_work, device, root.crops, landmarks_dir),
        artifact_of=lambda video: landmarks_dir / video.id,
        files_of=lambda video: [],
        folders_of=lambda video: [root.crops / video.id],
        settings={"crops-dir": options.crops_dir},
        after=with_crops("extract_crops", root),
        preload=PRELOAD,
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
