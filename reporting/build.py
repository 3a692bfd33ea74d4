"""From the details of a run to the report."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, one_line
from common.limits import DEFAULT_LIMITS, Limits
from common.places import Remote, is_url, place
from evaluation.labels import truths_of
from faces.decoders import Decoders
from faces.video import VideoError
from inference import embedded
from inference.details import VideoDetails, checked
from inference.fetching import fetching
from reporting.content import WARNING_KINDS, content_of, faces_of, row_of
from reporting.page import json_block, write_page
from reporting.pictures import DARK, Pictures, Read, path_of, take_pictures
from reporting.summary import summary_of

# A thousand videos stay under 30 MB: what the numbers leave of this is shared by the videos' pictures.
MOST_MEGABYTES = 28.0
BASE64 = 4 / 3
STYLES = ("base.css", "report.css")
SCRIPTS = ("page.js", "colour.js", "table.js", "histogram.js", "timeline.js", "frames.js", "detail.js", "report.js")


@dataclass
class Report:
    """What was written: the file, how many videos, and for how many pictures were wanted and could not be made."""

    path: Path | Remote
    videos: int
    without_pictures: int

    def __str__(self) -> str:
        missing = f", {self.without_pictures} of them without pictures" if self.without_pictures else ""
        videos = f"{self.videos} video{'' if self.videos == 1 else 's'}"
        size = "" if is_url(self.path) else f", {self.path.stat().st_size / 1e6:.1f} MB"
        return f"{self.path}: {videos}{missing}{size}"


def write_report(
    records: Iterable[dict],
    output: str | Path | Remote,
    *,
    videos: str | Path | Remote | None = None,
    labels: Sequence[str | Path] = (),
    max_megabytes: float = MOST_MEGABYTES,
    heatmaps: int = 0,
    checkpoints: Sequence[str | Path] = (),
    device: str = "auto",
    workers: int = 2,
    overwrite: bool = False,
    source: object = "details",
    limits: Limits = DEFAULT_LIMITS,
    say: Callable[[str], object] = print,
) -> Report:
    """Write the report of a run's records (dicts, as lines of its details file) to the HTML file `output`.

    `videos` is the folder (or the one file) that was scored: with it there are pictures, fewer and smaller ones
    the more videos there are, so that the file stays below `max_megabytes`; a video that takes more than `limits` has
    none. `labels` are files that know which videos are fake. With `heatmaps` K > 0, `checkpoints` show where they look
    on each video's K most telling faces; these pictures come on top. Raises UserError for what cannot be read, is no
    record, or must not be written over.
    """
    output, videos = place(output), None if videos is None else place(videos)
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists already; --overwrite replaces it")
    if heatmaps and videos is None:
        raise UserError("heat maps need the folder of the videos")
    if videos is not None and not videos.exists():
        raise UserError(f"{videos}: no such folder of videos")
    details = checked(records, source)
    if not details:
        raise UserError(f"{source}: no videos in it")
    truths = truths_of([video.filename for video in details], labels)
    if labels and not any(truths):
        say("none of the labels is of a video of this run")
    # Path.exists would raise on a name that no file can have.
    exists = Remote.exists if is_url(videos) else os.path.exists
    if videos is not None and not any(exists(path_of(video, videos)) for video in details):
        say(f"none of the videos is in {videos}; is this the folder that was scored?")
    rows = [row_of(video, truth) for video, truth in zip(details, truths, strict=True)]
    contents = [content_of(video) for video in details]

    budget = (max_megabytes * 1e6 - len(json_block([rows, contents]))) / len(details) / BASE64
    with Decoders(limits) as decoders:
        read = fetching(decoders.read)
        pictures = _all_pictures(details, videos, budget, workers, read)
        maps = [[] for _ in details]
        if heatmaps:
            from reporting.heatmaps import heatmaps_of  # torch is needed for nothing else here

            maps = heatmaps_of(details, videos, checkpoints, heatmaps, device, say, read)
    for video, row, content, taken, heat in zip(details, rows, contents, pictures, maps, strict=True):
        content |= taken.content() | {"heatmaps": heat}
        row["face"] = _place(taken, most_telling(video))
        _tell_darkness(row, taken)
    return _write(output, details, rows, contents, truths, videos is not None)


def _write(output, details, rows, contents, truths, pictures_wanted: bool) -> Report:
    head: dict[str, Any] = {
        "models": sorted({model for content in contents for model in content["models"]}),
        "strategies": sorted({content["strategy"] for content in contents}),
        "kinds": [kind for kind in (*WARNING_KINDS, "other") if any(kind in row["kinds"] for row in rows)],
        "labelled": any(truths),
        "pictures": pictures_wanted,
        "videos": rows,
    }
    missing = sum(content["missing"] is not None for content in contents) if pictures_wanted else 0
    remarks = summary_of(details, truths)
    if not pictures_wanted:
        remarks.append("no pictures: the folder of the videos was not given (--videos)")
    elif missing:
        remarks.append(f"{missing} without pictures; each says why")
    if embedded.CHECKPOINT.name in head["models"]:
        remarks.append(embedded.TRUST)
    write_page(
        output,
        "report.html",
        STYLES,
        SCRIPTS,
        title=f"Report on {len(rows)} videos" if len(rows) > 1 else "Report on 1 video",
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        remarks=remarks,
        models=head["models"],
        strategies=head["strategies"],
        head=json_block(head),
        contents=map(json_block, contents),
    )
    return Report(output, len(rows), missing)


def most_telling(video: VideoDetails) -> int | None:
    """The place, among `faces_of`, of the face whose mean probability is farthest from 0.5; None without faces."""
    faces = faces_of(video)
    if not faces:
        return None
    values = [[value for value in face.probabilities if value is not None] for face in faces]
    return max(range(len(faces)), key=lambda i: abs(float(np.mean(values[i])) - 0.5) if values[i] else -1)


def _all_pictures(
    details: Sequence[VideoDetails], videos: Path | Remote | None, budget: float, workers: int, read: Read
) -> list[Pictures]:
    """The pictures of every video, in order, under a progress bar; what is wrong with one stays its own."""
    if videos is None:
        return [Pictures(missing="the folder of the videos was not given (--videos)") for _ in details]
    from tqdm import tqdm

    take = partial(_pictures_of, videos=videos, budget=budget, read=read)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
    try:
        return list(tqdm(pool.map(take, details), total=len(details), unit="video", desc="pictures"))
    finally:
        # Interrupted, it waits for nobody: the caller ends the processes that are decoding.
        pool.shutdown(wait=False, cancel_futures=True)


def _pictures_of(video: VideoDetails, videos: Path | Remote, budget: float, read: Read) -> Pictures:
    try:
        path, faces, size = path_of(video, videos), faces_of(video), (video.width, video.height)
        return take_pictures(path, faces, most_telling(video), video.frames, size, budget, read)
    except VideoError as error:
        return Pictures(missing=str(error))
    except Exception as error:  # one item of a batch is isolated here; its reason is recorded
        return Pictures(missing=f"{type(error).__name__}: {one_line(error)}")


def _place(pictures: Pictures, face: int | None) -> int | None:
    """Where on the sheet of faces the most telling one is."""
    return pictures.shown.index(face) if pictures.sheet and face in pictures.shown else None


def _tell_darkness(row: dict, pictures: Pictures) -> None:
    """A warning that the run itself did not give, since older versions look at no brightness."""
    if pictures.brightness is not None and pictures.brightness < DARK and "dark frames" not in row["kinds"]:
        row["warnings"].append(f"dark frames: the faces' mean brightness is {pictures.brightness:.0f} of 255")
        row["kinds"].append("dark frames")
