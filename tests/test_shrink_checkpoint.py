"""A checkpoint for shipping: half its size, the same scores but for rounding, nothing to train on from."""

import pytest
import torch

from common.errors import UserError
from tests.test_checkpoints import CONFIG
from training.tools.checkpoints import load_checkpoint, save_checkpoint
from training.tools.shrink_checkpoint import main, shrink
from training.zoo.classifiers import create_network


@pytest.fixture
def network():
    """A network whose batch norms have statistics that half precision can neither hold nor tell from 0."""
    torch.manual_seed(3)
    network = create_network(CONFIG.network, CONFIG.encoder).eval()
    network.encoder.bn1.running_var[:2] = torch.tensor([1e6, 1e-9])
    return network


@pytest.fixture
def source(tmp_path, network):
    training = {"optimizer": {"momentum": torch.ones(100_000)}}
    save_checkpoint(tmp_path / "long", network, CONFIG, epoch=7, bce_best=0.25, training=training)
    return tmp_path / "long"


def test_shipped_network_scores_as_the_trained_one_and_the_same_each_time(source, network, tmp_path, capsys):
    assert main([str(source), str(tmp_path / "short")]) == 0
    images = torch.rand(4, 3, CONFIG.size, CONFIG.size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first, second = (load_checkpoint(tmp_path / "short").network(images) for _ in range(2))
        expected = network(images)
    assert first.dtype == torch.float32 and torch.equal(first, second)
    torch.testing.assert_close(first, expected, rtol=0, atol=2e-3)
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert (tmp_path / "short").stat().st_size < 2.5 * weights
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'short'}: ")


def test_batch_norms_stay_to_the_last_bit(source, network, tmp_path):
    shrink(source, tmp_path / "short")
    shipped = load_checkpoint(tmp_path / "short").network.state_dict()
    vectors = {name: value for name, value in network.state_dict().items() if value.ndim < 2}
    assert "encoder.bn1.running_var" in vectors
    assert all(torch.equal(shipped[name], value) for name, value in vectors.items())


def test_it_knows_its_config_and_when_it_was_best_but_not_how_to_train_on(source, tmp_path):
    shrink(source, tmp_path / "short")
    loaded = load_checkpoint(tmp_path / "short")
    assert (loaded.config, loaded.epoch, loaded.bce_best) == (CONFIG, 7, 0.25)
    content = torch.load(tmp_path / "short", weights_only=True)
    assert content.keys() == {"state_dict", "epoch", "bce_best", "config"}


def test_another_checkpoint_is_replaced_only_when_asked(source, tmp_path):
    (tmp_path / "short").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already; --overwrite replaces it"):
        main([str(source), str(tmp_path / "short")])
    assert (tmp_path / "short").read_bytes() == b"mine"
    assert main(["--overwrite", str(source), str(tmp_path / "short")]) == 0
    assert load_checkpoint(tmp_path / "short").epoch == 7


def test_shrunk_once_more_it_stays_as_it_is(source, tmp_path):
    shrink(source, tmp_path / "short")
    shrink(tmp_path / "short", tmp_path / "again")
    first, second = (load_checkpoint(tmp_path / name).network.state_dict() for name in ("short", "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_too_large_for_half_precision_are_refused(tmp_path, network):
    network.fc.weight.data[0, 0] = 1e5
    save_checkpoint(tmp_path / "long", network, CONFIG)
    with pytest.raises(UserError, match=r"fc\.weight has values that half precision cannot hold"):
        shrink(tmp_path / "long", tmp_path / "short")
    assert not (tmp_path / "short").exists()


def test_checkpoint_is_not_written_over_itself(source):
    before = source.read_bytes()
    with pytest.raises(UserError, match="is the checkpoint itself"):
        shrink(source, source)
    assert source.read_bytes() == before
