"""Fixtures built once: generated sample videos, small checkpoints, and the real samples where they are at hand."""

import codecs
import csv
import json
import os
import shutil
import signal
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

import predict_folder as command
from common.errors import exit_on_user_error
from common.threads import add_up_in_one_order, wait_without_spinning
from predict_folder import predict_folder
from preprocessing import pipeline

# Runs in this process shall be as those of the command.
add_up_in_one_order()
wait_without_spinning()
# What a shell starts in the background ignores Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
REPOSITORY = Path(__file__).resolve().parent.parent


def _shared_folder() -> Path:
    """The folder with `samples` and `golden`: DFDC_SHARED, or `shared` beside the repository."""
    return Path(os.environ.get("DFDC_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture
def shared_with_nobody():
    """A folder that every user may read, and what runs a block as one without rights: root may look anywhere."""

    codecs.lookup("utf-8-sig")  # Python's own modules, which it reads when they are first used, may be closed as well

    @contextmanager
    def as_nobody():
        if os.geteuid():
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    with tempfile.TemporaryDirectory() as name:  # not below pytest's, which are closed to others
        Path(name).chmod(0o755)
        with as_nobody():
            reachable = os.access(name, os.R_OK, effective_ids=True)
        if not reachable:
            pytest.skip(f"other users may not look into {Path(name).parent}")
        yield Path(name), as_nobody


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def samples() -> Path:
    """Real videos; they may not be redistributed, so most checkouts do not have them."""
    folder = _shared_folder() / "samples"
    if not folder.is_dir():
        pytest.skip(f"no real samples in {folder}; DFDC_SHARED names the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def golden():
    """Reads a JSON file of results of the published solution."""
    folder = _shared_folder() / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden results in {folder}; DFDC_SHARED names the folder that holds them")
    return lambda name: json.loads((folder / name).read_text())


@pytest.fixture(scope="session")
def parity(samples, tmp_path_factory) -> Path:
    """The real pairs that the golden results were computed on, after all preprocessing at the published scale."""
    root = shutil.copytree(samples / "parity", tmp_path_factory.mktemp("parity") / "root")
    assert pipeline.main([str(root), "--detector-scale", "0.5"]) == 0
    return root


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory) -> Path:
    """Three short generated videos in DFDC layout: one face, its fake, and one without a face."""
    from demo.sample_videos import make_sample_root

    root = tmp_path_factory.mktemp("sample_root")
    make_sample_root(root, seconds=1.6, width=640, height=360, videos=["004", "519", "fvkanshbie"])
    return root


@pytest.fixture(scope="session")
def video(sample_root) -> Path:
    """A generated video of 48 frames, 640x360, with one face."""
    return sample_root / "dfdc_train_part_0" / "004.mp4"


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A data root of three parts in two folds, 27 frames a video: two pairs, one with two faces; one without a face."""
    from demo.sample_videos import make_sample_root

    root = tmp_path_factory.mktemp("videos")
    ids = ["004", "519", "fvkanshbie", "gtyoqwmdre", "hplzkcxiun"]
    make_sample_root(root, seconds=0.9, width=640, height=360, videos=ids)
    return root


@pytest.fixture
def root(videos, tmp_path) -> Path:
    """A copy of `videos` to work in."""
    return shutil.copytree(videos, tmp_path / "root")


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A folder with two small checkpoints, `small` and `other`, of different input sizes."""
    from demo.fresh_network import write_fresh_network

    folder = tmp_path_factory.mktemp("weights")
    write_fresh_network(folder / "small", encoder="mobilenetv3_small_050", size=96, seed=1)
    write_fresh_network(folder / "other", encoder="mobilenetv3_small_050", size=64, seed=2)
    return folder


@pytest.fixture(scope="session")
def detector():
    from faces.detector import FaceDetector

    return FaceDetector()


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="session")
def folder(sample_root, tmp_path_factory):
    """Three videos that can be scored, or at least read, directly in one folder."""
    folder = tmp_path_factory.mktemp("videos")
    for path in sample_root.rglob("*.mp4"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def run(folder, weights, tmp_path, capsys):
    """Runs the command on the folder; returns (exit code, stdout, stderr). Options override the defaults."""

    def call(*extra, test_dir=folder, models=("small",), output=tmp_path / "out.csv", frames="6"):
        argv = ["--test-dir", test_dir, "--weights-dir", weights, "--models", *models, "--output", output]
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: command.main([str(a) for a in [*argv, "--frames", frames, *extra]]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def labels(folder, weights):
    return predict_folder(folder, ["small"], weights_dir=weights, frames=6, say=lambda line: None).labels


@pytest.fixture(scope="session")
def processed(videos, tmp_path_factory):
    """The videos after an uninterrupted run of all steps."""
    root = shutil.copytree(videos, tmp_path_factory.mktemp("processed") / "root")
    assert pipeline.main([str(root), "--workers", "2"]) == 0
    return root


@pytest.fixture(scope="session")
def clipped(tmp_path_factory):
    """Three pairs, each in a fold of its own, one of them fold 0, after step 6."""
    from demo.training_videos import make_training_root
    from preprocessing import extract_clips

    root = tmp_path_factory.mktemp("clipped") / "root"
    make_training_root(root, pairs=3)
    assert extract_clips.main(["--root-dir", str(root), "--workers", "2"]) == 0
    return root


@pytest.fixture(scope="session")
def s3():
    """An S3 server on this machine, which the environment leads to; its URL."""
    from tests.object_store import s3_server

    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3):
    """The URL of a bucket of this test's own, with nothing in it."""
    from tests.object_store import new_bucket

    return new_bucket(f"b-{uuid.uuid4().hex[:12]}")
