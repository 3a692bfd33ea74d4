"""Build a data root in the layout of the DFDC data set on which a small network can learn to tell real from fake.

    python -m demo.training_videos OUT_DIR [--pairs 60] [--seed 777] [--overwrite]

Every pair is a short video of the portrait of `demo.portrait` and one fake of it. The pairs differ in the
camera's place, distance and angle, in light and grain, and in which way the portrait faces. A fake's face has lost the
grain that the rest of the picture has, which a single frame shows; its colour says nothing, for as many faces become
brighter as darker. A third of the pairs are in part 0, which is fold 0: enough for validation.

A training set for a demonstration: all faces are one person's, so what is learned here says nothing about other videos.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser, positive_int
from common.errors import run_command
from common.files import replacing
from demo.portrait import FACE, MARGIN, SCALE, drift, encode, film, make_fake_face, make_scene, swapped
from demo.video_roots import SampleVideo, check_root, fill_root, run_maker

MAX_PAIRS = 1000
VALIDATION_PART = 0  # every third pair
TRAINING_PARTS = (3, 6, 9, 12, 15)  # the other pairs in turn; each part is another fold
# Six crops a video, every tenth frame, 170 to 260 pixels high: magnified more, no picture has fine detail to lose.
WIDTH, HEIGHT, FPS, NUM_FRAMES = 416, 320, 30, 54
SHORT_SIDE = 265  # units that the frame's short side spans at the middle distance
TREMBLE = 0.4  # see `swapped`; more would be noticed in the difference to the original, but not in a single frame
GRAIN = 6.5  # spread in gray levels before camera and encoder soften it
GAINS = (0.975, 1.033)  # of a fake face; above 1 on average, for `make_fake_face` rounds down


def video_id(number: int) -> str:
    """Ids of both kinds the data set knows, of reals and of fakes: every third is numeric, such as "004"."""
    if number % 3 == 1:
        return f"{number:03d}"
    letters = np.random.default_rng(number).integers(ord("a"), ord("z") + 1, 10)
    return bytes(letters.tolist()).decode()


@lru_cache(1)
def table() -> tuple[SampleVideo, ...]:
    """All videos there can be, each fake after its original. Ids and parts depend on a pair's place alone."""
    rows = []
    for pair in range(MAX_PAIRS):
        rest = pair - pair // 3 - 1
        part = TRAINING_PARTS[rest % len(TRAINING_PARTS)] if pair % 3 else VALIDATION_PART
        real, fake = video_id(2 * pair), video_id(2 * pair + 1)
        rows += [SampleVideo(real, part, None, "single"), SampleVideo(fake, part, real, "single")]
    return tuple(rows)


portrait_scene = lru_cache(1)(partial(make_scene, "single"))


def make_set(rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """A scene in its own light and grain, perhaps mirrored, and where its face is (x, y in units).

    The scene is (h, w, 3) uint8 BGR, SCALE pixels per unit.
    """
    scene = portrait_scene()
    height, width = scene.shape[:2]
    corners = rng.uniform(0.8, 1.15, (2, 2)).astype(np.float32) * rng.uniform(0.8, 1.05)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    # As fine as the frames can show. Unlike the camera's noise it moves with the scene, so that the encoder keeps it.
    grain = cv2.resize(rng.standard_normal((height // 2, width // 2), np.float32), (width, height))
    lit = scene * light[..., None] + GRAIN * rng.uniform(0.8, 1.2) * grain[..., None]
    scene = lit.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        return scene, FACE
    return np.ascontiguousarray(scene[:, ::-1]), (width // SCALE - 2 * MARGIN - FACE[0], FACE[1])


def camera_path(rng: np.random.Generator, face: tuple[int, int], times: np.ndarray) -> np.ndarray:
    """Where a camera near the face looks at `times` (seconds), (frames, 4) float64: x, y, short side, degrees."""
    short_side = SHORT_SIDE * rng.uniform(0.92, 1.2)
    offset = rng.uniform(-0.1, 0.1, 2) * short_side
    start = (face[0] + offset[0], face[1] + offset[1], short_side, rng.uniform(-12, 12))
    sway = np.stack([drift(rng, times) for _ in range(4)], axis=1)
    return start + sway * (0.05 * short_side, 0.04 * short_side, 0.06 * short_side, 4)


def soft_face(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    """A fake face of an own softness, brighter or darker with equal chances; `patch` is (p, p, 3) uint8."""
    return make_fake_face(rng, patch, reach=0.8, sharpness=rng.uniform(0.22, 0.3), gains=GAINS, tint=0.012)


def frames(video: SampleVideo, seed: int, num_frames: int = NUM_FRAMES) -> Iterator[np.ndarray]:
    """Yield the frames as planar YUV 4:2:0, (HEIGHT * 3 / 2, WIDTH) uint8."""
    # From its original's id a fake draws all but its face.
    rng = np.random.default_rng([seed, *(video.original or video.id).encode()])
    times = np.arange(num_frames) / FPS
    scene, face = make_set(rng)
    path = camera_path(rng, face, times)
    pictures = (scene for _ in times)
    if video.original is not None:
        face_rng = np.random.default_rng([seed, *video.id.encode()])
        pictures = swapped(face_rng, scene, face, num_frames, soft_face, TREMBLE)
    yield from film(rng, pictures, path, WIDTH, HEIGHT, times)


def write_video(root: Path, video: SampleVideo, seed: int) -> None:
    with replacing(root / video.path) as temporary:
        encode(temporary, frames(video, seed), WIDTH, HEIGHT, FPS)


def make_training_root(root: Path, pairs: int = 60, seed: int = 777, overwrite: bool = False) -> list[Path]:
    """Write the first `pairs` pairs and each part's metadata.json below `root`.

    Videos that are there already are kept, whatever their seed, unless `overwrite` is set; with more `pairs` than
    before, a root grows.

    Returns the paths of the pairs, new and kept ones: an original, its fake, the next original...
    Raises ValueError for bad arguments and RuntimeError where ffmpeg fails or is missing.
    """
    if not 1 <= pairs <= MAX_PAIRS:
        raise ValueError(f"pairs must be from 1 to {MAX_PAIRS}, not {pairs}")
    check_root(root, seed, table())
    return fill_root(root, table()[: 2 * pairs], lambda row: write_video(root, row, seed), overwrite, table())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 0, 1 if the root could not be built, 2 for bad arguments."""
    parser = Parser(prog="training_videos", description="Build a root of pairs of real and fake videos to train on.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="data root to fill")
    parser.add_argument("--pairs", type=positive_int, default=60, help="real videos, each with one fake")
    parser.add_argument("--seed", type=int, default=777, help="other seeds give other videos")
    parser.add_argument("--overwrite", action="store_true", help="render videos anew that are there already")
    return run_maker(parser, make_training_root, argv)


if __name__ == "__main__":
    run_command(main)
