"""MTCNN face detection on the frames of a video, at an input size that depends on the video's size."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING

import numpy as np

from common.batching import in_batches
from common.threads import thread_on_one_core

if TYPE_CHECKING:
    import torch

# Thresholds of P-Net, R-Net and O-Net differ on purpose between the jobs of the published solution.
BOX_THRESHOLDS = (0.85, 0.95, 0.95)
LANDMARK_THRESHOLDS = (0.65, 0.75, 0.75)
INFERENCE_THRESHOLDS = (0.7, 0.8, 0.8)

MIN_FACE = 20
LARGEST_SCALE = 8
# A crop is a face with a third of its size around it; a face under a fifth of its side is another, or none.
SMALL_IN_CROP = 5
# Pixels of one batch on a GPU; the bound is memory, about 40 bytes a pixel in P-Net's first layers.
BATCH_PIXELS = 32 * 960 * 544
# On a CPU a few small frames share what each call of a network costs beside its work.
CPU_BATCH, CPU_BATCH_PIXELS = 8, 2 * 960 * 544


@dataclass
class Detections:
    """Faces of one frame, largest area first: `boxes` (n, 4) float32 (xmin, ymin, xmax, ymax) in pixels of the frame,
    `scores` (n,) float32 in 0-1, `points` (n, 5, 2) float32 (eyes, nose, mouth corners; x, y) in pixels of the frame.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


NO_FACES = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


def auto_scale(height: int, width: int) -> float:
    """Detector input size relative to the frame, by the frame's longer side in pixels."""
    longer = max(height, width)
    if longer < 300:
        return 2.0
    if longer <= 1000:
        return 1.0
    return 0.5 if longer <= 1900 else 0.33


def scale_argument(text: str) -> float | None:
    """The value of `--detector-scale`: `auto` (None) or a positive factor."""
    if text == "auto":
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = 0
    if not 0 < scale <= LARGEST_SCALE:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a factor up to {LARGEST_SCALE}")
    return scale


def shrink(frame: np.ndarray, scale: float | None) -> np.ndarray:
    """The detector's input: the RGB frame resized with PIL's bicubic filter to int(side * scale) (None: auto).

    PyTorch has that filter too, in a fifth of the time; a pixel in 500 or fewer differs, mostly by one gray level.
    """
    height, width = frame.shape[:2]
    scale = auto_scale(height, width) if scale is None else scale
    if scale == 1:
        return frame
    import torch
    from torch.nn.functional import interpolate

    size = max(int(height * scale), 1), max(int(width * scale), 1)
    pixels = torch.from_numpy(np.ascontiguousarray(frame))[None].permute(0, 3, 1, 2)
    return interpolate(pixels, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()


class FaceDetector:
    """MTCNN with facenet-pytorch's weights, finding all faces of a list of frames.

    `scale` None picks the input size from the frame's size, 0.5 reproduces the published artifacts. `pyramid_factor` is
    the step between the sizes at which faces are looked for; None: facenet-pytorch's.
    Not safe to call from several threads at once; a process that was forked must make its own.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = INFERENCE_THRESHOLDS,
        device: "str | torch.device" = "cpu",
        scale: float | None = None,
        pyramid_factor: float | None = None,
    ):
        import torch

        from faces.mtcnn import SCALE_FACTOR, Mtcnn
        from faces.mtcnn_networks import in_openvino

        if torch.device(device).type == "cuda":
            # Ten bits of mantissa, which Ampere and later would take by default, move boxes by pixels.
            torch.backends.cudnn.allow_tf32 = False
        self.scale = scale
        self.mtcnn = Mtcnn(thresholds, MIN_FACE, device, pyramid_factor or SCALE_FACTOR)
        self.batch_pixels = BATCH_PIXELS
        # What is done between OpenVINO's networks is too little for several cores.
        alone = in_openvino(self.mtcnn.device) and torch.get_num_threads() > 1
        self.thread = thread_on_one_core("detect") if alone else None

    def largest_in_crop(self, crop: np.ndarray) -> Detections:
        """Faces of one RGB crop that a face nearly fills, seen at its own size.

        Small faces, most of the work, are looked for only where there is no larger one: the largest face, which comes
        first, is the same either way.
        """
        shorter = min(crop.shape[:2])
        if shorter < MIN_FACE:
            return NO_FACES
        found = self.mtcnn.detect([crop], smallest=shorter / SMALL_IN_CROP)[0]
        if not len(found[0]):
            found = self.mtcnn.detect([crop])[0]
        return _largest_first(Detections(*found))

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Faces of each RGB frame (h, w, 3) uint8."""
        return self.detect_shrunk((shrink(frame, self.scale) for frame in frames), [f.shape[:2] for f in frames])

    def detect_shrunk(self, inputs: Iterable[np.ndarray], sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """The same from frames that `shrink` made small elsewhere; `sizes` are the (height, width) before it."""
        in_turn = self._in_batches if self.mtcnn.device.type == "cuda" else self._ahead
        found = self.thread.submit(in_turn, inputs).result() if self.thread else in_turn(inputs)
        return [_to_frame(*each, size, self.scale) for each, size in zip(found, sizes, strict=True)]

    def _ahead(self, inputs: Iterable[np.ndarray]) -> list[tuple[Detections, tuple[int, int]]]:
        """The faces of each frame, its height and width; a few frames are prepared while networks compute others."""
        shapes: list[tuple[int, int]] = []

        def batches() -> Iterator[list[np.ndarray]]:
            for shape, alike in groupby(inputs, key=lambda frame: frame.shape[:2]):
                size = min(max(CPU_BATCH_PIXELS // (shape[0] * shape[1]), 1), CPU_BATCH)
                while batch := list(islice(alike, size)):
                    shapes.extend([shape] * len(batch))
                    if min(shape) >= MIN_FACE:
                        yield batch

        found = [Detections(*faces) for batch in self.mtcnn.detect_each(batches()) for faces in batch]
        each = map(_largest_first, found)
        return [(next(each) if min(shape) >= MIN_FACE else NO_FACES, shape) for shape in shapes]

    def _in_batches(self, inputs: Iterable[np.ndarray]) -> list[tuple[Detections, tuple[int, int]]]:
        """The same, neighbours of one size sharing a batch."""
        results: list[tuple[Detections, tuple[int, int]]] = []
        for shape, group in groupby(inputs, key=lambda frame: frame.shape[:2]):
            alike, pixels = list(group), shape[0] * shape[1]
            if min(shape) < MIN_FACE:
                found = [NO_FACES] * len(alike)
            else:
                size = max(self.batch_pixels // pixels, 1)
                found, size_used = in_batches(self._detect_batch, alike, size, "face detection")
                if size_used < size:
                    self.batch_pixels = size_used * pixels
            results += [(detections, shape) for detections in found]
        return results

    def _detect_batch(self, inputs: Sequence[np.ndarray]) -> list[Detections]:
        return [_largest_first(Detections(*found)) for found in self.mtcnn.detect(inputs)]


def _largest_first(found: Detections) -> Detections:
    width, height = (found.boxes[:, 2:] - found.boxes[:, :2]).T
    order = np.argsort(width * height)[::-1]
    return Detections(found.boxes[order], found.scores[order], found.points[order])


def _to_frame(found: Detections, small: tuple[int, int], full: tuple[int, int], scale: float | None) -> Detections:
    """Scale detections from the detector's input back to the frame."""
    scale = auto_scale(*full) if scale is None else scale
    # The published code doubles its half-size boxes even where a side is odd.
    ratio_y, ratio_x = (2.0, 2.0) if scale == 0.5 else (full[0] / small[0], full[1] / small[1])
    ratio = np.array([ratio_x, ratio_y], dtype=np.float32)
    return Detections(found.boxes * np.tile(ratio, 2), found.scores, found.points * ratio)
