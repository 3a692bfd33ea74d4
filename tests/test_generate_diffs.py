"""The difference between a fake and its original, against scikit-image."""

import cv2
import numpy as np
import pytest

from preprocessing import generate_diffs


def structural_difference_of_scikit_image(real, fake):
    from skimage.metrics import structural_similarity

    _, ssim = structural_similarity(real, fake, channel_axis=2, full=True, data_range=255)
    return cv2.cvtColor(np.clip((1 - ssim) * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize("kind", ["noise", "smooth", "equal", "opposite", "smallest"])
def test_difference_is_scikit_images_within_one_gray_level(kind):
    random = np.random.RandomState(0)
    shape = (7, 7, 3) if kind == "smallest" else (60, 45, 3)
    real = random.randint(0, 256, shape, dtype=np.uint8)
    fake = random.randint(0, 256, shape, dtype=np.uint8)
    if kind == "smooth":
        real, fake = cv2.GaussianBlur(real, (9, 9), 3), cv2.GaussianBlur(real, (9, 9), 2)
    if kind == "equal":
        fake = real
    if kind == "opposite":
        fake = 255 - real
    ours = generate_diffs.structural_difference(real, fake).astype(int)
    assert np.abs(ours - structural_difference_of_scikit_image(real, fake)).max() <= 1
    assert (ours.max() == 0) == (kind == "equal")


def test_difference_on_real_faces_is_scikit_images(processed):
    for path in sorted((processed / "crops" / "519").iterdir()):
        fake, real = (cv2.imread(str(processed / "crops" / video / path.name)) for video in ("519", "004"))
        ours = generate_diffs.structural_difference(real, fake).astype(int)
        assert np.abs(ours - structural_difference_of_scikit_image(real, fake)).max() <= 1
