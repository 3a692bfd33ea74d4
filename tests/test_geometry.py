"""Crop bounds, isotropic resize and centring."""

import cv2
import numpy as np
import pytest

from faces.geometry import crop_bounds, crop_face, isotropically_resize_image, put_to_center


def noise(height: int, width: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (height, width, 3), dtype=np.uint8)


def test_box_is_truncated_then_grows_by_a_third_on_each_side():
    # 100.9 -> 100, 161.9 -> 161: width 61, margin 20; 50.5 -> 50, 140.2 -> 140: height 90, margin 30.
    assert crop_bounds(np.array([100.9, 50.5, 161.9, 140.2]), 720, 1280) == (20, 170, 80, 181)


def test_crop_is_clipped_by_the_frame():
    assert crop_bounds(np.array([-5.0, -3.0, 55.0, 57.0]), 50, 60) == (0, 50, 0, 60)


def test_box_truncates_towards_zero_left_of_the_frame():
    # int(-5.9) is -5, so the width is 35 and the margin 11, clipped at 0 on the left.
    assert crop_bounds(np.array([-5.9, 0.0, 30.0, 30.0]), 100, 100) == (0, 40, 0, 41)


def test_crop_holds_the_frames_pixels_and_lets_the_frame_go():
    frame = noise(100, 120)
    crop = crop_face(frame, np.array([40, 30, 70, 60]))
    assert np.array_equal(crop, frame[20:70, 30:80])
    assert crop.base is None


def test_box_outside_the_frame_gives_an_empty_crop():
    assert crop_face(noise(50, 50), np.array([80.0, 80.0, 95.0, 95.0])).size == 0


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (200, 100, (380, 190)),
        (100, 201, (189, 380)),
        (761, 500, (380, 249)),
        (380, 17, (380, 17)),
        (300, 300, (380, 380)),
        (312, 312, (380, 379)),  # 312 * (380 / 312) is a little under 380
    ],
)
def test_longer_side_gets_the_size_and_the_shorter_is_truncated(height, width, expected):
    assert isotropically_resize_image(noise(height, width), 380).shape[:2] == expected


def test_a_sliver_keeps_at_least_one_pixel():
    assert isotropically_resize_image(noise(2000, 2), 380).shape[:2] == (380, 1)


@pytest.mark.parametrize("box", [(-50, -50, -20, -20), (10, -90, 40, -50), (130, 10, 150, 40), (10, 110, 40, 140)])
def test_of_a_box_outside_the_frame_nothing_is_cut(box):
    assert crop_face(noise(100, 120), np.array(box)).size == 0


def test_area_when_shrinking_and_cubic_when_growing():
    large, small = noise(760, 400), noise(190, 100)
    assert np.array_equal(
        isotropically_resize_image(large, 380), cv2.resize(large, (200, 380), interpolation=cv2.INTER_AREA)
    )
    assert np.array_equal(
        isotropically_resize_image(small, 380), cv2.resize(small, (200, 380), interpolation=cv2.INTER_CUBIC)
    )


def test_image_is_centred_on_black():
    img = noise(10, 7)
    square = put_to_center(img, 10)
    assert square.shape == (10, 10, 3) and square.dtype == np.uint8
    assert np.array_equal(square[:, 1:8], img)  # (10 - 7) // 2 = 1
    assert square[:, 0].max() == 0 and square[:, 8:].max() == 0


def test_what_exceeds_the_square_is_cut_off():
    img = noise(12, 15)
    assert np.array_equal(put_to_center(img, 10), img[:10, :10])
