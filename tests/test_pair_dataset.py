"""Pairs of crops: what a real one and its fake share, what they differ in, and who makes them."""

import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from common.errors import UserError
from tests.pair_crops import make_pair_crops
from tests.training_runs import CONFIG, command, write_config
from training.datasets import classifier_dataset
from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.datasets.loading import EpochSampler
from training.datasets.pair_dataset import PairDataset
from training.pipelines.train_classifier import main
from training.tools.config import Augmentation, Pairs
from training.tools.resuming import DataOrder
from training.transforms import blackout

EVERYTHING = {
    "half_blackout": 0.5,
    "resize_4x_and_back": 0.5,
    "random_sized_crop": 0.5,
    "quarter_turns": 0.5,
    "video_compression": 0.5,
    "blending": "hull",
}
BLENDS = {"self_blending": 1.0, "blending": "hull"}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    return root, make_pair_crops(root)


@pytest.fixture
def copy(crops, tmp_path):
    """A copy of the crops to change."""
    return shutil.copytree(crops[0], tmp_path / "root"), crops[1]


def dataset_of(crops, augmentation=BLENDS, **options):
    root, rows = crops
    options = {"size": 96, "seed": 5, "padding_part": 4, **options}
    return PairDataset(rows, root, augmentation=Augmentation(**augmentation), **options)


def pairs_of(dataset, epoch=0):
    return [(dataset[epoch, i], dataset[epoch, i + 1]) for i in range(0, len(dataset.order(epoch)), 2)]


def same(one, other):
    return torch.equal(one["image"], other["image"]) and all(one[key] == other[key] for key in one if key != "image")


def test_real_and_fake_take_turns(crops):
    for real, fake in pairs_of(dataset_of(crops, {**BLENDS, "self_blending": 0.5})):
        assert (real["labels"], fake["labels"]) == (0.01, 0.99) and real["valid"]
        original, file = real["img_name"].split("/")
        assert fake["img_name"] in {f"{original}/{file}", f"a_{original}/{file}", f"b_{original}/{file}"}
        assert not torch.equal(real["image"], fake["image"])


def test_items_depend_on_seed_epoch_and_position_alone(crops):
    dataset = dataset_of(crops, {**EVERYTHING, "self_blending": 0.5})
    keys = [(epoch, i) for epoch in (0, 3) for i in range(12)]
    items = {key: dataset[key] for key in keys}
    for other in (dataset_of(crops, {**EVERYTHING, "self_blending": 0.5}), pickle.loads(pickle.dumps(dataset))):
        # The second of a pair before the first.
        assert all(same(other[key], items[key]) for key in reversed(keys))
    assert same(dataset[0, 1], dataset[0, 1]) and not same(items[0, 0], items[3, 0])


def test_what_is_done_to_one_is_done_to_the_other(copy):
    """A fake that is its original pixel by pixel stays it through all that training does."""
    root = copy[0]
    for file in (root / "crops" / "004").iterdir():
        for fake in ("a_004", "b_004"):
            shutil.copy(file, root / "crops" / fake)
    dataset = dataset_of(copy, {**EVERYTHING, "self_blending": 0}, pairs=Pairs(without_fakes=0, stills=0))
    shown = set()
    for epoch in range(12):
        for real, fake in pairs_of(dataset, epoch):
            assert torch.equal(real["image"], fake["image"]) and real["rotations"] == fake["rotations"]
            shown.add(real["image"].numpy().tobytes())
    assert len(shown) == 12 * 8


def test_outline_that_is_blacked_out_is_that_of_the_real_face(crops, monkeypatch):
    monkeypatch.setattr(blackout, "LANDMARKS_P", 0)
    monkeypatch.setattr(blackout, "HULL_P", 1)
    square = np.array([(40, 100), (120, 100), (120, 170), (40, 170)], np.int32)
    looked_at = []
    monkeypatch.setattr(blackout, "face_polygon", lambda image: looked_at.append(image) or square)
    dataset = dataset_of(crops, {"self_blending": 0}, pairs=Pairs(without_fakes=0, stills=0))
    for real, fake in dataset.order(0).reshape(-1, 2):
        looked_at.clear()
        pair, _ = dataset.augmented_pair(real, fake, np.random.default_rng(int(real)))
        assert len(looked_at) == 2 and all(np.array_equal(image, pair.real) for image in looked_at)


def test_blends_differ_inside_of_their_masks_only(crops):
    dataset = dataset_of(crops)
    blends = 0
    for real, fake in dataset.order(0).reshape(-1, 2):
        pair, seen = dataset.augmented_pair(real, fake, np.random.default_rng(int(real)))
        if real == fake:
            blends += 1
            outside = pair.mask == 0
            assert np.array_equal(pair.real[outside], pair.fake[outside])
            assert (pair.real != pair.fake).any()
        assert [image.shape for image in seen] == [(96, 96, 3)] * 2
    assert blends == 7 + 8 + 5


def test_compression_comes_over_both_and_before_the_blackout(crops, monkeypatch):
    monkeypatch.setattr(classifier_dataset, "compress_as_video", lambda image, rng: np.full_like(image, 77))
    monkeypatch.setattr(blackout, "LANDMARKS_P", 1)
    monkeypatch.setattr(blackout, "EYES_P", 1)
    dataset = dataset_of(crops, {**BLENDS, "video_compression": 1.0})
    for real, fake in dataset.order(0).reshape(-1, 2)[:6]:
        _, seen = dataset.augmented_pair(real, fake, np.random.default_rng(int(real)))
        assert np.array_equal(*seen)
        image, _ = dataset.read(dataset.rows.iloc[real])
        changed, *_ = dataset.changed(dataset.rows.iloc[real], image, image[..., 0], False, np.random.default_rng(0))
        assert set(np.unique(changed)) == {0, 77}


def test_crops_without_points_and_without_a_fake_are_left_out_and_told(crops):
    dataset = dataset_of(crops)
    names = {item["img_name"] for pair in pairs_of(dataset) for item in pair}
    assert not names & {"s0/0_0.png", "519/70_0.png"}
    assert dataset.remarks() == [
        "pairs: 20 an epoch, of 20 real crops",
        "2 real crops have neither a fake nor a hull: left out",
    ]


def test_without_hulls_the_fakes_of_the_table_are_taken_and_it_is_told(copy):
    shutil.rmtree(copy[0] / "hulls")
    dataset = dataset_of(copy)
    assert all(fake["img_name"].split("/")[0] in ("a_004", "b_004") for _, fake in pairs_of(dataset))
    assert "hulls is not there" in dataset.remarks()[0] and "14 real crops" in dataset.remarks()[2]


def test_blending_that_is_off_needs_no_hulls(crops):
    dataset = dataset_of(crops, {"blending": "hull"})
    assert dataset.remarks()[0] == "pairs: 8 an epoch, of 8 real crops"


def test_without_pairs_real_crops_with_hulls_become_fakes_and_those_without_stay_real(crops):
    root, rows = crops
    dataset = DeepFakeClassifierDataset(rows, root, size=96, augmentation=Augmentation(**BLENDS), seed=5)
    real = {item["img_name"]: item["labels"] for item in (dataset[0, i] for i in range(len(dataset.order(0))))}
    real = {name: label for name, label in real.items() if not name.startswith(("a_", "b_"))}
    assert {name for name, label in real.items() if label < 0.5} == {"s0/0_0.png", "519/70_0.png"}
    assert len(real) == 22


def test_fakes_of_another_size_come_out_in_the_size_of_their_real_crop(copy):
    root, _ = copy
    path = root / "crops" / "a_004" / "20_0.png"
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (150, 230)))
    dataset = dataset_of(copy, {"self_blending": 0})
    (root / "diffs" / "a_004" / "20_0_diff.png").unlink()
    numbers = next(p for p in dataset.order(0).reshape(-1, 2) if dataset.rows.iloc[p[1]].frame == 20)
    pair, _ = dataset.augmented_pair(*numbers, np.random.default_rng(0))
    assert pair.real.shape == pair.fake.shape == (220, 150, 3) and pair.mask.shape == (220, 150)


@pytest.mark.parametrize("file", ["crops/{0}/{1}", "crops/a_{0}/{1}", "landmarks/{0}/{2}.npy"])
def test_a_pair_of_which_a_file_cannot_be_read_is_replaced_by_the_next(copy, file):
    root, rows = copy
    dataset = dataset_of(copy, {"self_blending": 0})
    order = dataset.order(0).reshape(-1, 2)
    # The last is followed by the first.
    real, fake = (rows.iloc[number] for number in order[-1])
    path = root / file.format(real.video, real.file, real.file[:-4]).replace("a_004", fake.video)
    path.write_bytes(b"spoiled")
    one, other = dataset[0, 2 * len(order) - 2], dataset[0, 2 * len(order) - 1]
    names = [f"{rows.iloc[number].video}/{rows.iloc[number].file}" for number in order[0]]
    assert [one["img_name"], other["img_name"]] == names and (one["labels"], other["labels"]) == (0.01, 0.99)
    assert all(len(item["failures"]) == 1 and str(path) in item["failures"][0] for item in (one, other))


@pytest.mark.parametrize("content", [np.zeros((5, 2)), np.full((68, 2), 10**6)])
def test_hulls_that_are_none_are_failures_that_name_them(copy, content):
    np.save(copy[0] / "hulls" / "519" / "0_0.npy", content)
    failures = {message for pair in pairs_of(dataset_of(copy)) for item in pair for message in item["failures"]}
    assert len(failures) == 1 and "hulls/519/0_0.npy: not 68 points x, y" in failures.pop()


@pytest.mark.parametrize(("batch_size", "world"), [(4, 1), (4, 2), (2, 3), (6, 3)])
def test_pairs_stay_together_whoever_makes_them(crops, batch_size, world):
    dataset = dataset_of(crops)
    shares = []
    for rank in range(world):
        sampler = EpochSampler(dataset, batch_size, rank, world)
        count = sampler.batches_there(0)
        sampler.set(0, 1, count)
        shares.append([position for _, position in sampler])
        assert len(shares[-1]) == len(sampler) == batch_size * (count - 1)
        assert all(even % 2 == 0 for even in shares[-1][::2])
        assert shares[-1][1::2] == [even + 1 for even in shares[-1][::2]]
    everybody = sorted(position for share in shares for position in share)
    assert everybody == list(range(batch_size * world, batch_size * world * count))


def test_other_shares_of_an_epoch_begin_an_interrupted_one_again_and_old_states_go_on(crops):
    def order(sampling):
        common = {"seed": 5, "oversample": True, "batch_size": 4, "world": 1, "batches_per_epoch": 9}
        return DataOrder.of(crops[1], sampling=sampling, **common)

    first, other = (order(dataset_of(crops, pairs=Pairs(stills=weight)).sampling) for weight in (0.25, 1))
    assert first.differences(vars(first)) == [] and first.differences(vars(other)) == ["sampling"]
    before = {name: value for name, value in vars(order("published")).items() if name != "sampling"}
    assert order("published").differences(before) == [] and first.differences(before) == ["sampling"]


def recipe(**changes):
    return {**CONFIG, "sampling": "pairs", "augmentation": {**BLENDS, "video_compression": 0.5}, **changes}


def test_a_run_trains_on_pairs_and_says_on_how_many(crops, tmp_path, capsys):
    argv = command(crops[0], tmp_path, write_config(tmp_path / "config.json", recipe()), "--workers", "1")
    # The real still in fold 0 without a hull is no concern of training.
    assert main(argv) == 0
    output = capsys.readouterr().out
    assert "pairs: 18 an epoch, of 18 real crops" in output and "1 real crops have neither a fake nor a hull" in output
    assert "epoch 1: loss" in output


def test_all_fakes_at_once_are_refused(crops, tmp_path):
    argv = command(crops[0], tmp_path, write_config(tmp_path / "config.json", recipe()), "--no-oversample")
    with pytest.raises(UserError, match=r"--no-oversample: with .* every real crop has one fake"):
        main(argv)
