"""Areas of frames averaged for MTCNN: exact on a CPU and on a GPU's way, whatever the windows' size."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from faces.integral_images import NARROW, AreasInPyTorch, averaged

CPU = torch.device("cpu")
HEIGHT, WIDTH = 401, 522


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Noise, and white: the largest sums there are."""
    noise = np.random.RandomState(0).randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return [*noise, np.full((HEIGHT, WIDTH, 3), 255, np.uint8)]


# Windows of 2 x 2 pixels and fewer; up to as many as 16 bits hold; more; larger than the frame.
SIZES = [(241, 314), (120, 157), (27, 35), (25, 32), (23, 30), (5, 7), (500, 600)]


@pytest.mark.parametrize("size", SIZES)
def test_resized_frames_are_pytorchs_means_of_areas(frames, size):
    (small,), _ = averaged(frames, [size], CPU)
    assert small.shape == (3, 4, *size) and small.is_contiguous(memory_format=torch.channels_last)
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).double()
    expected = (interpolate(pixels, size, mode="area") - 127.5) / 128
    assert (small[:, :3] - expected).abs().max() < 1e-6


def test_sizes_lie_on_both_sides_of_what_16_bits_hold():
    largest = [(-(-HEIGHT // rows) + 1) * (-(-WIDTH // columns) + 1) for rows, columns in SIZES]
    assert min(largest) < NARROW / 4 and max(largest) > 4 * NARROW
    assert 255 * NARROW < 2**16 <= 255 * (NARROW + 1)


def test_resized_frames_are_the_same_on_a_gpus_way(frames):
    levels, _ = averaged(frames, SIZES, CPU)
    areas = AreasInPyTorch(frames, CPU)
    assert all(
        torch.equal(level[:, :3], areas.resized(*size)[:, :3]) for level, size in zip(levels, SIZES, strict=True)
    )


@pytest.mark.parametrize("size", [24, 48])
def test_crops_are_means_of_areas_on_both_ways(frames, size):
    """Boxes of all sizes, over every edge and beyond it; those that leave the frame are cut."""
    random = np.random.RandomState(1)
    corners = random.uniform(-20, HEIGHT, (150, 2))
    sides = random.uniform(1, WIDTH, (150, 1))
    boxes = np.concatenate([corners, corners + sides], axis=1)
    boxes[:3] = [-300, -300, 900, 900]  # the whole frame, whose windows take more than 16 bits
    boxes[3:6] = [[600, 20, 700, 90], [20, 20, 20, 20], [-90, -90, -10, -10]]  # nothing under them
    boxes = torch.from_numpy(boxes.astype(np.float32))
    image_of = torch.arange(150) % 3
    _, areas = averaged(frames, [(HEIGHT, WIDTH)], CPU)
    seen, images, crops = areas.cropped(boxes, image_of, size)
    same = AreasInPyTorch(frames, CPU).cropped(boxes, image_of, size)
    assert 100 < len(seen) < 148 and crops.shape == (len(seen), 4, size, size)
    assert torch.equal(seen, same[0]) and torch.equal(images, same[1])
    assert torch.equal(crops[:, :3], same[2][:, :3])
    for box, image, crop in zip(seen.long().tolist(), images.tolist(), crops[:, :3], strict=True):
        left, top = max(box[0], 1) - 1, max(box[1], 1) - 1
        under = torch.from_numpy(frames[image][top : box[3], left : box[2]]).permute(2, 0, 1).double()
        expected = (interpolate(under[None], (size, size), mode="area")[0] - 127.5) / 128
        assert (crop - expected).abs().max() < 1e-6


def test_no_boxes_no_crops(frames):
    _, areas = averaged(frames, [(20, 20)], CPU)
    boxes, images, crops = areas.cropped(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 24)
    assert len(boxes) == len(images) == 0 and crops.shape == (0, 4, 24, 24)
