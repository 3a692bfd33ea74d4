"""A survey of a data root before any work: what is there, what it will cost, and what is wrong with it.

python -m preprocessing.check DATA_ROOT
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from common.arguments import Parser, positive_int
from common.errors import one_line, run_command
from common.limits import Limits, add_limit_options, limited
from common.places import only_local
from faces.video import VideoError, VideoFile
from preprocessing.data_root import DataRoot, Video, read_data_root
from preprocessing.executors import run_locally
from preprocessing.generate_folds import N_SPLITS, fold_of
from preprocessing.runner import reason_of

# A video whose brightest pixel is darker than this is hard to find faces in.
DARK = 150
# Seconds of one core, as measured: for a frame of 1280x720 to be read (in steps 1 and 2), for a frame to be searched
# for faces, for a crop to be given landmarks, and for one to be compared with its original's.
READ_S, DETECT_S, LANDMARK_S, DIFF_S = 0.0012, 0.018, 0.016, 0.010
PIXELS_MEASURED = 1280 * 720
CROP_BYTES, DIFF_BYTES = 187_000, 101_000
FRAME_STEP = 10
MOST_PROBLEMS_SHOWN = 20


@dataclass
class Look:
    """What a glance at a video shows: size in pixels, frames, seconds, brightest pixel of its first frame."""

    width: int
    height: int
    frames: int
    seconds: float
    brightest: int
    lies: bool


def look_at(video: Video) -> Look:
    """Read a video's packets and its first frame. Raises VideoError if it cannot be read."""
    with VideoFile(video.path) as file:
        first = next((frame for _, frame in file.frames([0])), None)
        if first is None:
            raise VideoError("its first frame cannot be decoded")
        height, width = first.shape[:2]
        lies = bool(file.announced) and file.announced != file.frame_count
        return Look(width, height, file.frame_count, file.frame_count / file.rate, int(first.max()), lies)


def survey(root: DataRoot, workers: int, limits: Limits) -> Iterator[str]:
    """The survey, line by line."""
    looks, unreadable = _look_at_all(root, workers, limits)
    reals, fakes = root.reals, root.fakes
    paired = {fake.original for fake in fakes}
    folds = Counter(fold_of(root.videos[video.source]) for video in root.videos.values())
    yield f"parts         {len(root.parts)}: {_some(root.parts)}"
    yield f"videos        {len(root.videos)} usable: {len(reals)} real, {len(fakes)} fake"
    yield f"balance       {len(fakes) / max(len(reals), 1):.1f} fakes for each real video"
    yield f"pairs         {len(paired)} real videos have fakes, {len(reals) - len(paired)} have none"
    alone = "; training needs parts of several folds, preprocess_data.sh wants --allow-empty" if len(folds) == 1 else ""
    yield f"folds         {_tally(folds, lambda fold: f'fold {fold}')} (of {N_SPLITS}){alone}"
    yield f"resolutions   {_tally(Counter((x.width, x.height) for x in looks.values()), lambda s: f'{s[0]}x{s[1]}')}"
    if looks:
        seconds = sorted(look.seconds for look in looks.values())
        median = seconds[len(seconds) // 2]
        yield f"durations     {seconds[0]:.1f} to {seconds[-1]:.1f} s, half of them over {median:.1f} s"
    dark = [key for key, look in looks.items() if look.brightest < DARK]
    yield f"dark          {len(dark)} videos have no pixel over {DARK} at the start{_list(dark)}"
    lying = [key for key, look in looks.items() if look.lies]
    yield f"frame counts  {len(lying)} videos have another number of frames than they say{_list(lying)}"
    sizes = [key for key in looks if _other_size(root.videos[key], looks)]
    yield f"sizes         {len(sizes)} fakes have another size than their original{_list(sizes)}"
    yield from _costs(root, looks)
    problems = [*root.problems, *unreadable]
    yield f"problems      {len(problems)}"
    for item, reason in [(p.item, p.reason) for p in root.problems][:MOST_PROBLEMS_SHOWN]:
        yield f"  {one_line(item)}: {one_line(reason)}"
    for item, reason in unreadable[:MOST_PROBLEMS_SHOWN]:
        yield f"  {one_line(item)}: {one_line(reason)}"


def _look_at_all(root: DataRoot, workers: int, limits: Limits) -> tuple[dict[str, Look], list[tuple[str, str]]]:
    from tqdm import tqdm

    videos = list(root.videos.values())
    make_work = partial(limited, _make_look, limits)
    found = dict(tqdm(run_locally(make_work, videos, workers), total=len(videos), desc="check"))
    looks = {video.id: found[video] for video in videos if isinstance(found[video], Look)}
    unreadable = [
        (f"{video.part}/{video.path.name}", reason_of(found[video], limits))
        for video in videos
        if video.id not in looks
    ]
    return looks, unreadable


def _make_look() -> Callable[[Video], Look]:
    return look_at


def _other_size(video: Video, looks: dict[str, Look]) -> bool:
    mine, theirs = looks.get(video.id), looks.get(video.source)
    return bool(mine and theirs) and (mine.width, mine.height) != (theirs.width, theirs.height)


def _costs(root: DataRoot, looks: dict[str, Look]) -> Iterator[str]:
    """Disk and time that the five steps need, for one face in every tenth frame."""
    crops = read = detect = landmark = diff = 0.0
    for key, look in looks.items():
        share = look.width * look.height / PIXELS_MEASURED
        steps = look.frames / FRAME_STEP
        crops += steps
        read += look.frames * share * READ_S
        if root.videos[key].original is None:
            read += look.frames * share * READ_S
            detect += steps * DETECT_S
            landmark += steps * share * LANDMARK_S
        else:
            diff += steps * share * DIFF_S
    total = read + detect + landmark + diff
    diffs = sum(look.frames / FRAME_STEP for key, look in looks.items() if root.videos[key].original)
    disk = (crops * CROP_BYTES + diffs * DIFF_BYTES) / 1e9
    free = shutil.disk_usage(root.path).free / 1e9
    yield f"disk          about {disk:.1f} GB for {crops:.0f} crops, {free:.0f} GB are free"
    yield f"time          about {total / 60:.1f} minutes of one core (CPU), shared among the workers"


def _tally(counts: Counter, name: Callable) -> str:
    shown = [f"{name(key)}: {number}" for key, number in counts.most_common(8)]
    return ", ".join(shown) + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(one_line, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _list(names: Sequence[str]) -> str:
    return f": {_some(names)}" if names else ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="preprocessing.check", description="A survey of a data root before any work.")
    parser.add_argument("root_dir", metavar="DATA_ROOT", help="folders of videos with metadata.json")
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="videos looked at the same time")
    add_limit_options(parser)
    options = parser.parse_args(argv)
    for line in survey(read_data_root(only_local(options.root_dir, "check")), options.workers, Limits.of(options)):
        print(line)
    return 0


if __name__ == "__main__":
    run_command(main)
