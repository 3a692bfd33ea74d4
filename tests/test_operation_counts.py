"""How much work a known input costs: nothing is decoded, detected, converted, copied or computed twice."""

from collections import Counter

import av
import cv2
import numpy as np
import pytest
import torch
from torch import nn

from demo.fresh_network import write_fresh_network
from faces import decoders
from faces import video as decoding
from faces.detector import FaceDetector
from faces.frame_memory import FrameMemories
from faces.geometry import crop_bounds
from faces.mtcnn import Mtcnn
from faces.video import VideoFile
from inference import engines, openvino_engine, readings, views
from inference.ensemble import Member
from inference.views import SingleFrames
from predict_folder import predict_folder
from training.tools import checkpoints

FRAMES = 6  # each with one face
FRAME_BYTES = 640 * 360 * 3
CROPS = "bytes of crops kept"


def buffer(array: np.ndarray) -> np.ndarray:
    """What an array keeps in memory: for a part of another, the whole."""
    return buffer(array.base) if isinstance(array.base, np.ndarray) else array


@pytest.fixture
def counted(monkeypatch):
    """Counts of costly calls and of the bytes they make, by name; videos are read in this process, to be counted."""
    monkeypatch.setattr(decoders, "AVAILABLE", False)
    counts = Counter()

    def count(owner, name, key, amount=lambda result, *args: 1):
        function = getattr(owner, name)

        def spy(*args, **kwargs):
            result = function(*args, **kwargs)
            counts[key] += amount(result, *args)
            return result

        monkeypatch.setattr(owner, name, spy)

    def size(result, *args):
        return 0 if any(result is arg for arg in args) else result.nbytes

    def crops(result, *args):
        return sum(buffer(sighting.pictures["frame"]).nbytes for sighting in result[0])

    count(VideoFile, "__init__", "videos opened")
    count(decoding, "_is_non_reference", "packets skipped", lambda skipped, *args: int(skipped))
    count(decoding, "_upright", "frames converted")
    count(decoding, "_upright", "bytes of frames", size)
    count(cv2, "cvtColor", "bytes of frames recoloured", size)
    count(views, "shrink", "bytes of detector inputs", size)
    count(FaceDetector, "detect_shrunk", "detections")
    count(Mtcnn, "_steps", "frames detected", lambda result, self, frames, *rest: len(frames))
    count(SingleFrames, "find", CROPS, crops)
    count(readings, "network_input", "crops resized")
    count(readings, "network_input", "bytes of network inputs", size)
    count(nn.Module, "__call__", "networks run", lambda _, self, *args: type(self).__name__ == "DeepFakeClassifier")
    if openvino_engine.core() is not None:
        count(openvino_engine, "converted", "networks converted")
        count(openvino_engine.OpenVinoNetwork, "__call__", "pictures in OpenVINO", lambda result, *args: len(result))
    return counts


@pytest.fixture
def predict(weights, tmp_path, monkeypatch):
    """Runs the prediction as `predict_folder` does by default, but for FRAMES frames."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(source, *models, engine="torch", **options):
        options = {"weights_dir": weights, "frames": FRAMES, "say": lambda line: None, **options}
        return predict_folder(source, list(models), engine=engine, **options)

    return call


def size_of_crops(path, scale=None) -> int:
    """Bytes of the crops of the faces that are found in FRAMES frames, and of nothing around them."""
    view = SingleFrames(FaceDetector(scale=scale), FRAMES, 99)
    sightings, _ = view.find(view.prepare(views.reader_for([view])(path)))
    bounds = [crop_bounds(sighting.boxes[0], 360, 640) for sighting in sightings]
    return sum((bottom - top) * (right - left) * 3 for top, bottom, left, right in bounds)


def non_reference_frames(path) -> set[int]:
    """The frames that no other one needs, as FFmpeg's decoder sees it."""
    shown = []
    for skip in ("DEFAULT", "NONREF"):
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.skip_frame = skip
            shown.append([frame.pts for frame in container.decode(video=0)])
    everything, needed = shown
    return {index for index, pts in enumerate(sorted(everything)) if pts not in needed}


def test_single_network(video, predict, counted):
    kept, unneeded = size_of_crops(video), non_reference_frames(video) - {0, 9, 18, 28, 37, 47}
    assert kept > 0 and len(unneeded) >= 10
    counted.clear()
    predict(video, "small")
    assert counted == Counter(
        {
            "videos opened": 1,
            "packets skipped": len(unneeded),
            "frames converted": FRAMES,
            "bytes of frames": FRAMES * FRAME_BYTES,
            "bytes of frames recoloured": FRAMES * FRAME_BYTES // 3 * 4,  # a fourth channel, for the detector
            "bytes of detector inputs": 0,  # at this size the frames themselves
            "detections": 1,
            "frames detected": FRAMES,
            CROPS: kept,
            "crops resized": FRAMES,
            "bytes of network inputs": FRAMES * 96 * 96 * 3,
            "networks run": FRAMES,
        }
    )


def test_frames_at_half_size_are_made_once(video, predict, counted):
    kept = size_of_crops(video, scale=0.5)
    counted.clear()
    predict(video, "small", detector_scale=0.5)
    assert counted["bytes of frames"] == FRAMES * FRAME_BYTES
    assert counted["bytes of detector inputs"] == FRAMES * FRAME_BYTES // 4
    assert counted[CROPS] == kept and counted["crops resized"] == FRAMES


def test_networks_of_one_size_share_their_inputs(video, tmp_path, predict, counted):
    for seed in range(3):
        write_fresh_network(tmp_path / f"n{seed}", seed=seed, encoder="mobilenetv3_small_050", size=64)
    predict(video, "n0", "n1", "n2", weights_dir=tmp_path)
    assert counted["frames converted"] == counted["frames detected"] == counted["crops resized"] == FRAMES
    assert counted["bytes of network inputs"] == FRAMES * 64 * 64 * 3
    assert counted["networks run"] == 3 * FRAMES


def test_networks_of_one_kind_are_built_and_counted_once(tmp_path, monkeypatch):
    calls = Counter()
    for owner, name in ((checkpoints, "network_of"), (engines, "_counted_operations")):
        function = getattr(owner, name)

        def spy(*args, function=function, name=name):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(owner, name, spy)
    monkeypatch.setattr(engines, "_operations", {})
    checkpoints._without_weights.cache_clear()
    loaded = []
    for seed, size in enumerate((64, 64, 96)):
        write_fresh_network(tmp_path / f"n{seed}", seed=seed, encoder="mobilenetv3_small_050", size=size)
        loaded.append(checkpoints.load_checkpoint(tmp_path / f"n{seed}"))
    first, second, larger = (engines.operations(Member.from_checkpoint(checkpoint)) for checkpoint in loaded)
    assert first == second < larger
    assert calls == {"network_of": 2, "_counted_operations": 2}
    weights = [next(checkpoint.network.parameters()) for checkpoint in loaded]
    assert not any(weight.is_meta for weight in weights) and not torch.equal(*weights[:2])


def test_larger_batches_are_fewer_runs(video, predict, counted):
    predict(video, "small", batch_size=4)
    assert counted["networks run"] == 2


@pytest.mark.skipif(openvino_engine.core() is None, reason="OpenVINO is not installed")
def test_second_start_converts_no_network(video, predict, counted):
    first = predict(video, "small", "other", engine="openvino").labels
    assert counted["networks converted"] == 2 and counted["pictures in OpenVINO"] == 2 * FRAMES
    assert predict(video, "small", "other", engine="openvino").labels == first
    assert counted["networks converted"] == 2 and counted["pictures in OpenVINO"] == 4 * FRAMES


def test_frames_are_handed_over_by_another_process_without_a_copy(video, predict, monkeypatch):
    handed: list[np.ndarray] = []
    lend = FrameMemories.lend

    def spy(*arguments):
        images = lend(*arguments)
        handed.extend(images)
        return images

    monkeypatch.setattr(FrameMemories, "lend", spy)
    predict(video, "small", detector_scale=1.0)
    assert [image.nbytes for image in handed] == FRAMES * [FRAME_BYTES]
    assert not any(image.flags.owndata for image in handed)
