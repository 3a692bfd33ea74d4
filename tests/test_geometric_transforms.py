"""Each step of the augmentation that moves pixels, by itself: resize, shift, scale, turns and windows."""

from itertools import product

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import pytest

from tests.transform_draws import CROP_HEIGHT, CROP_WIDTH, SIZE, colours, detailed_crop, draw, is_share, is_uniform
from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.tools.config import Augmentation
from training.transforms.albu import (
    RandomSizedCropNonEmptyMaskIfExists,
    Resize4xAndBack,
    create_train_transforms,
    create_val_transforms,
)


def test_resized_area_down_cubic_up_and_masks_nearest():
    for height, width in ((41, 29), (150, 97)):
        image, mask = colours(height, width), np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
        result = create_val_transforms(SIZE)(image=image, mask=mask)
        columns = int(width * SIZE / height)
        left = (SIZE - columns) // 2
        method = cv2.INTER_AREA if height > SIZE else cv2.INTER_CUBIC
        for made, source, interpolation in (("image", image, method), ("mask", mask, cv2.INTER_NEAREST)):
            resized = cv2.resize(source, (columns, SIZE), interpolation=interpolation)
            expected = np.zeros((SIZE, SIZE, *source.shape[2:]), np.uint8)
            expected[:, left : left + columns] = resized
            assert np.array_equal(result[made], expected)


def blobs(size):
    """Four small squares of different values around the middle: (size, size) uint8, and their (4, 2) centres x, y."""
    mask, quarter = np.zeros((size, size), np.uint8), size // 4
    centres = [(x, y) for y in (quarter, 3 * quarter) for x in (quarter, 3 * quarter)]
    for value, (x, y) in enumerate(centres, 1):
        mask[y - 6 : y + 7, x - 6 : x + 7] = 50 * value
    return mask, np.array(centres, dtype=float)


def centres_of(mask):
    """Centres of the four squares, (4, 2) x, y."""
    return np.array([np.argwhere(mask == 50 * value).mean(0)[::-1] for value in (1, 2, 3, 4)])


@pytest.fixture(scope="module")
def motions():
    """Where the training transforms take points: (n, 2, 2) linear parts and (n, 2) shifts of the middle, in pixels.

    Without the runs that leave everything in place; a mirror image is taken back first.
    """
    size = 128
    mask, centres = blobs(size)
    middle = np.full(2, (size - 1) / 2)
    linear, shifts = [], []
    for _, moved in draw(create_train_transforms(size), np.zeros((size, size, 3), np.uint8), mask, times=2500):
        assert set(np.unique(moved)) <= {0, 50, 100, 150, 200}  # nearest neighbour
        landed = centres_of(moved)
        start = centres.copy()
        if np.linalg.det(np.array([landed[1] - landed[0], landed[2] - landed[0]])) < 0:
            start[:, 0] = size - 1 - start[:, 0]
        if np.allclose(landed, start):
            continue
        design = np.column_stack([start - middle, np.ones(4)])
        solution, *_ = np.linalg.lstsq(design, landed - middle, rcond=None)
        assert np.abs(design @ solution - (landed - middle)).max() < 0.75
        linear.append(solution[:2].T)
        shifts.append(solution[2])
    return np.array(linear), np.array(shifts)


def test_rotation_is_within_10_degrees_and_scale_within_a_fifth(motions):
    linear, _ = motions
    angles = np.degrees(np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1]))
    scales = np.sqrt(np.linalg.det(linear))
    for along, matrix, scale in zip(np.radians(angles), linear, scales, strict=True):
        turn = scale * np.array([[np.cos(along), -np.sin(along)], [np.sin(along), np.cos(along)]])
        assert np.abs(matrix - turn).max() < 0.02  # neither sheared nor stretched
    assert abs(angles).max() < 10.4 and abs(scales - 1).max() < 0.207
    assert is_uniform(angles, -10, 10) and is_uniform(scales, 0.8, 1.2)


def test_shift_of_the_middle_is_within_a_tenth_of_the_side(motions):
    linear, shifts = motions
    shares = shifts / 128
    assert abs(shares).max() < 0.104
    assert is_uniform(shares[:, 0], -0.1, 0.1) and is_uniform(shares[:, 1], -0.1, 0.1)
    drawn = np.column_stack([shares, linear[:, 0, 0], linear[:, 1, 0]])
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.12


def test_resize_and_back_loses_detail_by_two_or_four_in_one_of_three_ways():
    crop, possible = detailed_crop(), {}
    for factor, back in product((2, 4), (cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_NEAREST)):
        small = cv2.resize(crop, (CROP_WIDTH // factor, CROP_HEIGHT // factor), interpolation=cv2.INTER_AREA)
        possible[cv2.resize(small, (CROP_WIDTH, CROP_HEIGHT), interpolation=back).tobytes()] = 0
    for made, mask in draw(A.Compose([Resize4xAndBack(p=1)]), crop, np.full(crop.shape[:2], 9, np.uint8), times=1200):
        possible[made.tobytes()] += 1
        assert (mask == 9).all()
    assert len(possible) == 6 and all(is_share(count, 1200, 1 / 6) for count in possible.values())


def numbered(height, width):
    """A picture in which every pixel tells its row and its column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shape", [(100, 80), (40, 120), (2, 3), (1, 1)])
def test_window_holds_some_of_the_mask(shape):
    height, width = shape
    image, rng = numbered(height, width), np.random.default_rng(0)
    transforms = A.Compose([RandomSizedCropNonEmptyMaskIfExists((0.3, 0.9), (0.7, 1.3), p=1)])
    for seed in range(40):
        mask = np.zeros(shape, np.uint8)
        mask[rng.integers(height), rng.integers(width)] = 200
        for made, window in draw(transforms, image, mask, times=10, seed=seed):
            assert window.max() == 200
            (top, left), (rows, columns) = made[0, 0, :2].astype(int), window.shape
            assert np.array_equal(made, image[top : top + rows, left : left + columns])
            assert np.array_equal(window, mask[top : top + rows, left : left + columns])


def test_window_without_a_mask_goes_everywhere_within_its_bounds():
    image = numbered(100, 80)
    transforms = A.Compose([RandomSizedCropNonEmptyMaskIfExists((0.3, 0.9), (0.7, 1.3), p=1)])
    seen, heights, ratios = np.zeros((100, 80), int), [], []
    for made, _ in draw(transforms, image, times=1500):
        rows, columns = made.shape[:2]
        heights.append(rows)
        if columns < 80:
            ratios.append(columns / (rows * 0.8))
        top, left = made[0, 0, :2].astype(int)
        seen[top : top + rows, left : left + columns] += 1
    assert is_uniform(np.array(heights) + np.random.default_rng(0).uniform(-0.5, 0.5, 1500), 29.5, 90.5)
    assert 0.68 < min(ratios) < 0.74 and 1.22 < max(ratios) < 1.33
    assert seen.min() > 0


def test_quarter_turns_go_each_way_as_often(tmp_path):
    """Above the middle the crop is bright, and a mirror image keeps it so: the turn shows where the light went."""
    (tmp_path / "crops" / "004").mkdir(parents=True)
    image = np.full((64, 64, 3), 40, np.uint8)
    image[:32] = 220
    cv2.imwrite(str(tmp_path / "crops" / "004" / "0_0.png"), image)
    row = {"video": "004", "file": "0_0.png", "label": 0, "original": "004", "frame": 0, "fold": 1}
    dataset = DeepFakeClassifierDataset(
        pd.DataFrame([row] * 400), tmp_path, size=64, hardcore=False, augmentation=Augmentation(quarter_turns=1)
    )
    counts = [0] * 4
    for position in range(400):
        item = dataset[0, position]
        picture = item["image"][0].numpy()
        down = float(picture[40:50, 20:44].mean() - picture[14:24, 20:44].mean())
        right = float(picture[20:44, 40:50].mean() - picture[20:44, 14:24].mean())
        # Counter-clockwise: up, left, down, right.
        assert np.argmax([-down, -right, down, right]) == item["rotations"]
        counts[item["rotations"]] += 1
    assert all(is_share(count, 400, 0.25) for count in counts)
