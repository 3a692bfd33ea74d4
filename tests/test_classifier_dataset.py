"""From a row to a network's input: golden validation items, what training changes, what cannot be read."""

import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.generated_crops import HEIGHT, WIDTH, bright_square, make_crops, write_image
from training.datasets import classifier_dataset
from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.datasets.folds import read_folds, split_by_fold
from training.datasets.loading import EpochSampler, collate, start_worker
from training.tools.config import IMAGENET_MEAN, IMAGENET_STD, Augmentation, Normalize
from training.transforms.albu import create_val_transforms


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A data root and its table: originals "004" and "519" with a fake each, six frames a video."""
    root = tmp_path_factory.mktemp("crops")
    return root, make_crops(root)


@pytest.fixture
def broken(crops, tmp_path):
    """A copy of the crops to spoil."""
    return shutil.copytree(crops[0], tmp_path / "root"), crops[1]


@pytest.fixture
def plain(monkeypatch):
    """Training with nothing of chance in it: crops are resized and padded, as in validation."""
    monkeypatch.setattr(classifier_dataset, "create_train_transforms", lambda size, extra: create_val_transforms(size))


def dataset_of(crops, mode="train", **options):
    root, rows = crops
    return DeepFakeClassifierDataset(rows, root, mode, **{"size": 48, "seed": 5, **options})


def item_of(dataset, name):
    """The item that shows the crop `name`."""
    rows = dataset.rows
    index = next(i for i, row in enumerate(rows.itertuples()) if f"{row.video}/{row.file}" == name)
    return dataset[0, dataset.order(0).tolist().index(index)]


def pixels(image, normalize=(IMAGENET_MEAN, IMAGENET_STD)):
    """Pixels (h, w, 3) uint8 RGB of a network's input."""
    mean, std = normalize
    values = (image.permute(1, 2, 0).double() * torch.tensor(std) + torch.tensor(mean)) * 255
    assert torch.allclose(values, values.round(), atol=1e-3)
    return values.round().numpy().astype(np.uint8)


def read_rgb(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def same(first, second):
    image = torch.equal(first["image"], second["image"])
    return image and all(first[key] == second[key] for key in first if key != "image")


def test_validation_items_are_the_published_ones(samples, golden, parity):
    _, rows = split_by_fold(read_folds(samples.parent / "golden" / "folds.csv"), 0)
    dataset = DeepFakeClassifierDataset(rows, parity, "val", seed=111)
    published = golden("dataset.json")["val samples"]
    assert len(published) == 8
    for position, expected in enumerate(published):
        item = dataset[1, position]
        image = item["image"]
        assert (item["img_name"], item["labels"], item["valid"]) == (
            expected["img"],
            expected["label"],
            expected["valid"],
        )
        assert list(image.shape) == expected["shape"] and image.dtype == torch.float32 and not item["failures"]
        assert image.mean().item() == pytest.approx(expected["mean"], abs=1e-3)
        assert image.std().item() == pytest.approx(expected["std"], abs=1e-3)
        assert image.abs().sum().item() == pytest.approx(expected["sum_abs"], rel=1e-3)


@pytest.mark.parametrize("normalize", [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.3), (0.5, 0.25, 1.0))])
def test_inputs_are_normalised_rgb_centred_on_black(crops, normalize):
    mean, std = normalize
    dataset = dataset_of(crops, "val", size=HEIGHT, normalize=Normalize(mean=mean, std=std))
    image = pixels(item_of(dataset, "004/20_0.png")["image"], normalize)
    border = (HEIGHT - WIDTH) // 2
    assert np.array_equal(image[:, border:-border], read_rgb(crops[0] / "crops" / "004" / "20_0.png"))
    assert not image[:, :border].any() and not image[:, -border:].any()


def test_items_depend_on_seed_epoch_and_position_alone(crops):
    dataset, other = dataset_of(crops), dataset_of(crops)
    keys = [(epoch, i) for epoch in (0, 1) for i in range(12)]
    items = [dataset[key] for key in keys]
    assert all(same(other[key], items[keys.index(key)]) for key in reversed(keys))


def test_a_crop_at_the_same_place_looks_different_in_other_epochs_and_with_other_seeds(crops):
    rows = (crops[0], crops[1].iloc[[0] * 4])
    shown = [dataset_of(rows, seed=seed)[epoch, 2] for seed in (5, 6) for epoch in range(4)]
    assert len({item["img_name"] for item in shown}) == 1
    assert len({item["image"].numpy().tobytes() for item in shown}) == 8


def test_two_workers_prepare_what_one_process_does(crops):
    dataset = dataset_of(crops)
    sampler = EpochSampler(dataset, batch_size=3)
    sampler.set(1, 0, 4)
    ours, theirs = (
        list(
            DataLoader(
                dataset, 3, sampler=sampler, num_workers=workers, collate_fn=collate, worker_init_fn=start_worker
            )
        )
        for workers in (0, 2)
    )
    assert len(ours) == len(theirs) == 4
    for one, two in zip(ours, theirs, strict=True):
        assert one["img_name"] == two["img_name"] and torch.equal(one["image"], two["image"])
        assert torch.equal(one["labels"], two["labels"]) and torch.equal(one["valid"], two["valid"])


def test_pickled_datasets_make_the_same_items(crops):
    dataset = dataset_of(crops, augmentation=Augmentation(quarter_turns=1, half_blackout=0.5))
    dataset[0, 0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(same(copy[epoch, i], dataset[epoch, i]) for epoch in (0, 3) for i in range(4))


def test_validation_shows_every_row_once_and_the_same_in_every_epoch(crops):
    dataset = dataset_of(crops, "val")
    items = [dataset[1, i] for i in range(len(crops[1]))]
    assert {item["img_name"] for item in items} == {f"{row.video}/{row.file}" for row in crops[1].itertuples()}
    assert all(same(dataset[7, i], items[i]) for i in (0, 5))


def test_training_takes_the_order_of_its_epoch(crops):
    real = crops[1][(crops[1]["label"] == 0) & (crops[1]["fold"] == 0)]
    rows = (crops[0], crops[1][(crops[1]["label"] == 1) | crops[1].index.isin(real.index)].reset_index(drop=True))
    drawn, whole = dataset_of(rows), dataset_of(rows, oversample=False)
    assert (len(drawn.order(0)), len(whole.order(0))) == (12, 18)
    assert [drawn[2, i]["img_name"] for i in range(3)] == [
        f"{row.video}/{row.file}" for row in rows[1].iloc[drawn.order(2)[:3]].itertuples()
    ]


@pytest.mark.parametrize(
    ("mode", "smoothing", "real", "fake"), [("train", 0.01, 0.01, 0.99), ("train", 0, 0, 1), ("val", 0.01, 0, 1)]
)
def test_labels_are_smoothed_in_training_only(crops, mode, smoothing, real, fake):
    dataset = dataset_of(crops, mode, label_smoothing=smoothing)
    assert item_of(dataset, "004/0_0.png")["labels"] == real
    assert item_of(dataset, "004_fake/0_0.png")["labels"] == fake


@pytest.mark.parametrize(("count", "value", "valid"), [(33, 21, 1), (32, 21, 0), (500, 20, 0), (0, 0, 0)])
@pytest.mark.parametrize("mode", ["train", "val"])
def test_fakes_are_valid_with_over_32_pixels_above_20(broken, mode, count, value, valid):
    mask = np.zeros(HEIGHT * WIDTH, np.uint8)
    mask[:count] = value
    write_image(broken[0] / "diffs" / "004_fake" / "0_0_diff.png", mask.reshape(HEIGHT, WIDTH))
    dataset = dataset_of(broken, mode, hardcore=False)
    assert item_of(dataset, "004_fake/0_0.png")["valid"] == valid
    assert item_of(dataset, "004/0_0.png")["valid"] == 1


def test_fakes_without_a_difference_are_there_and_not_valid(broken):
    shutil.rmtree(broken[0] / "diffs")
    item = item_of(dataset_of(broken), "004_fake/0_0.png")
    assert item["valid"] == 0 and not item["failures"] and item["image"].shape == (3, 48, 48)


@pytest.mark.parametrize(("padding_part", "cut_h", "cut_w"), [(3, 0, 0), (4, 3, 2), (6, 5, 4)])
def test_padding_part_above_3_cuts_crops_and_masks(broken, plain, padding_part, cut_h, cut_w):
    """50 // 5 - int(0.6 * 50 / 4) = 3 and 40 // 5 - int(0.6 * 40 / 4) = 2; for 6, 5 and 4."""
    mask = np.full((HEIGHT, WIDTH), 200, np.uint8)
    mask[3:-3, 2:-2] = 0  # visible at the margin only
    write_image(broken[0] / "diffs" / "004_fake" / "0_0_diff.png", mask)
    height, width = HEIGHT - 2 * cut_h, WIDTH - 2 * cut_w
    item = item_of(dataset_of(broken, size=height, padding_part=padding_part, hardcore=False), "004_fake/0_0.png")
    whole = read_rgb(broken[0] / "crops" / "004_fake" / "0_0.png")
    left = (height - width) // 2
    shown = pixels(item["image"])[:, left : left + width]
    assert np.array_equal(shown, whole[cut_h : HEIGHT - cut_h, cut_w : WIDTH - cut_w])
    assert item["valid"] == (padding_part == 3)


def test_blackout_is_for_training_that_asks_for_it(crops, plain):
    whole = {pixels(dataset_of(crops, "val", size=HEIGHT)[0, i]["image"]).tobytes() for i in range(24)}
    changed = []
    for hardcore in (True, False):
        dataset = dataset_of(crops, size=HEIGHT, hardcore=hardcore)
        changed.append(sum(pixels(dataset[0, i]["image"]).tobytes() not in whole for i in range(24)))
    assert 8 < changed[0] < 24 and changed[1] == 0


def test_landmarks_lie_where_they_are_in_a_fake_of_another_size(broken):
    root, rows = broken
    row = next(row for row in rows.itertuples() if row.label)
    dataset = dataset_of(broken)
    path = root / "crops" / row.original / row.file
    height, width = cv2.imread(str(path)).shape[:2]
    points = np.load(root / "landmarks" / row.original / f"{row.file.removesuffix('.png')}.npy")
    assert np.array_equal(dataset.landmarks(row, (height, width)), points)
    half = dataset.landmarks(row, (height // 2, 3 * width))
    assert np.abs(half - points * [3, height // 2 / height]).max() <= 0.5 and half.dtype == points.dtype
    path.unlink()
    assert np.array_equal(dataset.landmarks(row, (height // 2, 3 * width)), points)


def spoil(path, content=b"no image"):
    assert path.exists()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("crops/004_fake/0_0.png", b"no image", "not a readable image"),
        ("crops/004_fake/0_0.png", b"", "empty"),
        ("crops/004_fake/0_0.png", None, "No such file"),
        ("diffs/004_fake/0_0_diff.png", b"no image", "not a readable image"),
        ("landmarks/004/0_0.npy", b"no array", "not a readable array of landmarks"),
        ("landmarks/004/0_0.npy", b"", "not a readable array of landmarks"),
    ],
)
def test_unreadable_files_are_failures_that_name_them(broken, file, content, reason):
    path = broken[0] / file
    spoil(path, content or b"")
    if content is None:
        path.unlink()
    dataset = dataset_of(broken)
    position = next(i for i in range(24) if f"{path}: " in " ".join(dataset[0, i]["failures"]))
    (message,) = dataset[0, position]["failures"]
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message


def test_masks_and_landmarks_of_another_shape_are_failures(broken):
    write_image(broken[0] / "diffs" / "004_fake" / "0_0_diff.png", bright_square(10)[:-1])
    np.save(broken[0] / "landmarks" / "519" / "0_0.npy", np.zeros((4, 2), np.int16))
    np.save(broken[0] / "landmarks" / "519" / "10_0.npy", np.array([{}]), allow_pickle=True)
    dataset = dataset_of(broken)
    messages = {message for i in range(24) for message in dataset[0, i]["failures"]}
    assert any("0_0_diff.png: is (49, 40), its crop (50, 40)" in message for message in messages)
    assert any("0_0.npy: not five points" in message for message in messages)
    assert any("10_0.npy: not a readable array of landmarks" in message for message in messages)


def test_training_replaces_an_unreadable_crop_by_the_next_and_counts_it(broken):
    dataset = dataset_of(broken)
    order = dataset.order(0)
    positions = (4, 5, len(order) - 1)  # two in a row; and the last, which is followed by the first
    for position in positions:
        row = broken[1].iloc[order[position]]
        spoil(broken[0] / "crops" / row.video / row.file)
    for position, replacement, count in ((4, 6, 2), (5, 6, 1), (len(order) - 1, 0, 1), (3, 3, 0)):
        item, row = dataset[0, position], broken[1].iloc[order[replacement]]
        assert item["img_name"] == f"{row.video}/{row.file}" and item["labels"] == (0.99 if row.label else 0.01)
        assert len(item["failures"]) == count


@pytest.mark.parametrize(("rows", "tries"), [(5, 120), (1, 24)])
def test_a_hundred_unreadable_crops_in_a_row_are_given_up(crops, tmp_path, rows, tries):
    table = crops[1].loc[crops[1].index.repeat(rows)].reset_index(drop=True)
    item = dataset_of((tmp_path, table))[0, 3]
    assert len(item["failures"]) == min(tries, 100) and "image" not in item


def test_validation_does_not_replace_what_it_cannot_read(broken):
    dataset = dataset_of(broken, "val")
    row = broken[1].iloc[dataset.order(1)[2]]
    spoil(broken[0] / "crops" / row.video / row.file)
    item = dataset[1, 2]
    assert "image" not in item and len(item["failures"]) == 1 and not dataset[1, 3]["failures"]


def test_a_batch_leaves_out_what_could_not_be_read_and_says_so(broken):
    dataset = dataset_of(broken, "val")
    items = [dataset[1, i] for i in range(4)]
    batch = collate([items[0], {"failures": ["gone"]}, *items[1:3], {**items[3], "failures": ["replaced"]}])
    assert torch.equal(batch["image"], torch.stack([item["image"] for item in items]))
    assert batch["labels"].tolist() == [[item["labels"]] for item in items] and batch["labels"].dtype == torch.float32
    assert batch["valid"].dtype == torch.bool and batch["img_name"] == [item["img_name"] for item in items]
    assert (batch["failures"], batch["lost"]) == (["gone", "replaced"], 1)


def test_a_batch_of_nothing_has_no_image():
    batch = collate([{"failures": ["a"]}, {"failures": ["b", "c"]}])
    assert (batch["image"], batch["failures"], batch["lost"]) == (None, ["a", "b", "c"], 2)


def batches(dataset, batch_size, rank, world, start, end):
    sampler = EpochSampler(dataset, batch_size, rank, world)
    sampler.set(2, start, end)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    return [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]


@pytest.mark.parametrize("start", [0, 1])
def test_ranks_share_the_batch_that_one_process_would_take(crops, start):
    dataset = dataset_of(crops)
    shares = zip(*(batches(dataset, 4, rank, 2, start, 3) for rank in (0, 1)), strict=True)
    alone = batches(dataset, 8, 0, 1, start, 3)
    assert [sorted(one + two) for one, two in shares] == [sorted(batch) for batch in alone]
    assert alone[0][0] == (2, 8 * start) and len(alone) == 3 - start


@pytest.mark.parametrize(("batch_size", "world", "count"), [(8, 1, 3), (5, 1, 4), (5, 2, 2), (7, 4, 0)])
def test_incomplete_batches_are_dropped(crops, batch_size, world, count):
    assert EpochSampler(dataset_of(crops), batch_size, 0, world).batches_there(0) == count
