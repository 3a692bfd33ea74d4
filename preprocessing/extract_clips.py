"""Step 6, optional: face clips for 3-D networks and face sequences for the LSTM.

    python -m preprocessing.extract_clips --root-dir DATA_ROOT

Writes tracks/<original>.json, then clips/<video>/<start>_<track>.mkv (256x256, intra-coded, to be looked at with any
player; `<start>` is where the 150 frames begin in which it was tracked) and sequences/<video>/0_<track>.png (ten faces
side by side), and the tables clips.csv and sequences.csv. A fake's faces are where its original's are.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from common.arguments import Parser, decimal_number
from common.errors import run_command
from common.files import replacing
from faces.clips import (
    CLIP_SIDE,
    SEQUENCE_THRESHOLDS,
    brightened,
    choose_sequences,
    clip_frame,
    sequence_face,
    sequence_looks,
)
from faces.detector import FaceDetector
from faces.tracks import STEP, Track, build_tracks
from faces.video import OpenVideo, VideoError, VideoFile
from preprocessing import generate_folds
from preprocessing.artifacts import write_png
from preprocessing.data_root import DataRoot, Video, read_data_root
from preprocessing.extract_crops import scale_to
from preprocessing.network_options import (
    PRELOAD,
    Decoding,
    add_decoder_option,
    add_network_options,
    make_detector,
    resolve_device,
)
from preprocessing.runner import Outcome, Stage, StageError, folder_replacing, run_stage, stage_parser

CHUNK = 150  # frames; each has tracks of its own
THRESHOLDS = (0.6, 0.7, 0.7)
DETECTOR_SCALE = 0.5
MAX_TRACKS = 2
RATE = 30
JPEG_SCALE = 2  # FFmpeg's qscale, next to lossless
CLIPS, SEQUENCES, TRACKS = "clips", "sequences", "tracks"


def track_video(
    video: Video,
    detector: FaceDetector,
    steady: FaceDetector,
    min_probability: float,
    tracks_dir: Path,
    open_video: OpenVideo = VideoFile,
) -> Outcome:
    """Write where the faces of one real video are: tracks in every chunk of 150 frames, and faces for sequences.

    Raises VideoError if no frame can be decoded.
    """
    outcome = Outcome()
    with open_video(video.path) as file:
        every_tenth = set(range(0, file.frame_count, STEP))
        looks = set(sequence_looks(file.frame_count))
        found, seen, size = {}, {}, None
        for index, frame in file.frames(every_tenth | looks):
            image = np.ascontiguousarray(frame[..., ::-1])
            size = image.shape[:2]
            if index in every_tenth:
                found[index] = detector.detect([image])[0]
            if index in looks:
                seen[index] = steady.detect([brightened(image)])[0].boxes
        if size is None:
            raise VideoError("no frame of it can be decoded")
        chunks = {
            start: _tracks_of(found, start, file.frame_count, size, min_probability)
            for start in range(0, file.frame_count, CHUNK)
        }
    sequences = choose_sequences(list(seen), list(seen.values()))
    content = {
        "clips": {start: [_as_json(track, start) for track in tracks] for start, tracks in chunks.items() if tracks},
        "sequences": [{"frames": s.frames, "boxes": s.boxes.tolist()} for s in sequences],
    }
    with replacing(tracks_dir / f"{video.id}.json") as temporary:
        temporary.write_text(json.dumps(content))
    outcome.counts["tracks"] = sum(map(len, chunks.values()))
    outcome.counts["sequences"] = len(sequences)
    if not outcome.counts["tracks"]:
        outcome.notes.append("no face that stays long enough for a clip")
    if not sequences:
        outcome.notes.append("no face in enough frames for a sequence")
    return outcome


def _tracks_of(found: dict[int, Any], start: int, count: int, size: tuple[int, int], min_probability: float):
    """The tracks of the chunk that begins at frame `start`, as if the video began there."""
    end = min(start + CHUNK, count)
    looks = [found.get(index) for index in range(start, end, STEP)]
    return build_tracks(
        [np.zeros((0, 4), np.float32) if look is None else look.boxes for look in looks],
        [np.zeros(0, np.float32) if look is None else look.scores for look in looks],
        size,
        end - start,
        max_frames=CHUNK,
        max_tracks=MAX_TRACKS,
        min_probability=min_probability,
        volume_side=DETECTOR_SCALE * max(size),
    )


def _as_json(track: Track, start: int) -> dict[str, Any]:
    return {
        "first": start + track.first_frame,
        "last": start + track.last_frame,
        "box": track.union.tolist(),
        "probability": round(track.probability, 4),
    }


def extract_video(
    video: Video,
    original_path: Path,
    tracks_dir: Path,
    clips_dir: Path,
    sequences_dir: Path,
    open_video: OpenVideo = VideoFile,
) -> Outcome:
    """Write the clips and sequences of one video. Raises StageError without tracks, VideoError without frames."""
    content = read_tracks(tracks_dir / f"{video.source}.json")
    clips = [(f"{start}_{k}", track) for start, tracks in content["clips"].items() for k, track in enumerate(tracks)]
    outcome = Outcome()
    wanted = {i for _, track in clips for i in range(track["first"], track["last"] + 1)}
    wanted |= {frame for sequence in content["sequences"] for frame in sequence["frames"]}
    strips: list[list[np.ndarray]] = [[] for _ in content["sequences"]]
    with ExitStack() as stack:
        file = stack.enter_context(open_video(video.path))
        # Renamed in the other order: the last one says that the video is done.
        strips_folder = stack.enter_context(folder_replacing(sequences_dir / video.id))
        folder = stack.enter_context(folder_replacing(clips_dir / video.id))
        writers: dict[str, ClipWriter] = {}
        scale = None
        for index, frame in file.frames(i for i in wanted if i < file.frame_count):
            scale = scale_to(frame, video, original_path, outcome) if scale is None else scale
            for name, track in clips:
                if track["first"] <= index <= track["last"]:
                    if name not in writers:
                        writers[name] = stack.enter_context(ClipWriter(folder / f"{name}.mkv"))
                    writers[name].write(clip_frame(frame, np.array(track["box"]) * scale))
            for strip, sequence in zip(strips, content["sequences"], strict=True):
                if index in sequence["frames"]:
                    box = np.array(sequence["boxes"][sequence["frames"].index(index)]) * scale
                    strip.append(sequence_face(brightened(frame), box))
        if wanted and scale is None:
            raise VideoError("no frame with a face can be decoded")
        for writer in writers.values():
            writer.close()
        for number, (strip, sequence) in enumerate(zip(strips, content["sequences"], strict=True)):
            if len(strip) == len(sequence["frames"]):
                write_png(strips_folder / f"0_{number}.png", np.hstack(strip))
                outcome.counts["sequences"] += 1
        outcome.counts["clips"] = len(writers)
    return outcome


class ClipWriter:
    """A Matroska file of intra-coded BGR frames of CLIP_SIDE; closed when the block ends."""

    def __init__(self, path: Path):
        # Bit for bit the same for the same frames: no random number in the header.
        self.container = av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"})
        self.stream = self.container.add_stream("mjpeg", rate=RATE)
        self.stream.width = self.stream.height = CLIP_SIDE
        self.stream.pix_fmt = "yuvj444p"
        self.stream.codec_context.qmin = self.stream.codec_context.qmax = JPEG_SCALE
        self.stream.codec_context.thread_count = 1
        self.open = True

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    def write(self, frame: np.ndarray) -> None:
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))

    def close(self) -> None:
        if self.open:
            self.open = False
            self.container.mux(self.stream.encode())
            self.container.close()


def read_tracks(path: Path) -> dict[str, Any]:
    """What `track_video` wrote. Raises StageError if it is missing or something else."""
    try:
        content = json.loads(path.read_text())
        for start, tracks in content["clips"].items():
            if not start.isdecimal():  # clips are named after it
                raise ValueError(start)
            for track in tracks:
                track["first"], track["last"] = int(track["first"]), int(track["last"])
                if not 0 <= track["first"] <= track["last"] < track["first"] + CHUNK:
                    raise ValueError(track["last"])
                if len(track["box"]) != 4 or not np.isfinite(track["box"]).all():
                    raise ValueError(track["box"])
        for sequence in content["sequences"]:
            if np.shape(sequence["boxes"]) != (len(sequence["frames"]), 4):
                raise ValueError(sequence["frames"])
    except FileNotFoundError as error:
        raise StageError(f"no tracks of {path.stem}; see the errors of track_faces") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StageError(f"{path} is not a file of tracks ({error!r})") from error
    return content


def make_tracking_work(
    device: str, min_probability: float, tracks_dir: Path, decoding: Decoding
) -> Callable[[Video], Outcome]:
    return partial(
        track_video,
        detector=make_detector(THRESHOLDS, device, DETECTOR_SCALE),
        steady=make_detector(SEQUENCE_THRESHOLDS, device),
        min_probability=min_probability,
        tracks_dir=tracks_dir,
        open_video=decoding.opener(),
    )


def make_extracting_work(
    originals: dict[str, Path], tracks_dir: Path, clips_dir: Path, sequences_dir: Path, decoding: Decoding
) -> Callable[[Video], Outcome]:
    cv2.setNumThreads(1)
    folders = {"tracks_dir": tracks_dir, "clips_dir": clips_dir, "sequences_dir": sequences_dir}
    open_video = decoding.opener()
    return lambda video: extract_video(video, originals[video.source], **folders, open_video=open_video)


def make_parser() -> Parser:
    parser = stage_parser("extract_clips", "Step 6, optional: face clips and face sequences.")
    add, probability = parser.add_argument, decimal_number(lambda value: 0 <= value <= 1, "from 0 to 1")
    add("--min-probability", type=probability, default=0.0, metavar="X", help="leave out tracks less certain than this")
    add("--with-unpaired", action="store_true", help=generate_folds.WITH_UNPAIRED)
    add_network_options(parser)
    add_decoder_option(parser)
    return parser


def stages(root: DataRoot, options: Any) -> list[Stage]:
    """Finding the tracks in the real videos, then cutting them out of all."""
    tracks_dir, clips_dir, sequences_dir = (root.folder(name) for name in (TRACKS, CLIPS, SEQUENCES))
    originals = {video.id: video.path for video in root.reals}
    device, decoding = resolve_device(options), Decoding.of(options)
    return [
        Stage(
            name="track_faces",
            items=root.reals,
            make_work=partial(make_tracking_work, device, options.min_probability, tracks_dir, decoding),
            artifact_of=lambda video: tracks_dir / f"{video.id}.json",
            settings={"min-probability": options.min_probability, **decoding.settings},
            preload=PRELOAD,
            problems=root.problems,
        ),
        Stage(
            name="extract_clips",
            items=list(root.videos.values()),
            make_work=partial(make_extracting_work, originals, tracks_dir, clips_dir, sequences_dir, decoding),
            artifact_of=lambda video: sequences_dir / video.id,
            also_made=lambda video: [clips_dir / video.id],
            settings=decoding.settings,
            after="track_faces",
            files_of=lambda video: [video.path, originals[video.source], tracks_dir / f"{video.source}.json"],
            problems=root.problems,
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir)
    generate_folds.refuse_unpaired(root, options.with_unpaired)  # before hours of work rather than after
    for stage in stages(root, options):
        code = run_stage(stage, root, options)
        if code:
            return code
    if options.part != (1, 1):
        print("the tables wait for the other shares; when all are done, the command without --part writes them")
        return 0
    for folder in (CLIPS, SEQUENCES):
        out = root.place / f"{folder}.csv"
        unpaired = ["--with-unpaired"] if options.with_unpaired else []
        arguments = ["--root-dir", str(root.place), "--crops-dir", folder, "--out", str(out), "--allow-empty"]
        generate_folds.main([*arguments, *unpaired])
    return 0


if __name__ == "__main__":
    run_command(main)
