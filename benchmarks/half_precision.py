"""How far the labels of the default engine and device are from those of a CPU in 32 bits, on a network whose outputs
spread.

    python -m benchmarks.half_precision VIDEO_FOLDER

EfficientNet-B7 with random weights says nearly the same of every face, which proves nothing: its batch norms are given
the statistics of the folder's own crops, and its last layer a gain with which P(fake) of the faces spans 0.05 to 0.95.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import add_out_option, measured_with, write_report
from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.memory import keep_freed_memory
from faces.detector import FaceDetector
from inference.inputs import find_videos
from inference.readings import READINGS
from inference.strategies import FAKE_THRESHOLD, REAL_THRESHOLD, STRATEGIES
from inference.stream import Video
from inference.views import SingleFrames, reader_for
from predict_folder import predict_folder
from training.tools.checkpoints import save_checkpoint
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of

PACKAGES = ("torch", "openvino")
SPAN = 0.05, 0.95
CROPS, BATCH = 32, 8
NEAR = 0.005  # a face this near a threshold may pass it, and takes its share of the label along
CLEAR = "confident labels, no face within 0.005 of a threshold"


def inputs_of(videos: Sequence[Video], config: NetworkConfig) -> Tensor:
    """Network inputs (n, 3, h, w) of faces of all videos."""
    view = SingleFrames(FaceDetector(), 8, max_faces=CROPS)
    found = [s for video in videos for s in view.find(view.prepare(reader_for([view])(video.path)))[0]]
    if len(found) < BATCH:
        raise UserError("too few faces in these videos")
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(CROPS, len(found))).astype(int)]
    reading = READINGS["frame"]
    pictures = np.stack([reading.inputs(s.pictures["frame"], config, False)[0] for s in chosen])
    return reading.tensor(torch.from_numpy(pictures), config.normalize)


@torch.inference_mode()
def calibrated(config: NetworkConfig, x: Tensor) -> nn.Module:
    """A network with random weights whose P(fake) of `x` spans SPAN."""
    torch.manual_seed(0)
    network = network_of(config).to(memory_format=torch.channels_last)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    network.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    # All in one batch: with the mean over several, what a deep random network computes is far from either.
    network(x)
    network.eval()
    # The head reads what differs most among the faces, as one that was trained would; what a random one reads is mostly
    # noise, however it is computed.
    features = torch.cat(
        [network.avg_pool(network.encoder.forward_features(part)).flatten(1) for part in x.split(BATCH)]
    )
    centred = features - features.mean(dim=0)
    direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    said = features @ direction
    low, high = (float(np.log(p / (1 - p))) for p in SPAN)
    gain = (high - low) / float(said.max() - said.min())
    network.fc.weight.copy_(gain * direction[None])
    network.fc.bias.fill_(low - gain * float(said.min()))
    return network


def differences(folder: Path, checkpoint: Path, frames: int) -> tuple[dict[str, dict[str, float]], list[str]]:
    """By strategy, and of single faces: the largest and mean difference from fp32. Also what the runs said.

    Where a GPU finds other faces in a video than a CPU, there are no single faces to compare.
    """
    said: list[str] = []
    found = []
    details = checkpoint.with_name("details.jsonl")
    for engine in ({"engine": "torch", "precision": "fp32", "device": "cpu"}, {}):
        options = {"frames": frames, "say": said.append, "details": details, "overwrite": True}
        predict_folder(folder, [str(checkpoint)], **engine, **options)
        records = [json.loads(line) for line in details.read_text().splitlines()]
        found.append([[face["probabilities"][0] for face in record["faces"]] for record in records])
    videos = [pair for pair in zip(*found, strict=True) if all(pair)]
    runs = list(zip(*videos, strict=True))
    alike = [pair for pair in videos if len(pair[0]) == len(pair[1])]
    faces = [np.array([p for video in run for p in video]) for run in (zip(*alike, strict=True) if alike else runs)]
    results = {"single faces": _gaps(*faces)} if alike else {}
    for strategy in STRATEGIES:
        labels = [np.array([STRATEGIES[strategy](video) for video in run]) for run in runs]
        results[f"{strategy} labels"] = _gaps(*labels)
        if strategy == "confident" and any(clear := [not _near_a_threshold(video) for video in runs[0]]):
            results[CLEAR] = _gaps(*(values[clear] for values in labels)) | {"videos": sum(clear)}
    span = {"lowest": float(faces[0].min()), "highest": float(faces[0].max()), "faces": len(faces[0])}
    span["videos with other faces"] = sum(map(bool, found[0])) - len(alike)
    return results | {"P(fake) of the faces": span}, said


def _near_a_threshold(video: Sequence[float]) -> bool:
    return any(abs(p - t) <= NEAR for p in video for t in (FAKE_THRESHOLD, REAL_THRESHOLD))


def _gaps(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    gaps = np.abs(first - second)
    return {"largest": float(gaps.max()), "mean": float(gaps.mean())}


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.half_precision", description="Labels of the default engine against fp32.")
    parser.add_argument("videos", type=Path, metavar="VIDEO_FOLDER")
    parser.add_argument("--frames", type=positive_int, default=32, metavar="N")
    add_out_option(parser)
    options = parser.parse_args(argv)
    folder = options.videos.resolve()
    keep_freed_memory()
    config = NetworkConfig()
    videos = find_videos(folder)
    network = calibrated(config, inputs_of(videos, config))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        checkpoint = Path(scratch) / "calibrated_b7"
        save_checkpoint(checkpoint, network, config)
        results, said = differences(folder, checkpoint, options.frames)
    span = results.pop("P(fake) of the faces")
    engine = next(line for line in reversed(said) if "device:" in line)
    lines = [
        f"# Labels in half precision, {len(videos)} videos of {folder.name}, B7",
        "",
        f"{measured_with(PACKAGES)}; {engine}",
        "",
        f"{span['faces']} faces, P(fake) from {span['lowest']:.3f} to {span['highest']:.3f}; "
        f"videos in which the two found other faces: {span['videos with other faces']}",
        "",
        "| difference from fp32 | largest | mean |",
        "|---|---|---|",
        *(f"| {name} | {row['largest']:.5f} | {row['mean']:.5f} |" for name, row in results.items()),
    ]
    write_report(options.out, f"half-precision-{folder.name}", "\n".join(lines) + "\n", results | {"faces": span})
    return 0


if __name__ == "__main__":
    run_command(main)
