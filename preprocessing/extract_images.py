"""Optional: every frame of every video as a picture. Writes jpegs/<video>_<frame>.jpg, quality 100.

python -m preprocessing.extract_images --root-dir DATA_ROOT
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2

from common.arguments import Parser
from common.errors import run_command
from common.files import replacing
from faces.video import OpenVideo, VideoError, VideoFile
from preprocessing.data_root import Video, read_data_root
from preprocessing.network_options import Decoding, add_decoder_option
from preprocessing.runner import Outcome, Stage, run_stage, stage_parser

QUALITY = 100


def done_marker(jpegs_dir: Path, video: Video) -> Path:
    """The empty file that says that all pictures of a video are there: they share one folder with all others."""
    return jpegs_dir / f".{video.id}.done"


def extract_video(video: Video, jpegs_dir: Path, open_video: OpenVideo = VideoFile) -> Outcome:
    """Write all frames of one video. Raises VideoError if none can be decoded."""
    marker = done_marker(jpegs_dir, video)
    marker.unlink(missing_ok=True)
    written = set()
    with open_video(video.path) as file:
        for index, frame in file.frames(range(file.frame_count)):
            _, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            with replacing(jpegs_dir / f"{video.id}_{index}.jpg") as temporary:
                temporary.write_bytes(encoded)
            written.add(index)
        if not written:
            raise VideoError("no frame of it can be decoded")
        _remove_others(written, file.frame_count, video, jpegs_dir)
        whole = len(written) == file.frame_count
        notes = [] if whole else [f"only {len(written)} of {file.frame_count} frames could be decoded"]
    marker.touch()
    return Outcome(Counter({"pictures": len(written)}), notes)


def _remove_others(written: set[int], end: int, video: Video, jpegs_dir: Path) -> None:
    """Remove what another video of this name has left; not by a list of the folder, which may hold millions."""
    while (jpegs_dir / f"{video.id}_{end}.jpg").exists():
        end += 1
    # From the end, so that after an interruption the others are found again.
    for index in reversed(range(end)):
        if index not in written:
            (jpegs_dir / f"{video.id}_{index}.jpg").unlink(missing_ok=True)


def make_work(jpegs_dir: Path, decoding: Decoding) -> Callable[[Video], Outcome]:
    cv2.setNumThreads(1)
    return partial(extract_video, jpegs_dir=jpegs_dir, open_video=decoding.opener())


def make_parser() -> Parser:
    parser = stage_parser("extract_images", "Write every frame of every video as a JPEG of quality 100.")
    add_decoder_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir)
    jpegs_dir, decoding = root.folder("jpegs"), Decoding.of(options)
    stage = Stage(
        name="extract_images",
        items=list(root.videos.values()),
        make_work=partial(make_work, jpegs_dir, decoding),
        artifact_of=lambda video: done_marker(jpegs_dir, video),
        settings=decoding.settings,
        problems=root.problems,
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
