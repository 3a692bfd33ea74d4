"""The image network with an LSTM: shapes, the last step, a fresh state, layers and dropout."""

import pytest
import torch
from torch import nn

from training.zoo.sequences import MixNetLSTM

TINY = "mobilenetv3_small_050"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MixNetLSTM(TINY).eval()


@pytest.fixture
def clips():
    return 255 * torch.rand(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_published_network_takes_a_thousand_outputs_of_mixnet_m_to_one_logit():
    network = MixNetLSTM().eval()
    assert network.encoder.default_cfg["architecture"] == "mixnet_m"
    lstm = network.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.dropout) == (1000, 64, 5, 0.5)
    assert lstm.batch_first and not lstm.bidirectional
    assert network.dropout.p == 0.75
    sizes = [(layer.in_features, layer.out_features) for layer in network.head if isinstance(layer, nn.Linear)]
    assert sizes == [(64, 32), (32, 1)] and isinstance(network.head[1], nn.ELU)
    assert network(255 * torch.rand(1, 2, 3, 160, 160)).shape == (1, 1)


@torch.no_grad()
def test_a_clip_is_scored_frame_by_frame_and_by_what_the_lstm_says_last(network, clips):
    outputs = torch.stack([network.encoder(clip) for clip in clips])
    state = None
    for step in range(clips.shape[1]):
        last, state = network.lstm(outputs[:, step : step + 1], state)
    assert torch.allclose(network(clips), network.head(last[:, 0]), atol=1e-5)


@torch.no_grad()
def test_a_clip_scores_the_same_alone_in_a_batch_and_after_others(network, clips):
    # Random weights hardly move the logits; larger ones let the order and the neighbours tell.
    for name, weights in network.named_parameters():
        if name.startswith(("lstm", "head")):
            weights.mul_(4)
    together = network(clips)
    alone = torch.cat([network(clip[None]) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(network(clips.flip(1)), together, atol=1e-4)


@torch.no_grad()
def test_dropout_acts_in_training_only(network, clips):
    assert torch.equal(network(clips), network(clips))
    network.train()
    assert not torch.equal(network(clips), network(clips))


def test_gradients_reach_every_weight(network, clips):
    network.train()(clips).sum().backward()
    assert all(weights.grad is not None for weights in network.parameters())


def test_what_is_no_clip_is_refused(network):
    for shape in [(2, 3, 32, 32), (1, 0, 3, 32, 32), (1, 3, 4, 32, 32)]:
        with pytest.raises(ValueError, match=r"clips are \(n, frames, 3, h, w\)"):
            network(torch.zeros(shape))


def test_an_unknown_image_network_is_refused():
    with pytest.raises(ValueError, match="unknown encoder 'nope'"):
        MixNetLSTM("nope")
