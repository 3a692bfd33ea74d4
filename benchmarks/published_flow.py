"""The published prediction in a compact rendition of our own, to measure against.

One video at a time, one stage after another: OpenCV decodes, facenet-pytorch looks for faces in each frame on its own
at half size, every network scores all faces in one batch of 32-bit floats (16-bit on a GPU), eagerly, channels first.
Libraries are used plainly.

    python -m benchmarks.published_flow VIDEO_FOLDER CHECKPOINT...   (prints a label for each video as JSON)
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from torch import nn

from faces.detector import INFERENCE_THRESHOLDS
from inference.strategies import confident_strategy
from training.tools.checkpoints import load_checkpoint

FRAMES = 32
MOST_FACES = 4 * FRAMES - 1
SIZE = 380
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read(path: Path) -> list[np.ndarray]:
    """FRAMES frames spread over a video, RGB; those between are grabbed only."""
    capture = cv2.VideoCapture(str(path))
    wanted = np.linspace(0, capture.get(cv2.CAP_PROP_FRAME_COUNT) - 1, FRAMES, endpoint=True, dtype=int)
    frames = []
    for index in range(wanted[-1] + 1):
        if not capture.grab():
            break
        if index in wanted:
            _, frame = capture.retrieve()
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames


def shrunk(frame: np.ndarray, divisor: int) -> Image.Image:
    image = Image.fromarray(frame)
    return image if divisor == 1 else image.resize([side // divisor for side in image.size])


def faces(frames: Sequence[np.ndarray], detector: MTCNN, divisor: int = 2) -> list[np.ndarray]:
    """Crops of all faces, with a third of their size around them, found in frames of 1 / `divisor` of their size."""
    crops = []
    for frame in frames:
        boxes, _ = detector.detect(shrunk(frame, divisor), landmarks=False)
        for box in () if boxes is None else boxes:
            xmin, ymin, xmax, ymax = (int(side * divisor) for side in box)
            w, h = (xmax - xmin) // 3, (ymax - ymin) // 3
            crops.append(frame[max(ymin - h, 0) : ymax + h, max(xmin - w, 0) : xmax + w])
    return [crop for crop in crops if crop.size][:MOST_FACES]


def square(crop: np.ndarray) -> np.ndarray:
    """The crop resized to SIZE, centred on black."""
    height, width = crop.shape[:2]
    scale = SIZE / max(height, width)
    filter_ = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized = cv2.resize(crop, (max(int(width * scale), 1), max(int(height * scale), 1)), interpolation=filter_)
    height, width = resized.shape[:2]
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    return cv2.copyMakeBorder(resized, top, SIZE - height - top, left, SIZE - width - left, cv2.BORDER_CONSTANT)


def network_input(crops: Sequence[np.ndarray], device: str) -> torch.Tensor:
    """Normalised squares (n, 3, SIZE, SIZE) of crops."""
    x = torch.from_numpy(np.stack([square(crop) for crop in crops])).to(device).permute(0, 3, 1, 2).contiguous()
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    x = (x.float() / 255 - mean) / std
    return x.half() if device != "cpu" else x


@torch.inference_mode()
def label(path: Path, detector: MTCNN, networks: Sequence[nn.Module], device: str) -> float:
    """P(fake) of one video; 0.5 without a face."""
    crops = faces(read(path), detector)
    if not crops:
        return 0.5
    x = network_input(crops, device)
    return float(np.mean([confident_strategy(torch.sigmoid(n(x).float()).flatten().tolist()) for n in networks]))


def prepare(checkpoints: Sequence[str], device: str) -> tuple[MTCNN, list[nn.Module]]:
    """The detector and the networks on their device."""
    detector = MTCNN(margin=0, thresholds=list(INFERENCE_THRESHOLDS), device=device, keep_all=True)
    networks = [load_checkpoint(path).network.to(device) for path in checkpoints]
    return detector, [network.half() if device != "cpu" else network for network in networks]


def run(folder: str, checkpoints: Sequence[str]) -> dict[str, float]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    detector, networks = prepare(checkpoints, device)
    return {path.name: label(path, detector, networks, device) for path in sorted(Path(folder).rglob("*.mp4"))}


# --- timed in a process of its own, for benchmarks.prediction ---

_held: dict[str, object] = {}


def prepare_process(checkpoints: Sequence[str], device: str) -> None:
    """What the process needs before it is asked."""
    detector, networks = prepare(checkpoints, device)
    _held.update(detector=detector, networks=networks, device=device)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    if _held["device"] != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_videos(paths: Sequence[Path]) -> float:
    parts = _held["detector"], _held["networks"], _held["device"]
    return _timed(lambda: [label(path, *parts) for path in paths])


@torch.inference_mode()
def time_network(crops: Sequence[np.ndarray]) -> float:
    x, (network,) = network_input(crops, _held["device"]), _held["networks"]
    return _timed(lambda: network(x))


@torch.inference_mode()
def time_timm(crops: Sequence[np.ndarray], name: str) -> float:
    """The library's own network on the same input."""
    if name not in _held:
        network = timm.create_model(name, pretrained=False, num_classes=1).eval().to(_held["device"])
        _held[name] = network.half() if _held["device"] != "cpu" else network
    x = network_input(crops, _held["device"])
    return _timed(lambda: _held[name](x))


def time_detection(frames: Sequence[np.ndarray], divisor: int) -> float:
    return _timed(lambda: faces(frames, _held["detector"], divisor))


def time_facenet(frames: Sequence[np.ndarray], divisor: int) -> float:
    """The library called plainly on frames of 1 / `divisor` of their size."""
    return _timed(lambda: [_held["detector"].detect(shrunk(frame, divisor), landmarks=False) for frame in frames])


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2:])))
