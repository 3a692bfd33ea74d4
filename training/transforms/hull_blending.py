"""Self-blending along the 68 points of a face: fakes of many kinds whose only clue is how a face was put in.

The idea is that of Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images" (2022): one crop is both the
picture and the face that goes into it, so nothing but the difference made here, and its edge, tells the fake from the
real crop. Images are (h, w, 3) uint8 RGB; nothing is changed in place.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

TEXTURE_P = 0.2  # the face is only smoothed where it is, as re-rendered mouths and expressions are
COLOUR_P, SHARPNESS_P, JPEG_P = 0.7, 0.6, 0.2
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
LEAST_VISIBLE = 2.0  # grey levels between fake and real, on average over the mask
TRIES = 6

# Shares of the face's width
SHIFT, WAVES, MASK_WAVES, SOFTNESS = 0.03, 0.025, 0.06, (0.004, 0.12)
SCALE = (0.95, 1.05)
MASK_SCALE, MASK_TURN = (0.85, 1.1), 5.0  # degrees

JAW, BROWS, NOSE, EYES, LIPS = range(17), range(17, 27), range(27, 36), range(36, 48), range(48, 60)
NOSE_TIP = 30
FOREHEAD = 0.7  # of the way from the nose's tip to the brows, added above these
ROUND_MOUTH = 1.35


class Blend(NamedTuple):
    """A fake, what it would be without the face put in, and where that is: (h, w) uint8, 255 where it is opaque."""

    fake: np.ndarray
    real: np.ndarray
    mask: np.ndarray


def blend_by_hull(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Blend | None:
    """The crop blended into itself; `points` (68, 2) are dlib's, x and y.

    Where the mask is 0, fake and real are equal. The real one is the crop itself or, if the surroundings were changed
    and not the face, the crop so changed. Differences too small to be seen are drawn again, a few times. None if no
    part of the face is in the crop.
    """
    width = np.ptp(points[:, 0]) + 1.0
    best, most = None, 0.0
    for _ in range(TRIES):
        blend, visible = _drawn(image, points, width, rng)
        if visible > most:
            best, most = blend, visible
        if visible >= LEAST_VISIBLE:
            break
    return best


def _drawn(image: np.ndarray, points: np.ndarray, width: float, rng: np.random.Generator) -> tuple[Blend, float]:
    """A blend, and how many grey levels fake and real differ by on average where there is a mask."""
    weights = _mask(image.shape[:2], points, width, rng) * np.float32(rng.choice(RATIOS))
    if rng.random() < TEXTURE_P:
        face, real = _smoothed(image, rng), image
    else:
        changed = _of_another_look(image, rng)
        face, real = (changed, image) if rng.random() < 0.5 else (image, changed)
        face = _moved(face, points, width, rng)
    difference = face.astype(np.float32) - real
    difference *= weights[..., None]
    fake = np.rint(difference + real).astype(np.uint8)
    visible = float(np.abs(difference).sum()) / (3 * max(np.count_nonzero(weights), 1))
    return Blend(fake, real, np.rint(weights * 255).astype(np.uint8)), visible


# --- where ---


def _mask(shape: tuple[int, int], points: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """(h, w) float32, 1 inside one of several hulls of the face, deformed, its edge hard to very soft."""
    outline = REGIONS[rng.integers(len(REGIONS))](points.astype(np.float64))
    middle = outline.mean(axis=0)
    turn = cv2.getRotationMatrix2D((0, 0), rng.uniform(-MASK_TURN, MASK_TURN), 1)[:, :2]
    outline = (outline - middle) * rng.uniform(*MASK_SCALE, size=2) @ turn + middle
    outline += rng.uniform(-SHIFT, SHIFT, size=2) * width
    hull = cv2.convexHull(outline.astype(np.float32)).astype(np.int32)
    mask = cv2.fillPoly(np.zeros(shape, np.uint8), [hull], 255)
    mask = cv2.remap(mask, *_waves(shape, MASK_WAVES * width, rng), cv2.INTER_LINEAR)
    low, high = SOFTNESS
    reach = width * low * (high / low) ** rng.random()
    return _softened(mask, max(round(reach), 1)).astype(np.float32) / 255


def _softened(mask: np.ndarray, reach: int) -> np.ndarray:
    """The mask with an edge of some `reach` pixels, most of it inside; box filters cost the same at any width."""
    side = 2 * reach + 1
    mask = cv2.erode(mask, np.ones((reach, reach), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return cv2.blur(cv2.blur(mask, (side, side)), (side, side))


def _whole_face(points: np.ndarray) -> np.ndarray:
    up = points[BROWS].mean(axis=0) - points[NOSE_TIP]
    return np.concatenate([points[JAW], points[BROWS], points[BROWS] + FOREHEAD * up])


def _mouth(points: np.ndarray) -> np.ndarray:
    lips = points[LIPS]
    return (lips - lips.mean(axis=0)) * (ROUND_MOUTH, 1.2 * ROUND_MOUTH) + lips.mean(axis=0)


REGIONS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    _whole_face,
    lambda points: points[[*JAW, *BROWS]],
    lambda points: points[[*JAW[2:15], *NOSE[1:]]],  # below the eyes
    lambda points: points[[*EYES, *NOSE, *LIPS, *BROWS]],
    _mouth,
)


# --- what ---


def _of_another_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image in slightly other colours, of another sharpness, or compressed: at least one of them."""
    colour, sharpness, jpeg = rng.random(3) < (COLOUR_P, SHARPNESS_P, JPEG_P)
    if colour or not (sharpness or jpeg):
        image = _recoloured(image, rng)
    if sharpness:
        image = _of_another_sharpness(image, rng)
    return _compressed(image, rng) if jpeg else image


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One or more of: RGB shift +-15; hue +-6 degrees, saturation +-15 %; brightness and contrast +-12 %."""
    shift, hue, brightness = rng.random(3) < 0.5
    if hue or not (shift or brightness):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        steps = np.arange(256.0)
        table = np.stack([(steps + rng.integers(-3, 4)) % 180, steps * rng.uniform(0.85, 1.15), steps], axis=1)
        image = cv2.cvtColor(cv2.LUT(hsv, _table(table)), cv2.COLOR_HSV2RGB)
    if shift or brightness:
        values = np.arange(256.0)[:, None] + (rng.uniform(-15, 15, size=3) if shift else np.zeros(3))
        if brightness:
            gain, middle = rng.uniform(0.88, 1.12), float(image.mean())
            values = (values - middle) * gain + middle + rng.uniform(-0.12, 0.12) * 100
        image = cv2.LUT(image, _table(values))
    return image


def _table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)[None]


def _of_another_sharpness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.integers(3)
    if kind == 0:
        return _downscaled_and_back(image, rng.uniform(2, 4), rng)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.5))
    if kind == 1:
        return blurred
    amount = rng.uniform(0.5, 1.5)
    return cv2.addWeighted(image, 1 + amount, blurred, -amount, 0)


def _smoothed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image low-passed, or synthesised again from fewer pixels."""
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 4))
    if kind == 1:
        return cv2.medianBlur(image, int(rng.choice((5, 7, 9))))
    return _downscaled_and_back(image, rng.uniform(2.5, 5), rng)


def _downscaled_and_back(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    small = max(round(width / factor), 1), max(round(height / factor), 1)
    down = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)[rng.choice(3, p=(0.5, 0.4, 0.1))]
    up = (cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)[rng.integers(3)]
    return cv2.resize(cv2.resize(image, small, interpolation=down), (width, height), interpolation=up)


def _compressed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 91))])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)


# --- moved ---


def _moved(image: np.ndarray, points: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """The image shifted and scaled around the face by a few percent, and bent; its borders are mirrored."""
    middle = points.mean(axis=0)
    shift, scale = rng.uniform(-SHIFT, SHIFT, size=2) * width, rng.uniform(*SCALE, size=2)
    x, y = _waves(image.shape[:2], WAVES * width * rng.random(), rng)
    x = (x - np.float32(middle[0])) * np.float32(scale[0]) + np.float32(middle[0] + shift[0])
    y = (y - np.float32(middle[1])) * np.float32(scale[1]) + np.float32(middle[1] + shift[1])
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _waves(shape: tuple[int, int], amplitude: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y (h, w) float32, when the picture is bent smoothly by up to `amplitude`."""
    height, width = shape
    cells = int(rng.integers(4, 9))
    bends = rng.uniform(-amplitude, amplitude, size=(cells, cells, 2)).astype(np.float32)
    bends = cv2.resize(bends, (width, height), interpolation=cv2.INTER_CUBIC)
    x = bends[..., 0] + np.arange(width, dtype=np.float32)
    y = bends[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y
