"""MTCNN: the scale rule, batches, order and coordinates of boxes."""

import argparse

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import batched_nms

from faces import mtcnn, mtcnn_networks
from faces.detector import (
    BOX_THRESHOLDS,
    INFERENCE_THRESHOLDS,
    LANDMARK_THRESHOLDS,
    FaceDetector,
    auto_scale,
    scale_argument,
    shrink,
)
from faces.video import read_evenly


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (240, 299, 2.0),
        (240, 300, 1.0),
        (480, 640, 1.0),
        (1000, 700, 1.0),
        (720, 1001, 0.5),
        (1900, 1080, 0.5),
        (1901, 1080, 0.33),
        (2160, 3840, 0.33),
    ],
)
def test_input_size_follows_the_longer_side(height, width, scale):
    assert auto_scale(height, width) == scale


def test_scale_argument():
    assert scale_argument("auto") is None
    assert scale_argument("0.5") == 0.5
    for text in ("0", "-1", "nan", "wide", "100"):
        with pytest.raises(argparse.ArgumentTypeError):
            scale_argument(text)


@pytest.mark.parametrize("scale", [None, 0.5, 2.0])
def test_frames_are_shrunk_with_pils_bicubic_filter_to_truncated_sides(scale):
    frame = np.random.RandomState(0).randint(0, 256, (1081, 1921, 3), dtype=np.uint8)
    small = shrink(frame, scale)
    width, height = {None: (633, 356), 0.5: (960, 540), 2.0: (3842, 2162)}[scale]
    assert small.shape == (height, width, 3) and small.flags.c_contiguous
    pils = np.asarray(Image.fromarray(frame).resize((width, height), Image.BICUBIC)).astype(int)
    assert np.abs(small - pils).max() <= 2
    assert np.mean(small != pils) < 1 / 200
    assert shrink(frame, 1.0) is frame


def test_views_of_frames_are_shrunk_like_copies():
    frame = np.random.RandomState(0).randint(0, 256, (360, 640, 3), dtype=np.uint8)
    for view in (frame[..., ::-1], frame.transpose(1, 0, 2), frame[::2, 10:-10]):
        assert np.array_equal(shrink(view, 0.5), shrink(view.copy(), 0.5))


def boxes_in(mtcnn, frames):
    return [np.sort(boxes, axis=0) for boxes, _, _ in mtcnn.detect(frames)]


def test_batch_finds_what_single_frames_find(video, detector):
    frames = read_evenly(video, 8).images
    for together, frame in zip(boxes_in(detector.mtcnn, frames), frames, strict=True):
        (alone,) = boxes_in(detector.mtcnn, [frame])
        assert len(together) == len(alone) > 0
        assert np.abs(together - alone).max() < 0.05


def test_real_batches_find_what_single_frames_find(samples, detector):
    for name in ("parity/dfdc_train_part_0/519.mp4", "test_videos/brtujopkby.mp4"):
        frames = [shrink(frame, 0.5) for frame in read_evenly(samples / name, 8).images]
        for together, frame in zip(boxes_in(detector.mtcnn, frames), frames, strict=True):
            (alone,) = boxes_in(detector.mtcnn, [frame])
            assert len(together) == len(alone)
            assert len(alone) == 0 or np.abs(together - alone).max() < 0.05


def test_detecting_leaves_the_threads_of_others_as_they_are(video):
    before = torch.get_num_threads()
    detector = FaceDetector()
    assert torch.get_num_threads() == before
    if detector.thread:
        assert detector.thread.submit(torch.get_num_threads).result() == 1
    detector.detect(read_evenly(video, 2).images)
    assert torch.get_num_threads() == before


def test_frames_in_flight_do_not_mix(video, detector):
    frames = read_evenly(video, 6).images
    empty, small = np.full_like(frames[0], 127), np.zeros((9, 9, 3), np.uint8)
    mixed = [empty, frames[0], small, frames[1], empty, frames[2][:, :600], frames[3], small]
    for together, frame in zip(detector.detect(mixed), mixed, strict=True):
        (alone,) = detector.detect([frame])
        assert np.allclose(together.boxes, alone.boxes, atol=0.001)
        assert np.allclose(together.points, alone.points, atol=0.001)
    assert [len(found) for found in detector.detect(mixed)] == [0, 1, 0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 12), (14, 25), (15, 26), (64, 91), (65, 90)])
def test_pnet_in_openvino_gives_the_numbers_of_facenet_pytorchs(height, width):
    """Odd sides as well, at whose last row or column it pools what there is."""
    pytest.importorskip("openvino")
    from facenet_pytorch.models.mtcnn import PNet

    x = torch.randn(2, 4, height, width).contiguous(memory_format=torch.channels_last)
    pnet, _, _ = mtcnn_networks.load_networks(torch.device("cpu"))
    found = pnet.start(x)(lambda *outputs: [output.clone() for output in outputs])
    with torch.inference_mode():
        expected = PNet()(x[:, :3])
    assert [output.shape for output in found] == [output.shape for output in expected]
    assert all((one - other).abs().max() < 1e-5 for one, other in zip(found, expected, strict=True))


def test_boxes_are_suppressed_group_by_group():
    random = np.random.RandomState(0)
    corners = torch.from_numpy(random.uniform(0, 60, (300, 2)).astype(np.float32))
    boxes = torch.cat([corners, corners + 20], dim=1)
    scores = torch.from_numpy((random.randint(0, 200, 300) / 200).astype(np.float32))  # some of them the same
    groups = torch.from_numpy(random.randint(0, 9, 300))
    kept = mtcnn._nms(boxes, scores, groups, 0.5)
    assert 30 < len(kept) < 250 and torch.equal(kept, batched_nms(boxes, scores, groups, 0.5))
    assert len(mtcnn._nms(boxes[:0], scores[:0], groups[:0], 0.5)) == 0


def test_last_of_equally_certain_boxes_is_kept_as_in_facenet_pytorch():
    boxes = torch.tensor([[0.0, 0, 40, 40], [50, 50, 90, 90], [2, 2, 40, 40], [1, 1, 40, 40]])
    scores = torch.tensor([1.0, 0.9, 1.0, 0.8])
    assert mtcnn._nms_by_smaller_area(boxes, scores, torch.zeros(4, dtype=torch.int64)).tolist() == [2, 1]
    assert mtcnn._nms_by_smaller_area(boxes, scores, torch.tensor([0, 0, 1, 1])).tolist() == [2, 0, 1]


def test_what_networks_are_given_at_a_time_changes_nothing(video, detector, monkeypatch):
    frames = read_evenly(video, 4).images
    frames[1:3] = [np.full_like(frames[0], 127), np.ascontiguousarray(frames[2][:, ::-1])]
    found = detector.detect(frames)
    assert [len(each) for each in found] == [1, 0, 1, 1]
    for pixels in (1, 2**30):
        monkeypatch.setitem(mtcnn.PIXELS_OF_LEVELS, "cpu", pixels)
        monkeypatch.setitem(mtcnn.PIXELS_OF_CROPS, "cpu", pixels)
        for one, other in zip(found, detector.detect(frames), strict=True):
            assert len(one) == len(other)
            assert np.allclose(one.boxes, other.boxes, atol=0.001) and np.allclose(one.points, other.points, atol=0.001)


def test_openvino_and_pytorch_find_the_same(video, monkeypatch):
    pytest.importorskip("openvino")
    frames = read_evenly(video, 4).images
    found = FaceDetector().detect(frames)
    monkeypatch.setattr(mtcnn_networks, "core", lambda: None)
    mtcnn_networks.load_networks.cache_clear()
    try:
        in_pytorch = FaceDetector()
        assert in_pytorch.thread is None
        for one, other in zip(found, in_pytorch.detect(frames), strict=True):
            assert len(one) == len(other) > 0
            assert np.abs(one.boxes - other.boxes).max() < 0.001
            assert np.abs(one.scores - other.scores).max() < 1e-5
    finally:
        mtcnn_networks.load_networks.cache_clear()


def test_boxes_are_in_pixels_of_the_frame_at_any_scale(video):
    frame = read_evenly(video, 1).images
    boxes = [FaceDetector(scale=scale).detect(frame)[0].boxes for scale in (1.0, 0.5, 0.75)]
    assert all(len(found) == 1 for found in boxes)
    width = boxes[0][0, 2] - boxes[0][0, 0]
    for other in boxes[1:]:
        assert np.abs(other - boxes[0]).max() < 0.12 * width


def test_faces_come_largest_first(video, detector):
    frame = read_evenly(video, 1).images[0]
    half = np.asarray(Image.fromarray(frame).resize((320, 180)))
    canvas = np.zeros((360, 960, 3), dtype=np.uint8)
    canvas[:180, :320] = half
    canvas[:, 320:] = frame
    found = detector.detect([canvas])[0]
    assert len(found) == 2
    areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    assert areas[0] > 2 * areas[1]
    assert found.scores.shape == (2,) and found.points.shape == (2, 5, 2)
    left_eye, right_eye = found.points[0, :2]
    assert found.boxes[0, 0] < left_eye[0] < right_eye[0] < found.boxes[0, 2]


def test_no_face_no_boxes(detector):
    blank = np.full((200, 320, 3), 127, dtype=np.uint8)
    found = detector.detect([blank, blank])
    assert [len(detections) for detections in found] == [0, 0]
    assert found[0].boxes.shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 1), (9, 640), (16, 16), (2000, 3)])
def test_frames_too_small_for_a_face_have_none(detector, size):
    assert len(detector.detect([np.zeros((*size, 3), dtype=np.uint8)])[0]) == 0


def test_frames_of_several_sizes_are_detected_together(video, detector):
    frame = read_evenly(video, 1).images[0]
    mixed = detector.detect([frame, frame[:, :600], frame])
    assert [len(found) for found in mixed] == [1, 1, 1]
    assert np.array_equal(mixed[0].boxes, mixed[2].boxes)


def test_no_frames_no_detections(detector):
    assert detector.detect([]) == []


@pytest.mark.parametrize("thresholds", [INFERENCE_THRESHOLDS, LANDMARK_THRESHOLDS, BOX_THRESHOLDS])
def test_faces_are_those_facenet_pytorch_finds(video, sample_root, thresholds):
    """Boxes, scores and points of the reference implementation, frame by frame."""
    from facenet_pytorch import MTCNN

    reference = MTCNN(margin=0, thresholds=list(thresholds)).eval()
    for path in (video, sample_root / "dfdc_train_part_1" / "fvkanshbie.mp4"):
        frames = read_evenly(path, 4).images
        for frame, found in zip(frames, FaceDetector(thresholds, scale=1.0).detect(frames), strict=True):
            boxes, scores, points = reference.detect(frame, landmarks=True)
            assert len(found) == (0 if boxes is None else len(boxes))
            if boxes is not None:
                assert np.abs(found.boxes - boxes.astype(float)).max() < 0.01
                assert np.abs(found.scores - scores.astype(float)).max() < 1e-4
                assert np.abs(found.points - points.astype(float)).max() < 0.01


def test_real_faces_are_those_facenet_pytorch_finds(samples):
    from facenet_pytorch import MTCNN

    reference = MTCNN(margin=0, thresholds=list(INFERENCE_THRESHOLDS)).eval()
    frames = read_evenly(samples / "test_videos" / "brtujopkby.mp4", 6).images
    inputs = [shrink(frame, 0.33) for frame in frames]
    for small, found in zip(inputs, FaceDetector(scale=1.0).detect(inputs), strict=True):
        boxes, _ = reference.detect(small)
        assert len(found) == (0 if boxes is None else len(boxes))
        assert boxes is None or np.abs(found.boxes - boxes.astype(float)).max() < 0.01


def test_box_hanging_over_the_edge_is_found(video, detector):
    frame = read_evenly(video, 1).images[0]
    left, _, right, _ = detector.detect([frame])[0].boxes[0]
    cut = np.ascontiguousarray(frame[:, int(left + 0.3 * (right - left)) :])
    from facenet_pytorch import MTCNN

    boxes, _ = MTCNN(margin=0, thresholds=list(INFERENCE_THRESHOLDS)).eval().detect(cut)
    found = detector.detect([cut])[0]
    assert len(found) == (0 if boxes is None else len(boxes))
    assert boxes is None or np.abs(found.boxes - boxes.astype(float)).max() < 0.01


def test_a_frame_that_fails_takes_no_other_call_with_it(video, detector):
    frames = read_evenly(video, 3).images
    (before,) = detector.detect(frames[:1])
    inputs = [*frames, np.zeros((200, 200, 2), np.uint8), *frames]
    with pytest.raises(cv2.error):
        detector.detect_shrunk(inputs, [frame.shape[:2] for frame in inputs])
    (after,) = detector.detect(frames[:1])
    assert np.array_equal(before.boxes, after.boxes)
