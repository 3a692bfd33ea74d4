"""H.264 of a single crop: lossy, of the same size, and the same for the same draws."""

import cv2
import numpy as np
import pytest

from tests.portrait_points import portrait
from training.transforms.video_compression import CRF, as_predicted_frame, compress_as_video

STILL, NO_PHASE = np.zeros((2, 2), int), np.zeros(2, int)
MOTION = np.array([[1, 2], [-3, 1]])


@pytest.fixture(scope="module")
def face():
    return portrait()


def error(image, other):
    return np.abs(image.astype(int) - other).mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 2), (17, 31), (120, 91), (121, 90), (224, 224)])
def test_size_stays_whatever_it_is(face, shape):
    image = cv2.resize(face, shape[::-1])
    for seed in range(3):
        compressed = compress_as_video(image, np.random.default_rng(seed))
        assert compressed.shape == image.shape and compressed.dtype == np.uint8


def test_crop_keeps_its_place_and_colours(face):
    for phase in ((0, 0), (5, 0), (0, 11), (15, 15)):
        compressed = as_predicted_frame(face, 20, np.array(phase), MOTION)
        assert 0 < error(compressed, face) < 5
        moved = [error(np.roll(compressed, step, axis), face) for axis in (0, 1) for step in (-1, 1)]
        assert error(compressed, face) < min(moved)
        assert np.abs(compressed.mean((0, 1)) - face.mean((0, 1))).max() < 2


def test_higher_rate_factors_lose_more(face):
    errors = [error(as_predicted_frame(face, crf, NO_PHASE, MOTION), face) for crf in (20, 26, 32, 37, 42)]
    assert errors == sorted(errors) and errors[-1] > 1.5 * errors[0]


def test_crop_is_predicted_from_the_frames_before(face):
    """What a frame before it showed shines through where the rate is too low to correct it."""
    alone = as_predicted_frame(face, 42, NO_PHASE, np.zeros((0, 2), int))
    after = as_predicted_frame(face, 42, NO_PHASE, MOTION)
    again = as_predicted_frame(face, 42, NO_PHASE, STILL)
    assert not np.array_equal(alone, after) and not np.array_equal(after, again)


def test_blocks_lie_where_the_phase_says(face):
    # Flat blocks of 16 end at the grid: shifted by the phase, steps between neighbours are largest elsewhere.
    rng = np.random.default_rng(0)
    noisy = np.clip(cv2.resize(face, (160, 160)) + rng.normal(0, 12, (160, 160, 1)), 0, 255).astype(np.uint8)
    steps = []
    for left in (0, 3):
        compressed = as_predicted_frame(noisy, 42, np.array((0, left)), STILL).astype(int)
        across = np.abs(np.diff(compressed.sum(2), axis=1)).mean(0)
        steps.append([across[(15 - shift) % 8 :: 8].mean() for shift in range(8)])
    assert [int(np.argmax(step)) for step in steps] == [0, 3]


def test_rate_factors_from_20_to_42_are_drawn(face, monkeypatch):
    from training.transforms import video_compression

    drawn = []
    monkeypatch.setattr(video_compression, "as_predicted_frame", lambda image, crf, phase, motion: drawn.append(crf))
    rng = np.random.default_rng(0)
    for _ in range(600):
        compress_as_video(face, rng)
    assert set(drawn) == set(range(20, 43)) and CRF == (20, 42)


def test_seed_decides(face):
    before = face.copy()
    one, same, other = (compress_as_video(face, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(face, before)
