"""Heat maps: where the answer comes from, for which faces, and of which networks."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from inference.details import checked
from reporting.build import write_report
from reporting.heatmaps import grad_cam, heatmaps_of, most_certain
from tests import generated_details as generated
from training.tools.checkpoints import load_checkpoint
from training.zoo.classifiers import create_network


class _Brightness(nn.Module):
    """A network whose answer is how bright the picture is: `sign` 1 says fake of bright ones, -1 real."""

    class _Encoder(nn.Module):
        num_features = 1

        def forward_features(self, x):
            return nn.functional.avg_pool2d(x.mean(dim=1, keepdim=True), 8)

    def __init__(self, sign):
        super().__init__()
        self.encoder, self.sign = self._Encoder(), sign

    def forward(self, x):
        return self.sign * self.encoder.forward_features(x).mean(dim=(2, 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_map_is_warm_where_the_answer_comes_from_be_it_fake_or_real(sign):
    x = torch.zeros(1, 3, 64, 64)
    x[..., 8:16, 40:48] = 1
    p, cam = grad_cam(_Brightness(sign), x)
    assert (p > 0.5) == (sign > 0)
    assert cam.shape == (8, 8) and np.unravel_index(cam.argmax(), cam.shape) == (1, 5)
    assert (cam.max(), np.count_nonzero(cam)) == (1, 1)


@pytest.mark.parametrize("name", ["DeepFakeClassifier", "DeepFakeClassifierSRM", "DeepFakeClassifierGWAP"])
def test_looking_leaves_the_network_and_its_answer_as_they_are(name):
    torch.manual_seed(1)
    network = create_network(name, "mobilenetv3_small_050").eval()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        before = torch.sigmoid(network(x)).item()
    p, cam = grad_cam(network, x)
    assert p == pytest.approx(before, abs=1e-6)
    assert cam.shape == (3, 3) and cam.min() >= 0 and cam.max() <= 1
    assert "forward_features" not in vars(network.encoder)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_encoder_without_feature_maps_is_refused():
    network = create_network("DeepFakeClassifier", "vit_tiny_patch16_224").eval()
    with pytest.raises(ValueError, match="without places"):
        grad_cam(network, torch.zeros(1, 3, 224, 224))


@pytest.fixture
def seen(video, tmp_path):
    """A folder with one generated video, and its record as if `small` had been shown four faces."""
    (tmp_path / "videos").mkdir()
    shutil.copy(video, tmp_path / "videos" / "a.mp4")
    values = [0.6, 0.05, 0.7, 0.9]
    faces = [
        {"frame": frame, "box": [260, 60, 360, 190], "probabilities": [value]}
        for frame, value in zip((0, 10, 20, 30), values, strict=True)
    ]
    changes = {"models": ["small"], "labels": {"small": 0.56}, "faces": faces, "frames": [0, 10, 20, 30]}
    return tmp_path / "videos", generated.video("a.mp4", 0.9, models=["small"]) | changes


def test_faces_farthest_from_a_half_are_chosen(seen):
    (video,) = checked([seen[1]])
    assert [face.frame for face in most_certain(video, "small", 2)] == [10, 30]
    assert most_certain(video, "other", 2) == []


def test_report_shows_them_with_what_the_network_says(seen, weights, tmp_path):
    videos, record = seen
    (maps,) = heatmaps_of(checked([record]), videos, [weights / "small"], 2, "cpu")
    assert [(entry["frame"], entry["model"]) for entry in maps] == [(10, "small"), (30, "small")]
    assert all(entry[key].startswith("data:image/webp;base64,") for entry in maps for key in ("crop", "map"))
    network = load_checkpoint(weights / "small").network
    with torch.no_grad():
        grey = torch.sigmoid(network(torch.zeros(1, 3, 96, 96))).item()
    assert all(0 < entry["p"] < 1 and entry["p"] != round(grey, 4) for entry in maps)
    path = write_report([record], tmp_path / "r.html", videos=videos, heatmaps=2, checkpoints=[weights / "small"]).path
    assert maps[0]["map"] in path.read_text()


def test_video_that_is_gone_has_no_maps_and_is_told(seen, weights):
    videos, record = seen
    said = []
    records = [record | {"filename": "gone.mp4"}, record]
    maps = heatmaps_of(checked(records), videos, [weights / "small"], 1, "cpu", said.append)
    assert [len(entry) for entry in maps] == [0, 1]
    assert len(said) == 1 and said[0].startswith("gone.mp4: no heat maps: ")
    other = record | {"width": 2 * record["width"], "height": 2 * record["height"]}
    assert heatmaps_of(checked([other]), videos, [weights / "small"], 1, "cpu", said.append) == [[]]
    assert "is not the file that was scored" in said[1]


def test_checkpoint_that_had_no_part_in_the_run_is_refused(seen, weights):
    videos, record = seen
    with pytest.raises(UserError, match="no video of this run was shown"):
        heatmaps_of(checked([record]), videos, [weights / "other"], 1, "cpu")
