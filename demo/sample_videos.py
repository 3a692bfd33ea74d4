"""Build a small data root in the layout of the DFDC data set, with real and fake videos of one portrait.

    python -m demo.sample_videos OUT_DIR [--seconds 10] [--width 1280] [--height 720] [--seed 777] [--overwrite]

Every video is the public-domain astronaut portrait of scikit-image (NASA, 1993) seen by a moving camera. A fake repeats
the camera, light and noise of its original frame by frame; only the face is exchanged for a warped, recoloured, softer
one that trembles under a soft mask. The same seed gives the same bytes for as long as the encoder is the same.

Lengths are in *units*, pixels of the 512x512 portrait, unless a name or docstring says otherwise.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from common.errors import Parser, run_command
from common.ffmpeg import ffmpeg_executable
from common.files import replacing


@dataclass(frozen=True)
class SampleVideo:
    """One row of the sample root: a real video if `original` is None, else a fake of the video with that id."""

    id: str
    part: int
    original: str | None
    kind: str  # key of VIEWS

    @property
    def path(self) -> Path:
        """Where the video lies below the data root."""
        return Path(f"dfdc_train_part_{self.part}", f"{self.id}.mp4")


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
FACELESS_TOP = 190  # the faceless portrait starts here, below the chin, which ends at 172
DOUBLE_CUT = 400  # the two-person portrait is the columns left of this one beside their mirror image
FACE = (224, 122)  # middle of the face
FACE_AXES = (37, 46)  # half axes of the ellipse that a fake replaces
PATCH = 72  # half side of the square around the face that a fake works on; wider than the soft mask reaches
SCALE = 2  # pixels of the enlarged scene per unit
MARGIN = 200  # background added on each side of the portrait
NOISE_SLACK = 64  # the noise tile exceeds the frame by this many pixels, so that each frame can take another window
WORKERS = 2  # videos rendered at a time
ENCODER_THREADS = 2  # fixed: the bytes depend on it


def drift(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Smooth values within [-1, 1] at `times` (seconds): slow sway with a little tremor of the hand."""
    periods = rng.uniform((7.0, 3.0, 0.6), (12.0, 5.0, 0.9))
    phases = rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * times[:, None] / periods + phases) @ (0.68, 0.28, 0.02)


def camera_path(rng: np.random.Generator, kind: str, times: np.ndarray) -> np.ndarray:
    """Where the camera looks at `times` (seconds), (frames, 4) float64: x, y, short side, angle in degrees."""
    x, y, short_side = VIEWS[kind]
    short_side *= rng.uniform(0.95, 1.2)
    sway = np.stack([drift(rng, times) for _ in range(4)], axis=1)
    return (x, y, short_side, 0) + sway * (0.10 * short_side, 0.05 * short_side, 0.15 * short_side, 3)


def make_portrait(kind: str) -> np.ndarray:
    """The portrait for one kind of video, (h, w, 3) uint8 BGR, one pixel per unit."""
    from skimage import data

    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    if kind == "faceless":
        return portrait[FACELESS_TOP:]
    if kind == "double":
        return np.hstack([portrait[:, :DOUBLE_CUT], portrait[:, DOUBLE_CUT - 1 :: -1]])
    return portrait


def make_scene(kind: str) -> np.ndarray:
    """The enlarged portrait amid a blurred continuation of its edges, uint8 BGR, SCALE pixels per unit."""
    portrait = cv2.resize(make_portrait(kind), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    margin = SCALE * MARGIN
    # Mirrored sideways, but not upwards: a second head of hair would hang from the ceiling.
    scene = cv2.copyMakeBorder(portrait, 0, 0, margin, margin, cv2.BORDER_REFLECT)
    scene = cv2.copyMakeBorder(scene, margin, margin, 0, 0, cv2.BORDER_REPLICATE)
    # The soft edge lies wholly inside the portrait, so that no hard line shows.
    edge = SCALE * 12
    inside = np.zeros((*scene.shape[:2], 1), np.float32)
    inside[margin + edge : -margin - edge, margin + edge : -margin - edge] = 1
    inside = cv2.blur(inside, (2 * edge - 1, 2 * edge - 1))[..., None]
    blurred = cv2.GaussianBlur(scene, (0, 0), edge / 2)
    return (scene * inside + blurred * (1 - inside)).round().astype(np.uint8)


def make_fake_face(
    rng: np.random.Generator,
    patch: np.ndarray,
    reach: float = 6,
    sharpness: float = 0.4,
    gains: tuple[float, float] = (0.86, 1.06),
    tint: float = 0.04,
) -> np.ndarray:
    """Turn the square around the face, (p, p, 3) uint8, into somebody else's: warped, recoloured and less sharp.

    `reach` is how far the warp may shift, in units; `sharpness` the resolution kept, as a share of the scene's; `gains`
    bounds what the brightness is multiplied by, `tint` how far each channel then departs from it.
    """
    side = len(patch)
    shifts = rng.uniform(-reach, reach, (2, 4, 4)).astype(np.float32) * SCALE
    dx, dy = (cv2.resize(shift, (side, side), interpolation=cv2.INTER_CUBIC) for shift in shifts)
    ys, xs = np.mgrid[:side, :side].astype(np.float32)
    warped = cv2.remap(patch, xs + dx, ys + dy, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(warped, None, fx=sharpness, fy=sharpness, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    gain = rng.uniform(*gains) * rng.uniform(1 - tint, 1 + tint, 3)
    return (soft * gain).clip(0, 255).astype(np.uint8)


def scenes(video: SampleVideo, num_frames: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the scene of each frame; a fake's face is painted anew each time, before the camera sees it."""
    scene = make_scene(video.kind)
    if video.original is None:
        yield from (scene for _ in range(num_frames))
        return
    yield from swapped(np.random.default_rng([seed, *video.id.encode()]), scene, FACE, num_frames, make_fake_face)


def swapped(
    rng: np.random.Generator,
    scene: np.ndarray,
    face: tuple[int, int],
    num_frames: int,
    make_face: Callable[[np.random.Generator, np.ndarray], np.ndarray],
    tremble: float = 1,
) -> Iterator[np.ndarray]:
    """Yield `scene` `num_frames` times, each time with the face at `face` (x, y in units) painted over in place.

    `tremble` is how much the painted face moves and flickers, relative to the sample videos.
    """
    left, top = ((MARGIN + middle - PATCH) * SCALE for middle in face)
    patch = scene[top : top + 2 * PATCH * SCALE, left : left + 2 * PATCH * SCALE]
    middle = (PATCH * SCALE, PATCH * SCALE)
    real, mask = patch.copy(), np.zeros(patch.shape, np.float32)
    cv2.ellipse(mask, middle, (FACE_AXES[0] * SCALE, FACE_AXES[1] * SCALE), 0, 0, 360, (1, 1, 1), cv2.FILLED)
    mask = cv2.GaussianBlur(mask, (0, 0), 4 * SCALE)
    fake = make_face(rng, real)
    for _ in range(num_frames):
        jitter = cv2.getRotationMatrix2D(middle, rng.normal(0, 0.6 * tremble), rng.normal(1, 0.008 * tremble))
        jitter[:, 2] += rng.normal(0, 0.5 * SCALE * tremble, 2)
        face = cv2.warpAffine(fake, jitter, fake.shape[:2], borderMode=cv2.BORDER_REFLECT)
        face = face * rng.normal(1, 0.015 * tremble)
        patch[:] = (real + mask * (face - real)).clip(0, 255).round()
        yield scene


def frames(video: SampleVideo, width: int, height: int, fps: int, num_frames: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames as planar YUV 4:2:0, (height * 3 / 2, width) uint8; `width` and `height` are even."""
    rng = np.random.default_rng([seed, *(video.original or video.id).encode()])
    times = np.arange(num_frames) / fps
    path = camera_path(rng, video.kind, times)
    yield from film(rng, scenes(video, num_frames, seed), path, width, height, times)


def film(
    rng: np.random.Generator,
    pictures: Iterator[np.ndarray],
    path: np.ndarray,
    width: int,
    height: int,
    times: np.ndarray,
) -> Iterator[np.ndarray]:
    """What a camera on `path` (see `camera_path`) makes of a scene a frame, with its light and noise; see `frames`."""
    gains = (0.97 + 0.13 * drift(rng, times))[:, None] * rng.uniform(0.95, 1.05, 3)
    strengths = 0.18 + 0.1 * drift(rng, times)
    noise = rng.standard_normal((height + NOISE_SLACK, width + NOISE_SLACK), np.float32)
    # int8, spread of about 15 gray levels
    noise = (cv2.GaussianBlur(noise, (0, 0), 0.6) * 30).round().clip(-127, 127).astype(np.int8)
    for i, scene in enumerate(pictures):
        x, y, short_side, angle = path[i]
        middle = np.array([MARGIN + x, MARGIN + y]) * SCALE
        camera = cv2.getRotationMatrix2D(middle, angle, min(width, height) / (short_side * SCALE))
        camera[:, 2] += (width, height) / np.array(2) - middle
        frame = cv2.warpAffine(scene, camera, (width, height), borderMode=cv2.BORDER_REPLICATE)
        light = (np.arange(256)[:, None] * gains[i]).clip(0, 255).round().astype(np.uint8)
        yuv = cv2.cvtColor(cv2.LUT(frame, light[None]), cv2.COLOR_BGR2YUV_I420)
        # Noise on luma only: most of what 4:2:0 leaves of a sensor's noise, at a third of the cost.
        top, left = rng.integers(0, NOISE_SLACK + 1, 2)
        grain = noise[top : top + height, left : left + width]
        yuv[:height] = cv2.addWeighted(yuv[:height], 1, grain, strengths[i], 0, dtype=cv2.CV_8U)
        yield yuv


def encode(
    path: Path, pictures: Iterator[np.ndarray], width: int, height: int, fps: int, threads: int = ENCODER_THREADS
) -> None:
    """Write planar YUV 4:2:0 pictures as an H.264 MP4 file. Raises RuntimeError with ffmpeg's last words."""
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    target = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-threads", str(threads), "-f", "mp4"]
    command = [ffmpeg_executable(), "-loglevel", "error", "-y", *source, *target, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for picture in pictures:
            process.stdin.write(picture.data)
    except BrokenPipeError:
        pass  # ffmpeg has given up; its status and message follow
    finally:
        message = process.communicate()[1].decode(errors="replace").strip().replace("\n", "; ")
    if process.returncode:
        raise RuntimeError(f"ffmpeg failed on {path}: {message}")


def write_video(root: Path, video: SampleVideo, width: int, height: int, fps: int, num_frames: int, seed: int) -> None:
    """Render one video below `root`, at first under a name that does not end in .mp4: no .mp4 is ever half written."""
    if video.kind == "upright":
        width, height = height, width
    path = root / video.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        encode(temporary, frames(video, width, height, fps, num_frames, seed), width, height, fps)


def write_metadata(folder: Path, table: Sequence[SampleVideo] = VIDEOS) -> None:
    """Describe those videos of `table` that lie in the part `folder`; a metadata.json that is right stays untouched."""
    entries = {}
    for video in table:
        if video.path.parent.name == folder.name and (folder / video.path.name).exists():
            original = {"original": f"{video.original}.mp4"} if video.original else {}
            entries[video.path.name] = {"label": "FAKE" if original else "REAL", "split": "train", **original}
    path, text = folder / "metadata.json", json.dumps(entries, indent=1)
    if not path.exists() or path.read_text() != text:
        with replacing(path) as temporary:
            temporary.write_text(text)


def check_arguments(root: Path, seconds: float, width: int, height: int, fps: int, seed: int) -> None:
    """Raise ValueError, in one line, for values that no video can have and for a `root` that holds other videos."""
    if width % 2 or height % 2 or not 64 <= height <= width <= 4096:
        raise ValueError(f"width and height must be even, 64 <= height <= width <= 4096, not {width}x{height}")
    if not (fps >= 1 and math.isfinite(seconds) and seconds * fps >= 1):
        raise ValueError(f"a video needs at least one frame, not {seconds} seconds at {fps} frames per second")
    check_root(root, seed)


def check_root(root: Path, seed: int, table: Sequence[SampleVideo] = VIDEOS) -> None:
    """Raise ValueError, in one line, for a negative seed and for a `root` that holds other videos than `table`."""
    if seed < 0:
        raise ValueError(f"the seed must not be negative, not {seed}")
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    # Another data set's metadata.json must not be replaced.
    ours = {root / video.path for video in table}
    if others := set(root.glob("dfdc_train_part_*/*.mp4")) - ours:
        raise ValueError(f"{min(others)} is no sample video: choose an empty folder")


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
    return fill_root(root, rows, lambda row: write_video(root, row, *settings), overwrite)


def fill_root(
    root: Path,
    rows: Sequence[SampleVideo],
    write: Callable[[SampleVideo], None],
    overwrite: bool,
    table: Sequence[SampleVideo] = VIDEOS,
) -> list[Path]:
    """`write` those of `rows` that are not there, or all with `overwrite`, and describe their parts from `table`.

    Returns the paths of all `rows`, in their order.
    """
    todo = [row for row in rows if overwrite or not (root / row.path).exists()]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(tqdm(pool.map(write, todo), total=len(todo), desc="videos", unit="video", disable=not todo))
    for folder in {root / row.path.parent for row in rows}:
        write_metadata(folder, table)
    return [root / row.path for row in rows]


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


def run_maker(parser: Parser, make: Callable[..., list[Path]], argv: Sequence[str] | None) -> int:
    """Build a root with `make` from the options of `parser`, and say in one line what it wrote."""
    args = vars(parser.parse_args(argv))
    root = args.pop("out_dir")
    before = set() if args["overwrite"] else set(root.glob("*/*.mp4"))
    try:
        paths = make(root, **args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    kept = len(before.intersection(paths))
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{root}: {len(paths) - kept} videos written, {kept} kept, {size:.1f} MB in all")
    return 0


if __name__ == "__main__":
    run_command(main)
