"""CutMix in three dimensions: the pasted volume, where it comes from, lambda, the labels' weights."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from training.cutmix import cutmix, draw_boxes, draw_lambda, mixed_cross_entropy


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered_clips(n: int, c: int, t: int, h: int, w: int) -> torch.Tensor:
    """Clips of which every value occurs once in the whole batch, so that each tells where it came from."""
    return torch.arange(n * c * t * h * w, dtype=torch.float64).view(n, c, t, h, w)


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.RandomState(seed)
    shape = rng.randint(2, 7), rng.randint(1, 4), rng.randint(1, 9), rng.randint(1, 14), rng.randint(1, 14)
    return numbered_clips(*shape), torch.from_numpy(rng.randint(0, 2, shape[0]))


def by_hand(clips, labels, seed):
    """CutMix with loops over voxels; draws in the documented order: lambdas, centres along T, H and W, partners."""
    chance = generator(seed)
    n, channels, *sizes = clips.shape
    lambdas = [0.5 + r / 2 for r in torch.rand(n, generator=chance, dtype=torch.float64).tolist()]
    centres = [torch.randint(size, (n,), generator=chance).tolist() for size in sizes]
    others = torch.randint(1, n, (n,), generator=chance).tolist()
    mixed, labels_b, own = clips.tolist(), [], []
    for i in range(n):
        j = (i + others[i]) % n
        kept = 0
        inside = []
        for axis, size in enumerate(sizes):
            side = math.floor(size * math.pow(1 - lambdas[i], 1 / 3))
            first = centres[axis][i] - side // 2
            inside.append({first + k for k in range(side)})
        for t, y, x in itertools.product(*map(range, sizes)):
            if t in inside[0] and y in inside[1] and x in inside[2]:
                for channel in range(channels):
                    mixed[i][channel][t][y][x] = float(clips[j, channel, t, y, x])
            else:
                kept += 1
        labels_b.append(int(labels[j]))
        own.append(kept / math.prod(sizes))
    return torch.tensor(mixed, dtype=clips.dtype), torch.tensor(labels_b), torch.tensor(own)


@pytest.mark.parametrize("seed", range(25))
def test_result_is_that_of_loops_over_voxels(seed):
    clips, labels = random_case(seed)
    mixed, labels_a, labels_b, lam = cutmix(clips, labels, generator(seed))
    expected, expected_b, own = by_hand(clips, labels, seed)
    assert torch.equal(mixed, expected)
    assert torch.equal(labels_a, labels) and torch.equal(labels_b, expected_b)
    assert torch.allclose(lam, own.float(), atol=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_pasted_volume_is_one_box_of_one_unmixed_clip_whatever_was_drawn(seed):
    """Read off the result alone: the values tell clip, channel and place they come from."""
    clips, _ = random_case(1000 + seed)
    n, c, t, h, w = clips.shape
    mixed, _, labels_b, lam = cutmix(clips, torch.arange(n), generator(seed))
    voxels = c * t * h * w
    for i in range(n):
        source = (mixed[i] / voxels).floor()
        assert torch.equal(mixed[i] % voxels, clips[0])  # every value is still in its place and channel
        pasted = source != i
        assert torch.equal(pasted, pasted[:1].expand_as(pasted))  # all channels alike
        if pasted.any():
            assert set(source[pasted].tolist()) == {float(labels_b[i])} != {float(i)}
            places = pasted[0].nonzero()
            sides = places.max(dim=0).values - places.min(dim=0).values + 1
            assert pasted[0].sum() == sides.prod()
        assert lam[i] == pytest.approx(1 - int(pasted[0].sum()) / (t * h * w), abs=1e-6)
        assert 0.5 <= lam[i] <= 1


def test_partner_is_any_other_clip_and_boxes_reach_everywhere():
    clips = numbered_clips(4, 1, 6, 6, 6)
    pairs, covered = set(), torch.zeros(6, 6, 6)
    for seed in range(150):
        mixed, _, labels_b, _ = cutmix(clips, torch.arange(4), generator(seed))
        pairs |= set(enumerate(labels_b.tolist()))
        covered += (mixed != clips).sum(dim=(0, 1))
    assert pairs == set(itertools.permutations(range(4), 2))
    assert covered.min() > 0


def test_lambda_is_uniform_from_a_half_to_one():
    lam = draw_lambda(20000, generator(0))
    assert lam.min() >= 0.5 and lam.max() <= 1
    assert kstest(lam.numpy(), "uniform", args=(0.5, 0.5)).pvalue > 0.01


def test_sides_are_the_cube_root_and_centres_uniform():
    sizes = torch.Size([32, 224, 200])
    lam = torch.full((4000,), 1 - 0.5**3, dtype=torch.float64)
    boxes = torch.tensor(draw_boxes(lam, sizes, generator(1)))  # (n, 3, 2)
    for axis, size in enumerate(sizes):
        start, end = boxes[:, axis].T
        whole = (start > 0) & (end < size)
        assert set((end - start)[whole].tolist()) == {size // 2}
        # The box is cut off at either end: half of it at most, a quarter of the time.
        assert (end - start).min() in (size // 4, size // 4 + 1)
        assert abs(float((start == 0).float().mean()) - 0.25) < 0.05
        assert start.min() == 0 and end.max() == size


def test_recomputed_lambda_is_never_below_the_drawn_one():
    sizes = torch.Size([5, 7, 9])
    lam = draw_lambda(500, generator(2))
    for share, box in zip(lam.tolist(), draw_boxes(lam, sizes, generator(3)), strict=True):
        pasted = math.prod(end - start for start, end in box) / math.prod(sizes)
        assert 1 - pasted >= share - 1e-9


def test_same_generator_same_result_and_inputs_stay():
    clips, labels = random_case(7)
    before = clips.clone(), labels.clone()
    first = cutmix(clips, labels, generator(5))
    torch.manual_seed(99)
    second = cutmix(clips, labels, generator(5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(clips, before[0]) and torch.equal(labels, before[1])
    assert first[0].data_ptr() != clips.data_ptr()
    assert not torch.equal(first[3], cutmix(clips, labels, generator(6))[3])


def test_successive_batches_differ():
    clips, labels = random_case(7)
    chance = generator(5)
    assert not torch.equal(cutmix(clips, labels, chance)[3], cutmix(clips, labels, chance)[3])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_any_dtype_and_layout(dtype):
    clips = torch.randint(0, 255, (3, 3, 8, 16, 16), generator=generator(0)).to(dtype)
    mixed, _, _, lam = cutmix(clips, torch.tensor([0, 1, 1]), generator(1))
    strided = clips.contiguous(memory_format=torch.channels_last_3d)
    assert mixed.dtype == dtype and lam.dtype == torch.float32
    assert torch.equal(cutmix(strided, torch.tensor([0, 1, 1]), generator(1))[0], mixed)


def test_clip_alone_in_its_batch_stays():
    clips, labels = numbered_clips(1, 3, 4, 5, 6), torch.tensor([1])
    mixed, labels_a, labels_b, lam = cutmix(clips, labels, generator(0))
    assert torch.equal(mixed, clips) and mixed.data_ptr() != clips.data_ptr()
    assert labels_a.tolist() == labels_b.tolist() == [1] and lam.tolist() == [1]


def test_loss_weighs_both_labels():
    logits = [[1.0, -2.0], [0.5, 0.25], [3.0, 4.0]]
    labels_a, labels_b, lam = [0, 1, 1], [1, 1, 0], [0.75, 0.6, 1.0]
    expected = []
    for row, a, b, share in zip(logits, labels_a, labels_b, lam, strict=True):
        log_sum = math.log(sum(math.exp(x) for x in row))
        expected.append(share * (log_sum - row[a]) + (1 - share) * (log_sum - row[b]))
    losses = mixed_cross_entropy(*map(torch.tensor, (logits, labels_a, labels_b, lam)))
    assert losses.shape == (3,)
    assert torch.allclose(losses, torch.tensor(expected))


def test_loss_of_mixed_clips_has_gradients_in_half_precision():
    logits = torch.randn(4, 2, generator=generator(0)).bfloat16().requires_grad_()
    labels = torch.tensor([0, 1, 0, 1])
    losses = mixed_cross_entropy(logits, labels, labels.flip(0), torch.tensor([0.5, 0.75, 0.9, 1.0]))
    losses.mean().backward()
    assert losses.dtype == torch.float32 and torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0
