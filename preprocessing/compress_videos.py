"""Optional: compress every video as the internet would. Writes compressed/<part>/<name>, H.264 and the sound as it was.
Still images are passed over.

python -m preprocessing.compress_videos --root-dir DATA_ROOT
"""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from common.arguments import Parser
from common.errors import one_line, run_command
from common.ffmpeg import ffmpeg_executable
from common.files import replacing
from common.processes import die_with_parent
from preprocessing.data_root import Video, read_data_root
from preprocessing.runner import Outcome, Stage, StageError, run_stage, stage_parser

# Constant rate factors of libx264: from good to poor.
QUALITIES = (23, 28, 32)
SEED = 777
# What FFmpeg may take a video for: not playlists, which have it open other files.
CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"
# A quarter as many colours as pixels need an even width and height: black is added at the right and the bottom.
EVEN_SIDES = "pad=ceil(iw/2)*2:ceil(ih/2)*2"
# Sound that the new container cannot hold is the only reason to encode it again.
SOUND_OPTIONS = (["-c:a", "copy"], ["-c:a", "aac"])

# FFmpeg 5 and older take such an error, as of a disk that is full at the very end, for a success.
NOT_WRITTEN = ("Error writing trailer", "Error closing file", "av_interleaved_write_frame")


def quality_of(video: Video, seed: int) -> int:
    """The rate factor drawn for a video: the same for the same seed and file name, whatever else is processed."""
    digest = hashlib.sha256(f"{seed}/{video.path.name}".encode(errors="surrogateescape")).digest()
    return QUALITIES[int.from_bytes(digest[:8], "big") % len(QUALITIES)]


def compress_video(video: Video, executable: str, seed: int, out_dir: Path) -> Outcome:
    """Write one compressed video. Raises StageError with ffmpeg's last words if it fails."""
    target = out_dir / video.part / video.path.name
    quality = quality_of(video, seed)
    with replacing(target) as temporary:
        for sound in SOUND_OPTIONS:
            command = [executable, "-nostdin", "-v", "error", "-y"]
            command += ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
            command += ["-i", f"file:{video.path.absolute()}", "-map", "0:v:0", "-map", "0:a?"]
            # One thread: the workers fill the cores, and the bytes do not depend on the machine.
            command += ["-c:v", "libx264", "-crf", str(quality), "-threads", "1", *sound]
            command += ["-vf", EVEN_SIDES, "-pix_fmt", "yuv420p"]
            command += ["-f", _container(target), f"file:{temporary.absolute()}"]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", preexec_fn=die_with_parent)
            if done.returncode == 0 and not any(error in done.stderr for error in NOT_WRITTEN):
                return Outcome(Counter({f"at crf {quality}": 1}))
        raise StageError(f"ffmpeg failed: {one_line(done.stderr)[-200:] or f'exit code {done.returncode}'}")


def _container(path: Path) -> str:
    """FFmpeg's name of the container, which it cannot tell from a temporary file's name."""
    return {".mkv": "matroska", ".webm": "matroska", ".avi": "avi", ".mov": "mov"}.get(path.suffix.lower(), "mp4")


def make_work(executable: str, seed: int, out_dir: Path) -> Callable[[Video], Outcome]:
    return partial(compress_video, executable=executable, seed=seed, out_dir=out_dir)


def make_parser() -> Parser:
    parser = stage_parser("compress_videos", "Compress every video with a quality drawn from 23, 28 and 32.")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="seed of the drawn qualities")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir)
    out_dir = root.folder("compressed")
    stage = Stage(
        name="compress_videos",
        items=[video for video in root.videos.values() if not video.is_still],
        make_work=partial(make_work, ffmpeg_executable(), options.seed, out_dir),
        artifact_of=lambda video: out_dir / video.part / video.path.name,
        settings={"seed": options.seed},
        problems=root.problems,
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
