"""A real face blended into itself along its points: where, how much, and what is left as it was."""

import cv2
import numpy as np
import pytest

from tests.portrait_points import POINTS, portrait
from training.transforms.hull_blending import LEAST_VISIBLE, RATIOS, blend_by_hull

TIMES = 250


@pytest.fixture(scope="module")
def face():
    return portrait()


@pytest.fixture(scope="module")
def blends(face):
    before = face.copy()
    blends = [blend_by_hull(face, POINTS, np.random.default_rng(seed)) for seed in range(TIMES)]
    assert np.array_equal(face, before)
    return blends


def test_fake_and_real_are_crops_of_the_same_size(blends, face):
    for fake, real, mask in blends:
        assert fake.shape == real.shape == face.shape and mask.shape == face.shape[:2]
        assert fake.dtype == real.dtype == mask.dtype == np.uint8


def test_nothing_but_the_face_tells_the_fake_from_the_real_one(blends, face):
    for fake, real, mask in blends:
        assert np.array_equal(fake[mask == 0], real[mask == 0])
    outline = cv2.fillPoly(np.zeros(face.shape[:2], np.uint8), [cv2.convexHull(POINTS.astype(np.int32))], 1)
    around = cv2.dilate(outline, np.ones((41, 41), np.uint8))
    around[:103] = 1  # the forehead
    assert all(mask[around == 0].max(initial=0) < 30 for *_, mask in blends)


def test_every_fake_differs_visibly_from_its_real_one(blends):
    for fake, real, mask in blends:
        difference = np.abs(fake.astype(int) - real)
        assert difference[mask > 0].mean() > 0.8 * LEAST_VISIBLE  # of rounded pixels
        assert difference.mean() < 20


def test_about_half_of_the_reals_are_the_crop_itself_and_the_others_are_changed_as_a_whole(blends, face):
    untouched = [np.array_equal(blend.real, face) for blend in blends]
    # Texture fakes, a fifth, never change the surroundings.
    assert 0.5 < np.mean(untouched) < 0.7
    background = np.s_[:40, :40]
    assert sum((blend.real[background] != face[background]).any() for blend in blends) > 0.3 * TIMES


def test_blends_have_all_strengths(blends):
    most = np.array([mask.max() / 255 for *_, mask in blends])
    for ratio in set(RATIOS):
        assert (np.abs(most - ratio) < 0.01).sum() > TIMES / 20


def test_edges_are_hard_to_very_soft_and_regions_small_to_the_whole_face(blends):
    whole = cv2.contourArea(cv2.convexHull(POINTS.astype(np.int32)))
    areas = np.array([np.count_nonzero(mask > mask.max() / 2) for *_, mask in blends]) / whole
    assert areas.min() < 0.12 and areas.max() > 0.95
    # The share of a mask's pixels that are neither in nor out.
    soft = np.array(
        [np.mean((mask > 0.1 * mask.max()) & (mask < 0.9 * mask.max())) / (mask > 0).mean() for *_, mask in blends]
    )
    assert soft.min() < 0.15 and soft.max() > 0.5


def test_regions_are_bent_and_no_rectangles(blends):
    bent = 0
    for *_, mask in blends:
        region = (mask > mask.max() / 2).astype(np.uint8)
        _, _, width, height = cv2.boundingRect(region)
        assert np.count_nonzero(region) < 0.93 * width * height
        outline = cv2.convexHull(cv2.findNonZero(region))
        bent += np.count_nonzero(region) < 0.97 * np.count_nonzero(cv2.fillPoly(np.zeros_like(region), [outline], 1))
    assert bent > TIMES / 3


def test_no_black_comes_in_from_the_borders():
    grey = np.repeat(np.linspace(110, 150, 160).astype(np.uint8)[None, :, None], 220, axis=0).repeat(3, axis=2)
    for seed in range(100):
        fake, *_ = blend_by_hull(grey, POINTS - (45, 0), np.random.default_rng(seed))
        assert fake.min() > 60


def test_faces_that_reach_out_of_the_crop_are_blended(face):
    for seed in range(20):
        blend = blend_by_hull(face, POINTS * 2 - (90, 200), np.random.default_rng(seed))
        assert blend.fake.shape == face.shape and blend.mask.any()


@pytest.mark.parametrize("points", [POINTS + 1000, POINTS - 1000], ids=["below", "above"])
def test_no_face_in_the_crop_gives_none(face, points):
    assert blend_by_hull(face, points, np.random.default_rng(0)) is None


def test_points_in_one_place_are_no_error(face):
    for seed in range(20):
        blend_by_hull(face, np.full((68, 2), 80, np.int16), np.random.default_rng(seed))


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (9, 7)])
def test_tiny_crops_are_no_error(face, shape):
    tiny = cv2.resize(face, shape[::-1])
    for seed in range(20):
        blend_by_hull(tiny, POINTS * shape[1] // 160, np.random.default_rng(seed))


def test_seed_decides(face):
    one, same, other = (blend_by_hull(face, POINTS, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.fake, other.fake)
