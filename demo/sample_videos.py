"""Build a small data root in the layout of the DFDC data set, with real and fake videos of one portrait.

    python -m demo.sample_videos OUT_DIR [--seconds 10] [--width 1280] [--height 720] [--seed 777] [--overwrite]

Every video is the public-domain astronaut portrait of scikit-image (NASA, 1993) seen by a moving camera. A fake repeats
the camera, light and noise of its original frame by frame; only the face is exchanged for a warped, recoloured, softer
one that trembles under a soft mask. The same seed gives the same bytes for as long as the encoder is the same.

Here are the table of the videos, what the camera does in each, and the command; `demo.portrait` is what is filmed and
how, `demo.video_roots` what a root is made of. Lengths are in the units of `demo.portrait`.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.errors import run_command
from common.files import replacing
from demo.portrait import FACE, drift, encode, film, make_fake_face, make_scene, swapped
from demo.video_roots import SampleVideo, check_root, fill_root, run_maker

# Parts 0 and 1 fall into one fold, 3 and 48 into two others. Numeric ids are as valid as the usual ten letters.
VIDEOS = (
    SampleVideo("004", 0, None, "single"),
    SampleVideo("519", 0, "004", "single"),
    SampleVideo("bqxtrhafwd", 0, "004", "single"),
    SampleVideo("cmwenvkyhs", 1, None, "upright"),
    SampleVideo("dujpzgolxa", 1, "cmwenvkyhs", "upright"),
    SampleVideo("0072", 1, "cmwenvkyhs", "upright"),
    SampleVideo("fvkanshbie", 1, None, "faceless"),
    SampleVideo("gtyoqwmdre", 3, None, "double"),
    SampleVideo("hplzkcxiun", 3, "gtyoqwmdre", "double"),  # only the left one of its two faces is fake
    SampleVideo("jsbvrafmto", 48, None, "single"),
    SampleVideo("kweydnuqgh", 48, "jsbvrafmto", "single"),
    SampleVideo("lzoxicptva", 48, "jsbvrafmto", "single"),
)

# What the camera looks at: x and y of the middle of the frame, length of the frame's short side.
VIEWS = {"single": (240, 160, 340), "upright": (232, 210, 330), "double": (400, 190, 420), "faceless": (256, 165, 210)}


def camera_path(rng: np.random.Generator, kind: str, times: np.ndarray) -> np.ndarray:
    """Where the camera looks at `times` (seconds), (frames, 4) float64: x, y, short side, angle in degrees."""
    x, y, short_side = VIEWS[kind]
    short_side *= rng.uniform(0.95, 1.2)
    sway = np.stack([drift(rng, times) for _ in range(4)], axis=1)
    return (x, y, short_side, 0) + sway * (0.10 * short_side, 0.05 * short_side, 0.15 * short_side, 3)


def scenes(video: SampleVideo, num_frames: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the scene of each frame; a fake's face is painted anew each time, before the camera sees it."""
    scene = make_scene(video.kind)
    if video.original is None:
        yield from (scene for _ in range(num_frames))
        return
    yield from swapped(np.random.default_rng([seed, *video.id.encode()]), scene, FACE, num_frames, make_fake_face)


def frames(video: SampleVideo, width: int, height: int, fps: int, num_frames: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames as planar YUV 4:2:0, (height * 3 / 2, width) uint8; `width` and `height` are even."""
    rng = np.random.default_rng([seed, *(video.original or video.id).encode()])
    times = np.arange(num_frames) / fps
    path = camera_path(rng, video.kind, times)
    yield from film(rng, scenes(video, num_frames, seed), path, width, height, times)


def write_video(root: Path, video: SampleVideo, width: int, height: int, fps: int, num_frames: int, seed: int) -> None:
    """Render one video below `root`, at first under a name that does not end in .mp4: no .mp4 is ever half written."""
    if video.kind == "upright":
        width, height = height, width
    path = root / video.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        encode(temporary, frames(video, width, height, fps, num_frames, seed), width, height, fps)


def check_arguments(root: Path, seconds: float, width: int, height: int, fps: int, seed: int) -> None:
    """Raise ValueError, in one line, for values that no video can have and for a `root` that holds other videos."""
    if width % 2 or height % 2 or not 64 <= height <= width <= 4096:
        raise ValueError(f"width and height must be even, 64 <= height <= width <= 4096, not {width}x{height}")
    if not (fps >= 1 and math.isfinite(seconds) and seconds * fps >= 1):
        raise ValueError(f"a video needs at least one frame, not {seconds} seconds at {fps} frames per second")
    check_root(root, seed, VIDEOS)


def make_sample_root(
    root: Path,
    seconds: float = 10.0,
    width: int = 1280,
    height: int = 720,
    fps: int = 30,
    seed: int = 777,
    videos: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the sample videos, or those with the ids in `videos`, and each part's metadata.json below `root`.

    Videos that are there already are kept, whatever their length, size and seed, unless `overwrite` is set. The
    upright video and its fakes swap `width` and `height`. Made for 16:9: much narrower frames cut the second face off.

    Returns the paths of the chosen videos, new and kept ones, in the order of VIDEOS.
    Raises ValueError for bad arguments and RuntimeError where ffmpeg fails or is missing.
    """
    if unknown := set(videos or ()) - {video.id for video in VIDEOS}:
        raise ValueError(f"no such sample video: {', '.join(sorted(unknown))}")
    check_arguments(root, seconds, width, height, fps, seed)
    rows = [video for video in VIDEOS if videos is None or video.id in videos]
    settings = (width, height, fps, round(seconds * fps), seed)
    return fill_root(root, rows, lambda row: write_video(root, row, *settings), overwrite, VIDEOS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 0, 1 if the root could not be built, 2 for bad arguments."""
    parser = Parser(prog="sample_videos", description="Build a small root of real and fake videos.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="data root to fill")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each video")
    parser.add_argument("--width", type=int, default=1280, help="in pixels")
    parser.add_argument("--height", type=int, default=720, help="in pixels")
    parser.add_argument("--seed", type=int, default=777, help="other seeds give other videos")
    parser.add_argument("--overwrite", action="store_true", help="render videos anew that are there already")
    return run_maker(parser, make_sample_root, argv)


if __name__ == "__main__":
    run_command(main)
