"""What the generated videos show and how it is filmed: a portrait, a fake face in it, a moving camera, the encoder.

The portrait is the public-domain astronaut of scikit-image (NASA, 1993). Everything that chance decides is drawn from
the generator that the caller gives.

Lengths are in *units*, pixels of the 512x512 portrait, unless a name or docstring says otherwise.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from common.ffmpeg import ffmpeg_executable

FACELESS_TOP = 190  # the faceless portrait starts here, below the chin, which ends at 172
DOUBLE_CUT = 400  # the two-person portrait is the columns left of this one beside their mirror image
FACE = (224, 122)  # middle of the face
FACE_AXES = (37, 46)  # half axes of the ellipse that a fake replaces
PATCH = 72  # half side of the square around the face that a fake works on; wider than the soft mask reaches
SCALE = 2  # pixels of the enlarged scene per unit
MARGIN = 200  # background added on each side of the portrait
NOISE_SLACK = 64  # the noise tile exceeds the frame by this many pixels, so that each frame can take another window
ENCODER_THREADS = 1  # with more, one video in dozens comes out with other bytes than the last time


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


def drift(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Smooth values within [-1, 1] at `times` (seconds): slow sway with a little tremor of the hand."""
    periods = rng.uniform((7.0, 3.0, 0.6), (12.0, 5.0, 0.9))
    phases = rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * times[:, None] / periods + phases) @ (0.68, 0.28, 0.02)


def film(
    rng: np.random.Generator,
    pictures: Iterator[np.ndarray],
    path: np.ndarray,
    width: int,
    height: int,
    times: np.ndarray,
) -> Iterator[np.ndarray]:
    """What a camera makes of `pictures`, a scene for each frame, with its light and noise.

    `path` is where it looks at `times` (seconds), (frames, 4): x, y, short side of the frame, angle in degrees. Yields
    planar YUV 4:2:0, (height * 3 / 2, width) uint8; `width` and `height` are even.
    """
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


def encode(path: Path, pictures: Iterator[np.ndarray], width: int, height: int, fps: int) -> None:
    """Write planar YUV 4:2:0 pictures as an H.264 MP4 file. Raises RuntimeError with ffmpeg's last words."""
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    target = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-threads", str(ENCODER_THREADS), "-f", "mp4"]
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
