"""How much work a known input costs: nothing is decoded, detected, converted or computed twice."""

from collections import Counter

import pytest
from torch import nn

from demo.fresh_network import write_fresh_network
from faces import video as decoding
from faces.detector import FaceDetector
from faces.mtcnn import Mtcnn
from faces.video import VideoFile
from inference import readings
from predict_folder import predict_folder

FRAMES = 6  # each with one face


@pytest.fixture
def counted(monkeypatch):
    """Counts of the costly calls, by name."""
    counts = Counter()

    def count(owner, name, key, amount=lambda *args: 1):
        function = getattr(owner, name)

        def spy(*args, **kwargs):
            counts[key] += amount(*args)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    count(VideoFile, "__init__", "videos opened")
    count(decoding, "_upright_bgr", "frames converted")
    count(FaceDetector, "detect_shrunk", "detections")
    count(Mtcnn, "detect", "frames detected", lambda self, frames, *rest: len(frames))
    count(readings, "network_input", "crops resized")
    count(nn.Module, "__call__", "networks run", lambda self, *args: int(type(self).__name__ == "DeepFakeClassifier"))
    return counts


def test_single_network(video, weights, counted):
    predict_folder(video, ["small"], weights_dir=weights, frames=FRAMES, engine="torch", say=lambda line: None)
    assert counted == {
        "videos opened": 1,
        "frames converted": FRAMES,
        "detections": 1,
        "frames detected": FRAMES,
        "crops resized": FRAMES,
        "networks run": FRAMES,
    }


def test_networks_of_one_size_share_their_inputs(video, tmp_path, counted):
    for seed in range(3):
        write_fresh_network(tmp_path / f"n{seed}", seed=seed, encoder="mobilenetv3_small_050", size=64)
    predict_folder(
        video, ["n0", "n1", "n2"], weights_dir=tmp_path, frames=FRAMES, engine="torch", say=lambda line: None
    )
    assert counted["frames converted"] == counted["frames detected"] == counted["crops resized"] == FRAMES
    assert counted["networks run"] == 3 * FRAMES


def test_larger_batches_are_fewer_runs(video, weights, counted):
    predict_folder(video, ["small"], weights_dir=weights, frames=FRAMES, batch_size=4, engine="torch", say=print)
    assert counted["networks run"] == 2
