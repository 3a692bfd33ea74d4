"""What there is to choose on a GPU: CUDA graphs or not, decoding by PyAV or by NVDEC; and the tests that need one."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from xml.etree import ElementTree

import torch

from benchmarks import published_flow
from benchmarks.cost import REPOSITORY
from benchmarks.prediction import IMAGES, WORKERS_ON_GPU, alternately, found_faces, ours, seconds
from benchmarks.report import Row
from common.errors import UserError
from common.limits import DEFAULT_LIMITS
from faces.decoders import Decoders
from faces.torchcodec_video import DECODERS, video_opener
from faces.video import evenly_spaced
from inference.inputs import find_videos
from inference.readings import network_input
from inference.strategies import Rule, confident_strategy
from inference.stream import score_videos
from inference.views import reader_for

# Enough for what is measured to be the flow of videos, not its beginning and its end.
VIDEOS = 32
MODES = ("off", "on")


def tests_on_gpu(scratch: Path) -> list[Row]:
    """How many of the tests that need a GPU fail. Raises RuntimeError if they cannot be run."""
    path = scratch / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    print(done.stdout, file=sys.stderr)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    run, failed, skipped = counted(path)
    return [
        Row("tests on a GPU", "tests that need a GPU: failed", "tests", failed),
        Row("tests run on a GPU", "tests that need a GPU: passed", "tests", run - failed - skipped),
    ]


def counted(path: Path) -> tuple[int, int, int]:
    """Of a report of pytest: how many tests there are, how many have failed, and how many were skipped."""
    suites = ElementTree.parse(path).getroot().iter("testsuite")
    rows = [[int(s.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")] for s in suites]
    tests, failures, errors, skipped = (sum(column) for column in zip(*rows, strict=True))
    return tests, failures + errors, skipped


def graphs(folder: Path, checkpoint: Path, rounds: int) -> list[Row]:
    """Images a second of one B7, in the batches of predict_folder.py, without CUDA graphs and with them."""
    sightings = found_faces(folder, 4 * IMAGES["cuda"])
    squares = [network_input(sighting.pictures["frame"], published_flow.SIZE) for sighting in sightings]
    ensembles = {mode: ours([checkpoint], 1000, mode)[0] for mode in MODES}
    inputs = ensembles["off"].inputs(
        [replace(s, pictures={"frame": square}) for s, square in zip(sightings, squares, strict=True)]
    )
    times = alternately(
        rounds, **{mode: lambda e=ensemble: seconds(lambda: e.score(inputs)) for mode, ensemble in ensembles.items()}
    )
    what = "B7 alone, batches of 32, CUDA graphs"
    return [Row("", f"{what} {mode}", "images/s", len(squares) / times[mode]) for mode in MODES]


def usable_decoders(device: str) -> list[str]:
    """Those that there are; of others the reason is told."""
    usable = []
    for decoder in DECODERS:
        try:
            video_opener(decoder, device)
            usable.append(decoder)
        except UserError as error:
            print(f"not measured: {error}", file=sys.stderr)
    return usable


def decoding(folder: Path, rounds: int, device: str) -> list[Row]:
    """Videos a second of which 32 frames each are read, by each decoder."""
    videos = list(islice(cycle(find_videos(folder)), VIDEOS))
    rows = []
    for decoder in usable_decoders(device):
        for workers in sorted({1, WORKERS_ON_GPU}):
            with (
                Decoders(DEFAULT_LIMITS, workers, decoder, device) as decoders,
                ThreadPoolExecutor(workers) as threads,
            ):

                def read(video, decoders=decoders):
                    decoders.read(video.path, lambda count: evenly_spaced(count, published_flow.FRAMES))

                times = alternately(rounds, read=lambda t=threads, r=read: seconds(lambda: list(t.map(r, videos))))
            what = f"decoding by {decoder} alone, {workers} at a time"
            rows.append(Row("", what, "videos/s", len(videos) / times["read"]))
    return rows


def flow(folder: Path, checkpoints: list[Path], rounds: int, device: str) -> list[Row]:
    """Videos a second from file to label with all the networks, by each decoder."""
    videos, workers = list(islice(cycle(find_videos(folder)), VIDEOS)), WORKERS_ON_GPU
    ensemble, views = ours(checkpoints, len(videos))
    rule, rows = Rule(confident_strategy), []
    for decoder in usable_decoders(device):
        with Decoders(DEFAULT_LIMITS, workers, decoder, device) as decoders:
            read = reader_for(views, decoders.read)
            times = alternately(
                rounds,
                ours=lambda r=read: seconds(lambda: list(score_videos(videos, r, views, ensemble, rule, workers))),
            )
        what = f"{len(videos)} whole videos in a row, {len(checkpoints)} B7, {decoder}, {workers} decoded at a time"
        rows.append(Row(f"flow {len(checkpoints)} on a GPU", what, "videos/s", len(videos) / times["ours"]))
    return rows


def about_gpu(device: torch.device) -> dict[str, str]:
    """What figures of a GPU depend on besides the machine."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "GPU": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, one of {torch.cuda.device_count()}",
        "CUDA": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        "decoders": ", ".join(usable_decoders(str(device))),
    }
