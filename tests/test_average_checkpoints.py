"""The mean of several networks: every weight between theirs, one network, nothing to train on from."""

import pytest
import torch

from common.errors import UserError
from tests.test_checkpoints import CONFIG
from training.tools.average_checkpoints import average, main
from training.tools.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint
from training.zoo.classifiers import create_network


@pytest.fixture
def three(tmp_path):
    """Checkpoints of one network with other weights, statistics and counts each."""
    paths = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = create_network(CONFIG.network, CONFIG.encoder).eval()
        network.encoder.bn1.running_var.fill_(seed + 1.0)
        network.encoder.bn1.num_batches_tracked.fill_(seed)
        paths.append(tmp_path / f"net{seed}")
        save_checkpoint(paths[-1], network, CONFIG, epoch=seed, training={"optimizer": {}})
    return paths


def test_every_weight_and_statistic_is_the_mean_of_theirs(three, tmp_path, capsys):
    assert main([*map(str, three), str(tmp_path / "mean")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mean'}: the mean of 3 networks\n"
    mean = load_checkpoint(tmp_path / "mean")
    states = [load_checkpoint(path).network.state_dict() for path in three]
    assert mean.network.encoder.bn1.running_var.eq(2).all() and mean.network.encoder.bn1.num_batches_tracked == 0
    for name, value in mean.network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    assert mean.epoch == 2 and "training" not in read_checkpoint(tmp_path / "mean")


def test_one_alone_is_its_own_mean(three, tmp_path):
    average(three[:1], tmp_path / "mean")
    images = torch.rand(2, 3, CONFIG.size, CONFIG.size)
    with torch.inference_mode():
        assert torch.equal(
            load_checkpoint(tmp_path / "mean").network(images), load_checkpoint(three[0]).network(images)
        )


def test_other_networks_and_writing_over_one_of_them_are_refused(three, tmp_path):
    config = CONFIG.model_copy(update={"size": CONFIG.size * 2})
    save_checkpoint(tmp_path / "other", create_network(CONFIG.network, CONFIG.encoder), config)
    with pytest.raises(UserError, match=r"other: is another network than .*net0"):
        average([*three, tmp_path / "other"], tmp_path / "mean")
    before = three[1].read_bytes()
    with pytest.raises(UserError, match=r"net1: is one of the checkpoints themselves"):
        average(three, three[1], overwrite=True)
    assert three[1].read_bytes() == before and not (tmp_path / "mean").exists()


def test_forgotten_target_costs_no_checkpoint(three, tmp_path, capsys):
    before = three[2].read_bytes()
    with pytest.raises(UserError, match=r"net2: exists already; the last name is the file to write"):
        main([str(path) for path in three])
    with pytest.raises(SystemExit):
        main([str(path) for path in three[:2]])
    assert "two checkpoints or more" in capsys.readouterr().err and three[2].read_bytes() == before
    main([*map(str, three[:2]), str(three[2]), "--overwrite"])
    assert load_checkpoint(three[2]).network.encoder.bn1.running_var.eq(1.5).all()
