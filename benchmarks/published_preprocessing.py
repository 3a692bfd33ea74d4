"""The published preprocessing flow in a compact rendition of our own, to measure against.

Every frame of the originals is detected, in batches of 32 at half size, in one process with one thread; crops,
landmarks and differences are made by five processes; nothing resumes. Libraries are used plainly: OpenCV for reading,
facenet-pytorch for detection, scikit-image for differences.

    python -m benchmarks.published_preprocessing DATA_ROOT    (prints the seconds of each step as JSON)
"""

import csv
import json
import random
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from faces.detector import BOX_THRESHOLDS, LANDMARK_THRESHOLDS
from preprocessing.data_root import Video, read_data_root
from preprocessing.generate_folds import fold_of

PROCESSES = 5
BATCH = 32
FRAME_STEP = 10


def detect(video: Video, root: Path, detector) -> None:
    """Boxes of all frames of one original, in half-size pixels."""
    capture = cv2.VideoCapture(str(video.path))
    frames = []
    while (read := capture.read())[0]:
        frame = Image.fromarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        frames.append(frame.resize([side // 2 for side in frame.size]))
    boxes = {}
    for start in range(0, len(frames), BATCH):
        found, _ = detector.detect(frames[start : start + BATCH], landmarks=False)
        boxes |= {start + i: None if b is None else np.array(b, dtype=float).tolist() for i, b in enumerate(found)}
    (root / "boxes" / f"{video.id}.json").write_text(json.dumps(boxes))


def crop(task: tuple[Video, Path]) -> None:
    """Crops of every tenth frame of one video, real or fake, every frame decoded."""
    video, root = task
    cv2.setNumThreads(1)
    boxes = json.loads((root / "boxes" / f"{video.source}.json").read_text())
    folder = root / "crops" / video.id
    folder.mkdir(parents=True, exist_ok=True)
    capture = cv2.VideoCapture(str(video.path))
    for index in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        capture.grab()
        if index % FRAME_STEP or not boxes.get(str(index)):
            continue
        decoded, frame = capture.retrieve()
        if not decoded:
            continue
        for actor, box in enumerate(boxes[str(index)]):
            xmin, ymin, xmax, ymax = (int(side * 2) for side in box)
            w, h = (xmax - xmin) // 3, (ymax - ymin) // 3
            face = frame[max(ymin - h, 0) : ymax + h, max(xmin - w, 0) : xmax + w]
            cv2.imwrite(str(folder / f"{index}_{actor}.png"), face)


def landmark(task: tuple[Video, Path]) -> None:
    """Landmarks of one original's crops."""
    import torch
    from facenet_pytorch import MTCNN

    video, root = task
    torch.set_num_threads(1)
    detector = MTCNN(margin=0, thresholds=list(LANDMARK_THRESHOLDS), device="cpu")
    folder = root / "landmarks" / video.id
    folder.mkdir(parents=True, exist_ok=True)
    for path in (root / "crops" / video.id).iterdir():
        image = Image.fromarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
        _, _, points = detector.detect(image, landmarks=True)
        if points is not None:
            np.save(folder / path.stem, np.around(points[0].astype(float)).astype(np.int16))


def diff(task: tuple[Video, Path]) -> None:
    """Differences of one fake's crops from its original's."""
    from skimage.metrics import structural_similarity

    video, root = task
    cv2.setNumThreads(1)
    folder = root / "diffs" / video.id
    folder.mkdir(parents=True, exist_ok=True)
    for path in (root / "crops" / video.id).iterdir():
        original = root / "crops" / video.source / path.name
        fake, real = cv2.imread(str(path)), cv2.imread(str(original)) if original.exists() else None
        if real is None or real.shape != fake.shape:
            continue
        _, similarity = structural_similarity(real, fake, channel_axis=2, full=True)
        difference = ((1 - similarity) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{path.stem}_diff.png"), cv2.cvtColor(difference, cv2.COLOR_BGR2GRAY))


def folds(videos: list[Video], root: Path) -> None:
    """The table, from a listing of all crops."""
    rows = []
    for video in videos:
        label, fold = int(video.original is not None), fold_of(video)
        for path in (root / "crops" / video.id).iterdir():
            rows.append((video.id, path.name, label, video.source, int(path.stem.split("_")[0]), fold))
    random.Random(777).shuffle(rows)
    with (root / "folds.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def run(root_dir: str) -> dict[str, float]:
    """All five steps; seconds of each, imports included."""
    index = read_data_root(root_dir)
    root, videos = index.path, list(index.videos.values())
    seconds = {}
    start = time.perf_counter()

    def done(step: str) -> None:
        nonlocal start
        seconds[step] = round(time.perf_counter() - start, 2)
        start = time.perf_counter()

    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    (root / "boxes").mkdir(exist_ok=True)
    detector = MTCNN(margin=0, thresholds=list(BOX_THRESHOLDS), device="cpu")
    for video in index.reals:
        detect(video, root, detector)
    done("detect")
    with get_context("spawn").Pool(PROCESSES) as pool:
        for step, function, chosen in (
            ("crops", crop, videos),
            ("landmarks", landmark, index.reals),
            ("diffs", diff, index.fakes),
        ):
            pool.map(function, [(video, root) for video in chosen], chunksize=1)
            done(step)
    folds(videos, root)
    done("folds")
    return seconds


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
