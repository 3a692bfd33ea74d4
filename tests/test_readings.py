"""What networks of each kind read of a sighting, and what becomes of their several answers."""

import numpy as np
import pytest
import torch
from torch import nn

from inference.ensemble import Ensemble, Member
from tests.sightings import sighted
from training.tools.checkpoints import Checkpoint
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of

CPU = torch.device("cpu")


class Left(nn.Module):
    """Two logits: FAKE is how bright the left half of a clip is, on average; the class notes the inputs' shapes."""

    def __init__(self):
        super().__init__()
        Left.shapes = []
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        left = x[..., : x.shape[-1] // 2].flatten(1).mean(dim=1)
        return torch.stack([left, torch.zeros_like(left)], dim=1)


class LeftHalf(Left):
    """The same with one logit."""

    def forward(self, x):
        return super().forward(x)[:, :1]


RAW = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def probabilities(network, pictures, kind, **options):
    config = NetworkConfig.model_validate({"size": 32, "normalize": RAW, **options})
    return Ensemble([Member("n", network, config)], CPU).probabilities(sighted(pictures, kind))[0]


def half_lit(*shape, value=255):
    picture = np.zeros((*shape, 3), np.uint8)
    picture[..., : shape[-1] // 2, :] = value
    return picture


def test_clip_and_mirror_image_are_averaged():
    (p,) = probabilities(Left(), [half_lit(6, 256, 256)], "clip", input="clip", frames=4, size=224)
    assert Left.shapes == [(2, 3, 4, 224, 224)]
    assert p == pytest.approx((torch.sigmoid(torch.tensor(1.0)).item() + 0.5) / 2, abs=1e-3)


def test_network_sees_the_middle_of_a_clip():
    clip = np.full((4, 256, 256, 3), 255, np.uint8)
    clip[:, 16:240, 16:240] = 0  # 224 of 256 pixels
    (p,) = probabilities(Left(), [clip], "clip", input="clip", frames=4, size=224)
    assert p == pytest.approx(0.5, abs=1e-6)


def test_short_clips_are_repeated_from_their_beginning():
    clip = np.stack([half_lit(256, 256, value=v) for v in (0, 255)])
    (p,) = probabilities(Left(), [clip], "clip", input="clip", frames=5, size=224)  # dark, light, dark, light, dark
    expected = (torch.sigmoid(torch.tensor(0.4)).item() + 0.5) / 2
    assert Left.shapes == [(2, 3, 5, 224, 224)] and p == pytest.approx(expected, abs=1e-3)


def test_tracked_frames_are_mirrored_in_turn_and_their_median_counts():
    lit = [half_lit(40, 40, value=v) for v in (255, 255, 0, 255, 102)]
    (p,) = probabilities(LeftHalf(), [lit], "tracked", tracked=True)
    # As they are: the first, third and fifth, 1, 0, 0.4; mirrored the second and fourth, 0. Median of 1 0 0 0 0.4.
    assert p == pytest.approx(0.5, abs=1e-3)
    (p,) = probabilities(LeftHalf(), [lit[:1] + lit[2:3] + lit[4:]], "tracked", tracked=True)
    assert p == pytest.approx(torch.sigmoid(torch.tensor(0.4)).item(), abs=5e-3)


def test_sequences_are_raw_and_their_frames_come_first():
    faces = np.full((10, 160, 160, 3), 2, np.uint8)
    (p,) = probabilities(LeftHalf(), [faces], "sequence", input="sequence", frames=10)
    assert Left.shapes == [(1, 10, 3, 32, 32)]
    assert p == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())


def test_networks_are_shown_their_own_kind_of_picture_only():
    crops = sighted([np.zeros((50, 40, 3), np.uint8)] * 2)
    clips = sighted([half_lit(2, 256, 256)], "clip")
    members = [
        Member("frame", LeftHalf(), NetworkConfig(size=32)),
        Member("clip", Left(), NetworkConfig(input="clip", frames=2, size=32)),
        Member("choosy", Left(), NetworkConfig(input="clip", frames=2, size=32, tracks={"min_probability": 0.9})),
    ]
    rows = Ensemble(members, CPU).probabilities([*crops, *clips])
    assert np.isnan(rows).tolist() == [[False, False, True], [True, True, False], [True, True, True]]


def test_batch_norms_are_folded_into_clip_networks_without_changing_them():
    config = NetworkConfig(input="clip", network="mc3_18", frames=4, size=32)
    torch.manual_seed(1)
    network = network_of(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    checkpoint = Checkpoint("n", network.eval(), config, epoch=1, bce_best=None, sha256="")
    ensemble = Ensemble([Member.from_checkpoint(checkpoint)], CPU)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in ensemble.members[0].network.modules())
    clip = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    (p,) = ensemble.probabilities(sighted([clip], "clip"))[0]
    ensemble = Ensemble([Member("n", network, config)], CPU)
    assert ensemble.probabilities(sighted([clip], "clip"))[0][0] == pytest.approx(p, abs=1e-5)


class Probe(Left):
    """Its logit is one value of the input."""

    def __init__(self, *place):
        super().__init__()
        self.place = place

    def forward(self, x):
        value = x[(slice(None), *self.place)]
        return torch.stack([value, torch.zeros_like(value)], dim=1)


class SingleProbe(Probe):
    def forward(self, x):
        return super().forward(x)[:, :1]


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("frame", [0, 2])
def test_channels_are_rgb_and_frames_in_order(channel, frame):
    clip = np.zeros((4, 256, 256, 3), np.uint8)
    clip[frame, ..., channel] = 255
    for kind, place in (("clip", (channel, frame, 50, 50)), ("clip", (channel, frame + 1, 50, 50))):
        (p,) = probabilities(Probe(*place), [clip], kind, input="clip", frames=4, size=224)
        assert p == pytest.approx(0.7311 if place[1] == frame else 0.5, abs=1e-3)
    faces = np.zeros((10, 32, 32, 3), np.uint8)
    faces[frame, ..., channel] = 2
    options = {"input": "sequence", "frames": 10}
    (p,) = probabilities(SingleProbe(frame, channel, 5, 5), [faces], "sequence", **options)
    assert p == pytest.approx(0.8808, abs=1e-3)
    (p,) = probabilities(SingleProbe(frame, (channel + 1) % 3, 5, 5), [faces], "sequence", **options)
    assert p == 0.5
