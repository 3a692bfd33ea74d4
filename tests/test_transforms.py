"""What a crop can look like after the whole augmentation: how often each step acts and in which order."""

from itertools import product

import cv2
import numpy as np
import pytest

from tests.transform_draws import CROP_HEIGHT, CROP_WIDTH, SIZE, colours, detailed_crop, draw, is_share
from training.tools.config import Augmentation
from training.transforms.albu import create_train_transforms, create_val_transforms

QUALITIES = range(60, 101)
ANY_QUALITY = (None, *range(50, 101))  # what is told apart: not compressed, and qualities beyond the recipe's
PADDING = (9, 10)  # 29 / 41 of 64 is 45.3: 45 columns stay, 19 are black


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
    return detailed_crop()


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


def test_validation_changes_nothing_else():
    image = colours(SIZE, SIZE)
    results = draw(create_val_transforms(SIZE), image, image[..., 0].copy(), times=30)
    assert all(np.array_equal(made, image) and np.array_equal(mask, image[..., 0]) for made, mask in results)


def test_noise_comes_to_a_tenth_of_the_crops():
    plain = np.full((24, 24, 3), (200, 60, 120), np.uint8)
    results = draw(create_train_transforms(24), plain, times=6000)
    # Of all steps only noise makes a plain crop uneven.
    assert is_share(sum(np.ptp(image[8:16, 8:16], axis=(0, 1)).any() for image, _ in results), 6000, 0.1)


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


def test_what_the_published_training_leaves_off_is_off(crop, crop_mask, draws):
    off = create_train_transforms(SIZE, Augmentation())
    assert all(
        np.array_equal(a[0], b[0]) for a, b in zip(draw(off, crop, crop_mask, times=50), draws[:50], strict=True)
    )
