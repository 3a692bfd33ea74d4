"""The kernel under its published names and signatures."""

import hashlib
import inspect

import cv2
import numpy as np
import pytest
import torch

import kernel_utils
from faces.detector import FaceDetector
from inference.ensemble import Ensemble, Member
from kernel_utils import FaceExtractor, VideoReader, confident_strategy, predict_on_video, predict_on_video_set
from tests.sightings import sighted
from tests.test_video import ffmpeg
from training.tools.checkpoints import load_checkpoint
from training.tools.config import NetworkConfig

CPU_AVX512_SKX = 256  # in OpenCV's numbers


@pytest.fixture(scope="module")
def extractor(detector):
    reader = VideoReader(verbose=False)
    return FaceExtractor(lambda path: reader.read_frames(path, num_frames=6), detector)


@pytest.fixture(scope="module")
def network(weights):
    return load_checkpoint(weights / "small").network


def parameters(function) -> dict:
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


def test_signatures_are_the_published_ones():
    required = inspect.Parameter.empty
    assert parameters(VideoReader.__init__) == {"verbose": True, "insets": (0, 0)}
    assert parameters(VideoReader.read_frames) == {"path": required, "num_frames": required, "jitter": 0, "seed": None}
    assert parameters(VideoReader.read_random_frames) == {"path": required, "num_frames": required, "seed": None}
    assert list(parameters(VideoReader.read_frames_at_indices)) == ["path", "frame_idxs"]
    assert list(parameters(VideoReader.read_middle_frame)) == ["path"]
    assert list(parameters(VideoReader.read_frame_at_index)) == ["path", "frame_idx"]
    assert list(parameters(FaceExtractor.process_videos)) == ["input_dir", "filenames", "video_idxs"]
    assert next(iter(parameters(FaceExtractor.__init__))) == "video_read_fn"
    assert list(parameters(predict_on_video).items()) == [
        ("face_extractor", required),
        ("video_path", required),
        ("batch_size", required),
        ("input_size", required),
        ("models", required),
        ("strategy", np.mean),
        ("apply_compression", False),
    ]
    assert list(parameters(predict_on_video_set)) == [
        *("face_extractor", "videos", "input_size", "num_workers", "test_dir", "frames_per_video", "models"),
        *("strategy", "apply_compression"),
    ]
    assert all(hasattr(kernel_utils, name) for name in ("isotropically_resize_image", "put_to_center"))


def test_reader_gives_frames_and_indices(video):
    reader = VideoReader()
    frames, indices = reader.read_frames(video, 5)
    assert frames.shape == (5, 360, 640, 3) and frames.dtype == np.uint8
    assert indices == [0, 11, 23, 35, 47]
    middle, index = reader.read_middle_frame(video)
    assert middle.shape == (1, 360, 640, 3) and index == [24]
    one, index = reader.read_frame_at_index(video, 11)
    assert index == [11] and np.array_equal(one[0], frames[1])
    some, indices = reader.read_frames_at_indices(video, [35, 11, 11])
    assert indices == [11, 35] and np.array_equal(some[1], frames[3])


def test_reader_draws_by_seed(video):
    reader = VideoReader()
    assert reader.read_random_frames(video, 6, seed=1)[1] == reader.read_random_frames(video, 6, seed=1)[1]
    assert reader.read_random_frames(video, 6, seed=1)[1] != reader.read_random_frames(video, 6, seed=2)[1]
    plain = reader.read_frames(video, 6)[1]
    jittered = reader.read_frames(video, 6, jitter=3, seed=1)[1]
    assert jittered != plain and len(jittered) >= 5
    assert all(min(abs(a - b) for b in plain) <= 3 for a in jittered)


def test_insets_cut_the_sides(video):
    whole, _ = VideoReader().read_frame_at_index(video, 0)
    cut, _ = VideoReader(insets=(0.25, 0.1)).read_frame_at_index(video, 0)
    assert np.array_equal(cut, whole[:, 36:324, 160:480])


def test_reader_gives_none_and_says_why(tmp_path, video, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert VideoReader().read_frames(tmp_path / "a.mp4", 4) is None
    assert "a.mp4: is empty" in capsys.readouterr().err
    assert VideoReader(verbose=False).read_frames(tmp_path / "a.mp4", 4) is None
    assert VideoReader(verbose=False).read_frame_at_index(video, 5000) is None
    assert VideoReader(verbose=False).read_frame_at_index(video, -1) is None
    assert capsys.readouterr().err == ""


def test_extractor_gives_one_dict_per_frame(extractor, sample_root):
    found = extractor.process_videos(sample_root / "dfdc_train_part_0", ["519.mp4", "004.mp4"], [1])
    assert [frame["frame_idx"] for frame in found] == [0, 9, 18, 28, 37, 47]
    assert set(found[0]) == {"video_idx", "frame_idx", "frame_w", "frame_h", "faces", "scores"}
    assert (found[0]["video_idx"], found[0]["frame_w"], found[0]["frame_h"]) == (1, 640, 360)
    assert [len(frame["faces"]) for frame in found] == [1] * 6
    assert found[0]["faces"][0].dtype == np.uint8 and 0.8 < found[0]["scores"][0] <= 1
    alone = extractor.process_video(sample_root / "dfdc_train_part_0" / "004.mp4")
    assert np.array_equal(alone[3]["faces"][0], found[3]["faces"][0])


def test_every_golden_face_is_reproduced(samples, golden):
    """Frames, crop sizes and network inputs of three real videos, at the published detector scale."""
    reader = VideoReader()
    extractor = FaceExtractor(lambda path: reader.read_frames(path, num_frames=32), FaceDetector(scale=0.5))
    files = {path.name: path for path in samples.rglob("*.mp4")}
    for name, expected in golden("inference_faces.json").items():
        frames = extractor.process_video(files[name])
        faces = [
            (f["frame_idx"], face, score) for f in frames for face, score in zip(f["faces"], f["scores"], strict=True)
        ]
        assert [index for index, *_ in faces] == [face["frame"] for face in expected]
        sizes = np.array([face.shape[:2] for _, face, _ in faces])
        golden_sizes = np.array([face["crop_hw"] for face in expected])
        assert (sizes == golden_sizes).all(axis=1).mean() >= 0.95
        assert np.abs(sizes - golden_sizes).max() <= 3
        inputs = [
            kernel_utils.put_to_center(kernel_utils.isotropically_resize_image(face, 380), 380) for _, face, _ in faces
        ]
        means = np.array([image.mean() for image in inputs])
        differences = np.abs(means - [face["input_mean"] for face in expected])
        assert np.quantile(differences, 0.9) <= 0.0005 and differences.max() < 0.5  # they are told to three digits
        # OpenCV shrinks pictures by Intel's IPP, which rounds a few pixels otherwise on CPUs without AVX-512.
        if cv2.checkHardwareSupport(CPU_AVX512_SKX):
            hashes = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in inputs]
            assert np.mean([a == face["input_sha256_16"] for a, face in zip(hashes, expected, strict=True)]) >= 0.9


def row_of(network, crops):
    ensemble = Ensemble([Member("n", network, NetworkConfig(size=96))], torch.device("cpu"))
    return ensemble.probabilities(sighted(crops))[0]


def test_label_is_the_strategy_over_the_faces(extractor, network, video):
    crops = [face for frame in extractor.process_video(video) for face in frame["faces"]]
    row = row_of(network, crops)
    predict = lambda **options: predict_on_video(extractor, video, 128, 96, [network], **options)  # noqa: E731
    assert predict() == pytest.approx(row.mean(), abs=1e-6)
    assert predict(strategy=np.max) == pytest.approx(row.max(), abs=1e-6)
    assert predict(strategy=confident_strategy) == pytest.approx(confident_strategy(row), abs=1e-6)
    assert predict(apply_compression=True) != predict()


def test_batch_size_is_a_number_of_frames_with_room_for_four_faces_each(extractor, network, video):
    crops = [face for frame in extractor.process_video(video) for face in frame["faces"]]
    assert len(crops) == 6
    for frames, faces in ((1, crops[:3]), (2, crops)):
        row = row_of(network, faces)
        assert predict_on_video(extractor, video, frames, 96, [network]) == pytest.approx(row.mean(), abs=1e-6)


def test_frames_of_another_size_than_the_first_are_left_out(video, tmp_path, capsys):
    for name, size in (("large", "320:180"), ("small", "160:90")):
        out = tmp_path / f"{name}.webm"
        ffmpeg("-i", video, "-frames:v", 5, "-vf", f"scale={size}", "-c:v", "libvpx-vp9", "-cpu-used", 8, out)
    (tmp_path / "list").write_text("file large.webm\nfile small.webm\n")
    ffmpeg("-f", "concat", "-i", tmp_path / "list", "-c", "copy", tmp_path / "both.webm")
    frames, indices = VideoReader().read_frames(tmp_path / "both.webm", 10)
    assert frames.shape[1:] == (180, 320, 3) and 1 <= len(frames) == len(indices) < 10
    assert "of another size than the first are left out" in capsys.readouterr().err


def test_one_face_scores_itself(detector, network, video):
    reader = VideoReader()
    one = FaceExtractor(reader.read_middle_frame, detector)
    assert len(one.process_video(video)) == 1
    mean, confident = (
        predict_on_video(one, video, 128, 96, [network], strategy=s) for s in (np.mean, confident_strategy)
    )
    assert mean == confident != 0.5


def test_set_of_videos_gives_their_labels_in_order(extractor, network, sample_root):
    folder = sample_root / "dfdc_train_part_0"
    labels = predict_on_video_set(extractor, ["519.mp4", "004.mp4"], 96, 2, folder, 6, [network])
    alone = [predict_on_video(extractor, folder / name, 128, 96, [network]) for name in ("519.mp4", "004.mp4")]
    assert labels == alone


def test_unreadable_video_scores_half_with_a_warning(extractor, network, video, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    (tmp_path / "b.mp4").write_bytes(video.read_bytes())
    with pytest.warns(UserWarning, match="a.mp4: no frame could be read; scored 0.5"):
        labels = predict_on_video_set(extractor, ["a.mp4", "b.mp4"], 96, 1, tmp_path, 6, [network])
    assert labels[0] == 0.5 and labels[1] != 0.5
