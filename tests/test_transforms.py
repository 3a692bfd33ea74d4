"""What a crop can look like after the augmentation: how often each step acts, how strongly, and in which order."""

from itertools import product

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.tools.config import Augmentation
from training.transforms.albu import (
    FancyPCA,
    GaussianNoise,
    RandomSizedCropNonEmptyMaskIfExists,
    Resize4xAndBack,
    create_train_transforms,
    create_val_transforms,
    seeded,
)

QUALITIES = range(60, 101)
ANY_QUALITY = (None, *range(50, 101))  # what is told apart: not compressed, and qualities beyond the recipe's
CROP_HEIGHT, CROP_WIDTH, SIZE = 41, 29, 64
PADDING = (9, 10)  # 29 / 41 of 64 is 45.3: 45 columns stay, 19 are black


def is_share(count, total, p):
    """Whether `count` of `total` is within four standard deviations of the share `p`."""
    return abs(count - total * p) <= 4 * (total * p * (1 - p)) ** 0.5


def is_uniform(values, low, high):
    return kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3


def draw(transforms, image, mask=None, *, times, seed=0):
    """Image and mask of `times` runs of the transforms over the same crop."""
    seeded(transforms, np.random.default_rng(seed))
    mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
    results = [transforms(image=image, mask=mask) for _ in range(times)]
    return [(result["image"], result["mask"]) for result in results]


def training_step(kind):
    """The step of a kind, as it stands in the training transforms."""
    steps = create_train_transforms(SIZE).transforms
    steps = [*steps, *(choice for step in steps if isinstance(step, A.OneOf) for choice in step.transforms)]
    return next(step for step in steps if isinstance(step, kind))


def always(kind, image, *, times, seed=0):
    """Images that a step of the training transforms makes when it is never left out."""
    step = training_step(kind)
    step.p = 1
    return [result for result, _ in draw(A.Compose([step]), image, times=times, seed=seed)]


def colours(height, width):
    """A smooth colourful picture, (height, width, 3) uint8."""
    coarse = np.random.default_rng(0).integers(20, 236, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(image, quality):
    # The channels go in as they are, as in the release that the recipe was made with.
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def is_gray(image):
    return np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])


def gray(image):
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def resized_and_padded(image):
    resized = cv2.resize(image, (SIZE - sum(PADDING), SIZE), interpolation=cv2.INTER_CUBIC)
    return np.pad(resized, [(0, 0), PADDING, (0, 0)])


@pytest.fixture(scope="module")
def crop():
    """A small crop with detail that compression and blur change: it is enlarged, and padded unevenly."""
    noise = np.random.default_rng(0).integers(-40, 41, (CROP_HEIGHT, CROP_WIDTH, 3))
    return np.clip(colours(CROP_HEIGHT, CROP_WIDTH) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def crop_mask():
    """(CROP_HEIGHT, CROP_WIDTH) uint8 in which every flip and every warp shows."""
    return np.arange(CROP_HEIGHT * CROP_WIDTH).reshape(CROP_HEIGHT, CROP_WIDTH).astype(np.uint8) | 1


@pytest.fixture(scope="module")
def draws(crop, crop_mask):
    """12,000 runs of the training transforms over the crop."""
    return draw(create_train_transforms(SIZE), crop, crop_mask, times=12000)


@pytest.fixture(scope="module")
def unwarped(draws, crop_mask):
    """(image, flipped) of the runs that were not shifted, scaled and rotated, as their masks tell."""
    masks = {}
    for flipped in (False, True):
        mask = crop_mask[:, ::-1] if flipped else crop_mask
        resized = cv2.resize(mask, (SIZE - sum(PADDING), SIZE), interpolation=cv2.INTER_NEAREST)
        masks[np.pad(resized, [(0, 0), PADDING]).tobytes()] = flipped
    return [(image, masks[mask.tobytes()]) for image, mask in draws if mask.tobytes() in masks]


@pytest.fixture(scope="module")
def recognised(unwarped, crop):
    """(quality or None, blurred, flipped, gray) of the unwarped runs without noise and change of colour.

    Every picture that compression, blur, flip, resize, padding and gray can make, in this order, is made here. Where
    there is blur the two may differ by rounding, as kernels of another sigma would not.
    """
    exact, near = {}, {}
    for flipped, grayed, quality in product((False, True), (False, True), ANY_QUALITY):

        def rest_of(image, flipped=flipped, grayed=grayed):
            image = resized_and_padded(np.ascontiguousarray(image[:, ::-1]) if flipped else image)
            return gray(image) if grayed else image

        compressed = crop if quality is None else jpeg(crop, quality)
        exact[rest_of(compressed).tobytes()] = quality, False, flipped, grayed
        blurred = rest_of(cv2.GaussianBlur(compressed, (3, 3), 0.8))
        near.setdefault((flipped, grayed), []).append(blurred[::5, ::5].astype(np.float32))
    assert len(exact) == 4 * len(ANY_QUALITY), "two ways to the same picture cannot be told apart"
    near = {made: np.array(images) for made, images in near.items()}
    found = []
    for image, flipped in unwarped:
        if image.tobytes() in exact:
            found.append(exact[image.tobytes()])
            continue
        grayed = is_gray(image)
        differences = np.abs(near[flipped, grayed] - image[::5, ::5]).mean((1, 2, 3))
        if differences.min() < 0.25:
            found.append((ANY_QUALITY[differences.argmin()], True, flipped, grayed))
    return found


def test_half_of_the_crops_are_compressed_with_an_even_draw_of_quality(recognised):
    qualities = [quality for quality, blurred, _, _ in recognised if not blurred]
    assert is_share(sum(quality is not None for quality in qualities), len(qualities), 0.5)
    assert set(qualities) <= {None, *QUALITIES}
    counts = np.array([qualities.count(quality) for quality in QUALITIES])
    assert counts.min() > 0  # 60 and 100 among them
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 80  # chi-square, 40 degrees of freedom


def test_a_twentieth_is_blurred_after_the_compression_by_a_kernel_of_three_and_sigma_0_8(recognised):
    qualities = [quality for quality, blurred, _, _ in recognised if blurred]
    assert is_share(len(qualities), len(recognised), 0.05)
    assert is_share(sum(quality is not None for quality in qualities), len(qualities), 0.5)


def test_half_are_mirrored_before_the_resize_and_after_the_compression(recognised, unwarped):
    assert is_share(sum(flipped for _, flipped in unwarped), len(unwarped), 0.5)
    compressed = [flipped for quality, _, flipped, _ in recognised if quality is not None]
    assert is_share(sum(compressed), len(compressed), 0.5)


def test_half_are_shifted_scaled_and_rotated(draws, unwarped):
    assert is_share(len(unwarped), len(draws), 0.5)


def test_a_fifth_are_gray_by_the_weights_of_the_eye(draws, recognised):
    assert is_share(sum(is_gray(image) for image, _ in draws), len(draws), 0.2)
    # That the recognised are gray by weights is what recognised them.
    assert is_share(sum(grayed for _, _, _, grayed in recognised), len(recognised), 0.2)


def test_seven_in_ten_change_colour(recognised, unwarped):
    """Neither colour (0.3) nor noise (0.9) changes what is recognised, or a principal shift too weak to be seen."""
    deviation = (0.27 * 0.73 * len(unwarped)) ** 0.5
    assert len(recognised) > 0.27 * len(unwarped) - 4 * deviation
    assert len(recognised) < (0.27 + 0.15 * 0.9 * 0.7 / 3) * len(unwarped) + 4 * deviation


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


def test_validation_changes_nothing_else():
    image = colours(SIZE, SIZE)
    results = draw(create_val_transforms(SIZE), image, image[..., 0].copy(), times=30)
    assert all(np.array_equal(made, image) and np.array_equal(mask, image[..., 0]) for made, mask in results)


def test_noise_comes_to_a_tenth_of_the_crops():
    plain = np.full((24, 24, 3), (200, 60, 120), np.uint8)
    results = draw(create_train_transforms(24), plain, times=6000)
    # Of all steps only noise makes a plain crop uneven.
    assert is_share(sum(np.ptp(image[8:16, 8:16], axis=(0, 1)).any() for image, _ in results), 6000, 0.1)


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


def test_noise_is_clipped_and_not_wrapped():
    for value in (0, 255):
        for image in always(GaussianNoise, np.full((20, 20, 3), value, np.uint8), times=50):
            assert np.abs(image.astype(int) - value).max() < 60


def test_noise_comes_after_the_compression():
    """Compression would take the noise's colour away, and with it the independence of the channels."""
    plain = np.full((32, 32, 3), (200, 60, 120), np.uint8)
    pixels = [
        image[8:24, 8:24].reshape(-1, 3)
        for image, _ in draw(create_train_transforms(32), plain, times=3000)
        if not is_gray(image)
    ]
    alike = [np.median(np.abs(np.corrcoef(p.T)[np.triu_indices(3, 1)])) for p in pixels if np.ptp(p, axis=0).all()]
    assert len(alike) > 150 and np.mean(np.array(alike) > 0.4) < 0.1


def test_noise_comes_before_the_resize():
    """Four pixels by four become one: the variance shrinks sixteenfold."""
    plain = np.full((96, 96, 3), (200, 60, 120), np.uint8)
    results = draw(create_train_transforms(24), plain, times=1500)
    variances = [image[8:16, 8:16].var((0, 1)).max() for image, _ in results]
    noisy = [variance for variance in variances if variance]
    assert len(noisy) > 100 and np.median(noisy) < 4


def test_colour_changes_after_the_padding_and_before_the_black_border():
    """Brightness lifts the padding with the crop; what a shift or a turn brings in is black."""
    plain, mask = np.full((40, 20, 3), 100, np.uint8), np.full((40, 20), 255, np.uint8)
    lifted = borders = 0
    for image, _ in draw(create_train_transforms(40), plain, mask, times=1500):
        lifted += image[20, 2].max() > 0
    square, mask = np.full((40, 40, 3), 100, np.uint8), np.full((40, 40), 255, np.uint8)
    for image, inside in draw(create_train_transforms(40), square, mask, times=1500):
        border = cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0
        borders += border.any()
        assert not image[border].any()
    assert lifted > 150 and borders > 150


def test_gray_comes_after_colour():
    """Another hue parts the grays of two colours that were equally bright."""
    red = (220, 40, 40)
    bright = int(gray(np.full((1, 1, 3), red, np.uint8)).max())
    image = np.full((64, 64, 3), bright, np.uint8)
    image[:, :32] = red
    results = [made for made, _ in draw(create_train_transforms(64), image, times=1500)]
    parted = [
        abs(float(made[24:40, 18:24].mean()) - float(made[24:40, 40:46].mean())) > 12
        for made in results
        if is_gray(made)
    ]
    assert sum(parted) > 0.05 * len(parted) > 0


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
    for made in always(A.HueSaturationValue, image, times=1500):
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


@pytest.fixture(scope="module")
def three_axes():
    """(48, 48, 3) uint8 that varies strongly along three axes, and is 127 in one corner."""
    signs = np.random.default_rng(0).choice((-1, 1), (48, 48, 3))
    image = (127 + signs @ np.array([[90, 60, 25], [25, -50, 35], [-10, 10, 35]])).astype(np.uint8)
    image[:8, :8] = 127
    return image


def principal_directions(image):
    """What strength 1 adds to the channels, (4, 3): along each principal axis its variance, whichever way it points."""
    pixels = image.reshape(-1, 3).astype(np.float64) / 255
    _, singular, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    variances = singular**2 / len(pixels)
    return [255 * (variances * signs) @ axes for signs in product((1,), (1, -1), (1, -1))]


def test_principal_colours_move_along_the_axes_of_the_crop_with_deviation_a_tenth(three_axes):
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


@pytest.mark.parametrize("shape", [(64, 64), (120, 75), (33, 50), (301, 90)])
def test_masks_follow_their_images(shape):
    """A white patch stays where its mask is, whatever else happens."""
    height, width = shape
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    patch = np.s_[height // 5 : height // 2, width // 2 : width * 4 // 5]
    image[patch], mask[patch] = 255, 255
    for made, moved in draw(create_train_transforms(SIZE), image, mask, times=150):
        gray_level = made.mean(2)
        bright = gray_level > (gray_level.max() + gray_level.min()) / 2
        both, either = bright & (moved > 0), bright | (moved > 0)
        assert both.sum() > 0.6 * either.sum()
        assert np.abs(np.argwhere(bright).mean(0) - np.argwhere(moved).mean(0)).max() < 1.25
        assert set(np.unique(moved)) == {0, 255}


EVERYTHING = Augmentation(resize_4x_and_back=0.5, random_sized_crop=0.5)


@pytest.mark.parametrize("extra", [None, EVERYTHING], ids=["published", "with extras"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (1, 200), (200, 1), (2, 151), (61, 37), (63, 64), (64, 65), (64, 63), (128, 128)]
)
def test_every_shape_comes_out_square(shape, extra):
    rng = np.random.default_rng(0)
    image, mask = (rng.integers(0, 256, (*shape, *channels), dtype=np.uint8) for channels in ((3,), ()))
    for picture in (image, image[..., :1].repeat(3, axis=2)):  # in colour and in gray
        kept = picture.copy(), mask.copy()
        for transforms in (create_train_transforms(SIZE, extra), create_val_transforms(SIZE)):
            for made, moved in draw(transforms, picture, mask, times=60):
                assert made.shape == (SIZE, SIZE, 3) and made.dtype == np.uint8
                assert moved.shape == (SIZE, SIZE) and moved.dtype == np.uint8
        assert np.array_equal(picture, kept[0]) and np.array_equal(mask, kept[1])


def test_a_view_of_a_larger_picture_is_as_good_as_a_copy():
    image = colours(80, 90)
    mask = image[..., 0].copy()
    transforms = create_train_transforms(SIZE)
    views = draw(transforms, image[7:70, 11:60], mask[7:70, 11:60], times=60)
    copies = draw(transforms, image[7:70, 11:60].copy(), mask[7:70, 11:60].copy(), times=60)
    for view, copy in zip(views, copies, strict=True):
        assert np.array_equal(view[0], copy[0]) and np.array_equal(view[1], copy[1])


def test_a_seed_decides_everything(crop, crop_mask):
    transforms = create_train_transforms(SIZE, EVERYTHING)
    first = draw(transforms, crop, crop_mask, times=40, seed=5)
    other = draw(transforms, crop, crop_mask, times=40, seed=6)
    again = draw(create_train_transforms(SIZE, EVERYTHING), crop, crop_mask, times=40, seed=5)
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert sum(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True)) < 5
    assert sum(np.array_equal(a[0], first[0][0]) for a in first) < 5


def test_resize_and_back_loses_detail_by_two_or_four_in_one_of_three_ways(crop):
    possible = {}
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


def test_what_the_published_training_leaves_off_is_off(crop, crop_mask, draws):
    off = create_train_transforms(SIZE, Augmentation())
    assert all(
        np.array_equal(a[0], b[0]) for a, b in zip(draw(off, crop, crop_mask, times=50), draws[:50], strict=True)
    )


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
