"""The server, checkpoints that it serves, and the folder they come to."""

from threading import Thread

import pytest

from tests.downloads.server import Server
from training.tools.checkpoints import save_checkpoint
from training.tools.config import NetworkConfig
from training.zoo.classifiers import create_network

ENCODER = "test_efficientnet"
OTHER_ENCODER = "test_resnet"


@pytest.fixture
def server():
    with Server() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="package")
def saved(tmp_path_factory):
    """The bytes of checkpoints: two sound ones of several chunks, and one whose weights are another network's."""
    folder = tmp_path_factory.mktemp("saved")
    config = NetworkConfig(encoder=ENCODER, size=64)
    for name, encoder in {"sound": ENCODER, "another": ENCODER, "misfit": OTHER_ENCODER}.items():
        save_checkpoint(folder / name, create_network("DeepFakeClassifier", encoder), config)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def sound(saved):
    return saved["sound"]


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder
