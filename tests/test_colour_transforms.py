"""Each step of the augmentation that changes values, by itself: the noise and the three changes of colour."""

from itertools import product

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy.stats import kstest

from tests.transform_draws import draw, is_share, is_uniform
from training.transforms.albu import FancyPCA, GaussianNoise, HueSaturationValue, create_train_transforms


def training_step(kind):
    """The step of a kind, as it stands in the training transforms."""
    steps = create_train_transforms(64).transforms
    steps = [*steps, *(choice for step in steps if isinstance(step, A.OneOf) for choice in step.transforms)]
    return next(step for step in steps if isinstance(step, kind))


def always(kind, image, *, times, seed=0):
    """Images that a step of the training transforms makes when it is never left out."""
    step = training_step(kind)
    step.p = 1
    return [result for result, _ in draw(A.Compose([step]), image, times=times, seed=seed)]


def test_variance_of_the_noise_is_drawn_evenly_from_10_to_50():
    plain = np.full((48, 48, 3), 128, np.uint8)
    # Truncation to whole numbers adds a twelfth.
    variances = [image.var() - 1 / 12 for image in always(GaussianNoise, plain, times=2000)]
    assert min(variances) > 10 * 0.93 and max(variances) < 50 * 1.07
    assert is_uniform(variances, 10, 50)


def test_noise_is_gaussian_and_independent_in_every_pixel_and_channel():
    plain = np.full((100, 100, 3), 128, np.uint8)
    image = always(GaussianNoise, plain, times=1)[0].astype(np.float64)
    normal = (image - image.mean()) / image.std()
    assert abs((normal**4).mean() - 3) < 0.15  # kurtosis
    neighbours = [image[:, 1:], image[:, :-1]], [image[1:], image[:-1]], [image[..., 1:], image[..., :-1]]
    for one, other in neighbours:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03


def test_noise_is_the_same_in_every_frame_of_a_clip():
    step = GaussianNoise(p=1)
    first, second = (
        A.Compose([step], seed=seed)(images=np.full((3, 8, 8, 3), 128, np.uint8))["images"] for seed in (1, 2)
    )
    assert len(np.unique(first[0])) > 5 and not np.array_equal(first[0], second[0])
    assert all(np.array_equal(frame, first[0]) for frame in first)


def test_noise_is_clipped_and_not_wrapped():
    for value in (0, 255):
        for image in always(GaussianNoise, np.full((20, 20, 3), value, np.uint8), times=50):
            assert np.abs(image.astype(int) - value).max() < 60


def test_one_of_three_changes_of_colour_each_as_often_as_the_others():
    """Alone, each shows in its own way: equal values stay equal, or each channel moves as one, or neither."""
    image = np.random.default_rng(0).integers(95, 165, (32, 32, 3)).astype(np.uint8)
    image[:, :16, 0], image[:, :16, 1] = 20, 235  # red against green, so that their principal shifts differ
    image[:, 16:24, 0], image[:, 16:24, 1] = 235, 20
    counts = dict.fromkeys(("none", "brightness and contrast", "principal colours", "hue and saturation"), 0)
    middle = image[:, 24:]
    for made, _ in draw(A.Compose([training_step(A.OneOf)]), image, times=4000):
        changed = made[:, 24:]
        table = np.zeros(256, np.uint8)
        table[middle] = changed
        if np.array_equal(made, image):
            counts["none"] += 1
        elif np.array_equal(table[middle], changed):
            counts["brightness and contrast"] += 1
        elif not np.ptp(changed.astype(int) - middle, axis=(0, 1)).any():
            counts["principal colours"] += 1
        else:
            counts["hue and saturation"] += 1
    assert is_share(counts.pop("none"), 4000, 0.3)
    assert all(is_share(count, 4000, 0.7 / 3) for count in counts.values()), counts


def test_contrast_changes_by_a_fifth_and_brightness_by_a_fifth_of_white():
    image = np.arange(100, 156, dtype=np.uint8).repeat(6).reshape(-1, 8, 3)
    lines = [
        np.polyfit(image.ravel(), made.ravel().astype(float), 1)
        for made in always(A.RandomBrightnessContrast, image, times=1500)
    ]
    contrasts, offsets = np.array(lines).T
    offsets = offsets + 0.5  # values are truncated
    assert abs(contrasts - 1).max() < 0.21 and abs(offsets).max() < 0.2 * 255 + 2
    assert is_uniform(contrasts, 0.8, 1.2) and is_uniform(offsets, -51, 51)
    assert abs(np.corrcoef(contrasts, offsets)[0, 1]) < 0.1


def test_hue_saturation_and_value_move_by_20_30_and_20():
    hsv = np.array([174, 130, 200], np.uint8)  # a hue from which half of the draws go round the circle
    image = cv2.cvtColor(np.full((4, 4, 3), hsv, np.uint8), cv2.COLOR_HSV2RGB)
    moved = []
    for made in always(HueSaturationValue, image, times=1500):
        move = cv2.cvtColor(made, cv2.COLOR_RGB2HSV)[0, 0].astype(int) - hsv
        move[0] = (move[0] + 90) % 180 - 90
        moved.append(move)
    # What truncation took is put back at random.
    moved = np.array(moved) + np.random.default_rng(0).uniform(0, 1, (1500, 3))
    limits = np.array([20, 30, 20])
    assert (abs(moved) <= limits + 2).all()
    assert (np.ptp(moved, axis=0) > 1.9 * limits).all()
    assert all(is_uniform(column, -limit, limit) for column, limit in zip(moved.T, limits, strict=True))
    assert np.abs(np.corrcoef(moved.T) - np.eye(3)).max() < 0.1


def test_gray_gets_a_colour():
    gray = np.full((4, 4, 3), 128, np.uint8)
    assert any(np.ptp(made[0, 0]) > 5 for made in always(HueSaturationValue, gray, times=20))


@pytest.fixture(scope="module")
def three_axes():
    """(48, 48, 3) uint8 that varies strongly along three axes, and is 127 in one corner."""
    signs = np.random.default_rng(0).choice((-1, 1), (48, 48, 3))
    image = (127 + signs @ np.array([[90, 60, 25], [25, -50, 35], [-10, 10, 35]])).astype(np.uint8)
    image[:8, :8] = 127
    return image


def principal_directions(image):
    """What strength 1 adds to the channels, (4, 3), whichever way the axes point.

    Release 1.0.0 transposes the matrix of axes: a channel gets the sum of one axis, weighed with the variances of all.
    """
    pixels = image.reshape(-1, 3).astype(np.float64) / 255
    _, singular, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    variances = singular**2 / len(pixels)
    return [255 * np.array(signs) * (axes @ variances) for signs in product((1,), (1, -1), (1, -1))]


def test_principal_colours_shift_by_the_axes_of_the_crop_with_deviation_a_tenth(three_axes):
    corners = np.array(
        [made[:8, :8].reshape(-1, 3).astype(int) - 127 for made in always(FancyPCA, three_axes, times=800)]
    )
    assert not np.ptp(corners, axis=1).any()  # one shift for the whole crop
    strengths = []
    for direction in principal_directions(three_axes):
        # Truncated to whole numbers, each channel's shift leaves an interval of strengths; the three must meet.
        ends = np.sort([(corners[:, 0] - 0.02) / direction, (corners[:, 0] + 1.02) / direction], axis=0)
        low, high = ends[0].max(1), ends[1].min(1)
        if (low <= high).all():
            strengths.append(np.random.default_rng(0).uniform(low, high))
    assert len(strengths) == 1
    assert abs(strengths[0].mean()) < 4 * 0.1 / 800**0.5
    assert abs(strengths[0].std() / 0.1 - 1) < 4 / 1600**0.5
    assert kstest(strengths[0], "norm", args=(0, 0.1)).pvalue > 1e-3


def test_a_plain_crop_has_no_principal_colours():
    for value in (0, 77, 255):
        plain = np.full((30, 30, 3), value, np.uint8)
        assert all(np.abs(made.astype(int) - value).max() <= 1 for made in always(FancyPCA, plain, times=30))
