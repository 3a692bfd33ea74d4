"""Step 4: where a fake differs from its original. Writes diffs/<fake>/<frame>_<actor>_diff.png, bright for different.

python -m preprocessing.generate_diffs --root-dir DATA_ROOT
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from common.arguments import Parser
from common.errors import run_command
from preprocessing.artifacts import write_png
from preprocessing.data_root import Video, read_data_root
from preprocessing.generate_landmarks import crops_of, read_png
from preprocessing.runner import Outcome, Stage, add_crops_option, folder_replacing, run_stage, stage_parser
from preprocessing.settings import with_crops

# Structural similarity (Wang et al., 2004) with scikit-image's defaults.
WINDOW = 7
K1, K2, DATA_RANGE = 0.01, 0.03, 255


def structural_difference(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(1 - SSIM) * 255 of two BGR images of one shape (h, w, 3) uint8, clipped, truncated, as gray (h, w) uint8.

    Window sums of bytes and of their squares are exact; the mixed sum follows from the squares of the difference:
    2 sum(xy) = sum(x^2) + sum(y^2) - sum((x - y)^2). All is multiplied out, so that means and covariances, both with
    their divisors, cancel down to one division, and done in place, since this is bound by memory.
    """
    n = WINDOW * WINDOW
    c1, c2 = (K1 * DATA_RANGE) ** 2 * n**2, (K2 * DATA_RANGE) ** 2 * n * (n - 1)
    x, y = _window_sums(cv2.boxFilter, real), _window_sums(cv2.boxFilter, fake)
    squares = _window_sums(cv2.sqrBoxFilter, real)
    squares += _window_sums(cv2.sqrBoxFilter, fake)
    squares *= n
    covariance = _window_sums(cv2.sqrBoxFilter, cv2.absdiff(real, fake))
    covariance *= -n
    covariance += squares
    product = x * y
    product *= 2
    covariance -= product  # 2 n (n - 1) cov(x, y)
    x *= x
    y *= y
    x += y
    squares -= x  # n (n - 1) (var(x) + var(y))
    product += c1
    x += c1
    covariance += c2
    squares += c2
    covariance *= product
    squares *= x
    covariance /= squares
    covariance -= 1
    covariance *= -255
    difference = np.clip(covariance, 0, 255, out=covariance).astype(np.uint8)
    return cv2.cvtColor(difference, cv2.COLOR_BGR2GRAY)


def _window_sums(box_filter: Callable[..., np.ndarray], image: np.ndarray) -> np.ndarray:
    window = {"ksize": (WINDOW, WINDOW), "normalize": False, "borderType": cv2.BORDER_REFLECT}
    return box_filter(image, cv2.CV_32F, **window)


def diff_video(video: Video, crops_dir: Path, diffs_dir: Path) -> Outcome:
    """Write the differences of one fake for every crop that it and its original both have."""
    originals = {path.name: path for path in crops_of(crops_dir / video.source)}
    outcome = Outcome()
    with folder_replacing(diffs_dir / video.id) as folder:
        for path in crops_of(crops_dir / video.id):
            if path.name not in originals:
                outcome.counts["crops without an original"] += 1
                continue
            fake, real = (read_png(side, cv2.IMREAD_COLOR) for side in (path, originals[path.name]))
            if fake.shape != real.shape:
                outcome.counts["crops of unequal shape"] += 1
                continue
            if min(fake.shape[:2]) < WINDOW:
                outcome.counts["crops too small to compare"] += 1
                continue
            write_png(folder / f"{path.stem}_diff.png", structural_difference(real, fake))
            outcome.counts["diffs"] += 1
    return outcome


def make_work(crops_dir: Path, diffs_dir: Path) -> Callable[[Video], Outcome]:
    cv2.setNumThreads(1)
    return partial(diff_video, crops_dir=crops_dir, diffs_dir=diffs_dir)


def make_parser() -> Parser:
    return add_crops_option(stage_parser("generate_diffs", "Step 4: where a fake differs from its original."))


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    diffs_dir = root.folder("diffs")
    stage = Stage(
        name="generate_diffs",
        items=root.fakes,
        make_work=partial(make_work, root.crops, diffs_dir),
        artifact_of=lambda video: diffs_dir / video.id,
        files_of=lambda video: [],
        folders_of=lambda video: [root.crops / video.id, root.crops / video.source],
        settings={"crops-dir": options.crops_dir},
        after=with_crops("extract_crops", root),
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
