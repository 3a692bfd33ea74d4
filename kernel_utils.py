"""The inference kernel under the names of the published one, for code that was written against it.

Everything here stands on the same stream as `predict_folder.py`. `FaceDetector(scale=0.5)` handed to `FaceExtractor`
reproduces the published detections.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from faces.detector import FaceDetector
from faces.geometry import crop_face, isotropically_resize_image, put_to_center
from faces.video import Frames, VideoError, evenly_spaced, read_frames
from inference.ensemble import Ensemble, Member
from inference.strategies import Rule, Strategy, confident_strategy
from inference.stream import Video, VideoScore, score_videos
from inference.views import SingleFrames, most_faces
from training.tools.config import NetworkConfig

__all__ = [
    "FaceExtractor",
    "VideoReader",
    "confident_strategy",
    "isotropically_resize_image",
    "predict_on_video",
    "predict_on_video_set",
    "put_to_center",
]

FramesAndIndices = tuple[np.ndarray, list[int]]


class VideoReader:
    """Reads frames as RGB arrays. Every method returns (frames (N, H, W, 3) uint8, indices), or None where it cannot.

    `insets` cuts that share of the width and of the height from either side. `verbose` prints why None came back.
    """

    def __init__(self, verbose: bool = True, insets: tuple[float, float] = (0, 0)):
        self.verbose = verbose
        self.insets = insets

    def read_frames(
        self, path: str | Path, num_frames: int, jitter: int = 0, seed: int | None = None
    ) -> FramesAndIndices | None:
        """`num_frames` evenly spaced frames; with `jitter` each is moved by up to that many frames, drawn by `seed`."""

        def choose(frame_count: int) -> Sequence[int]:
            indices = evenly_spaced(frame_count, num_frames)
            if jitter:
                indices = indices + np.random.RandomState(seed).randint(-jitter, jitter, len(indices))
            return np.clip(indices, 0, frame_count - 1)

        return self._read(path, choose)

    def read_random_frames(self, path: str | Path, num_frames: int, seed: int | None = None) -> FramesAndIndices | None:
        """`num_frames` frames drawn with replacement by `seed`, in order, repeats once."""
        return self._read(path, lambda count: np.random.RandomState(seed).choice(np.arange(count), num_frames))

    def read_frames_at_indices(self, path: str | Path, frame_idxs: Sequence[int]) -> FramesAndIndices | None:
        """The frames with these numbers, in increasing order, repeats once."""
        return self._read(path, lambda count: frame_idxs)

    def read_middle_frame(self, path: str | Path) -> FramesAndIndices | None:
        """The frame in the middle, N = 1."""
        return self._read(path, lambda count: [count // 2])

    def read_frame_at_index(self, path: str | Path, frame_idx: int) -> FramesAndIndices | None:
        """One frame, N = 1."""
        return self._read(path, lambda count: [frame_idx])

    def _read(self, path: str | Path, choose: Callable[[int], Sequence[int]]) -> FramesAndIndices | None:
        try:
            frames = read_frames(path, choose)
        except VideoError as error:
            if self.verbose:
                print(f"{path}: {error}", file=sys.stderr)
            return None
        kept = [i for i, image in enumerate(frames.images) if image.shape == frames.images[0].shape]
        if self.verbose:
            for warning in frames.warnings:
                print(f"{path}: {warning}", file=sys.stderr)
            if others := len(frames.images) - len(kept):
                print(f"{path}: {others} frames of another size than the first are left out", file=sys.stderr)
        return np.stack([self._inset(frames.images[i]) for i in kept]), [frames.indices[i] for i in kept]

    def _inset(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        cut_w, cut_h = int(width * self.insets[0]), int(height * self.insets[1])
        return image[cut_h : height - cut_h, cut_w : width - cut_w]


class FaceExtractor:
    """Finds the faces in the frames that `video_read_fn(path)` gives: (frames, indices) or None, as VideoReader does.

    The detector is MTCNN on the GPU if there is one, with the thresholds of inference, unless another is given.
    """

    def __init__(self, video_read_fn: Callable[[str], FramesAndIndices | None], detector: FaceDetector | None = None):
        self.video_read_fn = video_read_fn
        self.detector = detector or FaceDetector(device="cuda" if torch.cuda.is_available() else "cpu")

    def process_videos(
        self, input_dir: str | Path, filenames: Sequence[str], video_idxs: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Faces in `filenames[i]` of `input_dir` for each i of `video_idxs`: one dict per frame.

        Keys: video_idx, frame_idx, frame_w, frame_h, faces (RGB crops (h, w, 3) uint8, a third wider than their boxes
        on each side, largest first), scores (detection probabilities). A video that cannot be read gives no dict.
        """
        results = []
        for video_idx in video_idxs:
            read = self.video_read_fn(str(Path(input_dir, filenames[video_idx])))
            if read is None:
                continue
            frames, indices = read
            for frame_idx, frame, found in zip(indices, frames, self.detector.detect(frames), strict=True):
                crops = [
                    (crop_face(frame, box), float(score)) for box, score in zip(found.boxes, found.scores, strict=True)
                ]
                crops = [(crop, score) for crop, score in crops if crop.size]
                results.append(
                    {
                        "video_idx": video_idx,
                        "frame_idx": frame_idx,
                        "frame_w": frame.shape[1],
                        "frame_h": frame.shape[0],
                        "faces": [crop for crop, _ in crops],
                        "scores": [score for _, score in crops],
                    }
                )
        return results

    def process_video(self, video_path: str | Path) -> list[dict[str, Any]]:
        """Faces of one video, one dict per frame as in `process_videos`."""
        path = Path(video_path)
        return self.process_videos(path.parent, [path.name], [0])

    def read(self, path: Path) -> Frames:
        """What `video_read_fn` reads, for the stream; VideoError where it gives None."""
        read = self.video_read_fn(str(path))
        if read is None:
            raise VideoError("no frame could be read")
        frames, indices = read
        return Frames(list(frames), [int(index) for index in indices])


def predict_on_video(
    face_extractor: FaceExtractor,
    video_path: str | Path,
    batch_size: int,
    input_size: int,
    models: Sequence[nn.Module],
    strategy: Strategy = np.mean,
    apply_compression: bool = False,
) -> float:
    """P(fake) of one video: the mean over `models` of `strategy` over its faces.

    As published, `batch_size` is a number of frames: of each there is room for four faces, and the last is not used.
    0.5 with a warning where no frame can be read or no face is found.
    """
    videos = [Video(str(video_path), Path(video_path))]
    ensemble = _ensemble(models, input_size, apply_compression)
    views = [SingleFrames(face_extractor.detector, None, most_faces(batch_size))]
    return _labels(score_videos(videos, face_extractor.read, views, ensemble, Rule(strategy)))[0]


def predict_on_video_set(
    face_extractor: FaceExtractor,
    videos: Sequence[str],
    input_size: int,
    num_workers: int,
    test_dir: str | Path,
    frames_per_video: int,
    models: Sequence[nn.Module],
    strategy: Strategy = np.mean,
    apply_compression: bool = False,
) -> list[float]:
    """P(fake) of each of `videos` in `test_dir`, in their order; as `predict_on_video`, but as a stream.

    `num_workers` videos are decoded ahead; the extractor's `video_read_fn` is called from that many threads.
    """
    ensemble = _ensemble(models, input_size, apply_compression)
    stream = score_videos(
        [Video(name, Path(test_dir, name)) for name in videos],
        face_extractor.read,
        [SingleFrames(face_extractor.detector, None, most_faces(frames_per_video))],
        ensemble,
        Rule(strategy),
        max(num_workers, 1),
    )
    return _labels(stream)


def _ensemble(models: Sequence[nn.Module], input_size: int, apply_compression: bool) -> Ensemble:
    """The caller's networks on the device and in the number format of the first one's weights.

    On a CPU networks in half precision become float32 and run under autocast.
    """
    weights = next(models[0].parameters())
    members = [Member(f"model {i}", model, NetworkConfig(size=input_size)) for i, model in enumerate(models)]
    return Ensemble(members, weights.device, weights.dtype, apply_compression=apply_compression)


def _labels(scores: Iterable[VideoScore]) -> list[float]:
    labels = []
    for score in scores:
        if not score.labels:
            warnings.warn(f"{score.filename}: {score.error or 'no face found'}; scored {score.label}", stacklevel=3)
        labels.append(float(score.label))
    return labels
