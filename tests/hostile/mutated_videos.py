"""Hostile videos made from sound ones: damaged, lying, absurd, and files that are no videos at all.

    python -m tests.hostile.mutated_videos OUT [--source FOLDER] [--count 500] [--seed 0]

Without --source they are made from short generated videos. The same seed and sources give the same files. The manifest
beside them, `OUT.csv`, says what was done to each.
"""

import csv
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg

from common.arguments import Parser, positive_int
from common.errors import UserError, run_command
from common.files import replacing
from tests.hostile.mutations import BYTE_MUTATIONS, absurd_picture_size

SOURCE_SECONDS = 1.6
BOMB_SIDE, BOMB_FRAMES = 12_000, 40
ODD_NAMES = (
    "<script>alert(1)<script>.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "=cmd|' /C calc'!A0.mp4",
    "+1+1.mp4",
    "@SUM(A1).mp4",
    "-2+3.mp4",
    "new\nline.mp4",
    "quote\"'`.mp4",
    "$(touch owned).mp4",
    "; rm -rf x;.mp4",
    "http:%s%n%04d.mp4",
    "ünï 影片 \u202egpj.mp4",
    os.fsdecode(b"\xff\xfe.mp4"),
    "comma, semicolon;.mp4",
    "carriage\rreturn.mp4",
    "a" * 230 + ".mp4",
    "--output=x.mp4",
    "file: |ls.mp4",
)


@dataclass(frozen=True)
class Making:
    """What a hostile file is made from: a sound video, a random generator, and a folder for what is on the way."""

    source: Path
    rng: random.Random
    scratch: Path

    def ffmpeg(self, *arguments: object, before: Sequence[object] = ()) -> None:
        """Run ffmpeg on the source."""
        _ffmpeg(*before, "-i", self.source, *arguments)


def _ffmpeg(*arguments: object) -> None:
    *before, output = map(str, arguments)
    # Not the system's, which may be older than some of the options.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-threads", "1", *before]
    command += ["-fflags", "+bitexact", output]  # else Matroska draws random numbers
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"ffmpeg failed: {done.stderr.strip()[-300:]}")


def _encoded(*options: object, suffix: str = ".mp4", before: Sequence[object] = ()) -> Callable[[Making, Path], Path]:
    """The source encoded another way."""

    def make(making: Making, path: Path) -> Path:
        path = path.with_suffix(suffix)
        making.ffmpeg("-an", *options, path, before=before)
        return path

    return make


X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def absurd_bitstream(making: Making, path: Path) -> Path:
    stream = making.scratch / "bare.h264"
    making.ffmpeg("-an", "-c:v", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", stream)
    path.write_bytes(absurd_picture_size(stream.read_bytes(), making.rng))
    return path


def absurd_jpegs(making: Making, path: Path) -> Path:
    """Motion JPEG whose pictures announce another size than they have."""
    path = path.with_suffix(".avi")
    making.ffmpeg("-an", "-frames:v", 8, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", path)
    size = making.rng.choice((65_535, 16_000, 1)).to_bytes(2, "big") + making.rng.choice((65_535, 1)).to_bytes(2, "big")
    parts = path.read_bytes().split(b"\xff\xc0\x00\x11\x08")
    path.write_bytes(b"\xff\xc0\x00\x11\x08".join([parts[0], *(size + part[4:] for part in parts[1:])]))
    return path


def memory_bomb(making: Making, path: Path) -> Path:
    """A few kilobytes that are forty frames of twelve thousand pixels squared: 17 GB decoded."""
    one = making.scratch / "one.mp4"
    black = f"color=black:size={BOMB_SIDE}x{BOMB_SIDE}"
    if not one.exists():
        _ffmpeg("-f", "lavfi", "-i", black, "-frames:v", 1, *X264, "-pix_fmt", "yuv420p", one)
    with av.open(str(one)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packet = next(packet for packet in source.demux(video=0) if packet.size)
        step = packet.duration or 512
        for number in range(BOMB_FRAMES):
            packet.pts = packet.dts = number * step
            packet.stream = stream
            target.mux(packet)
    return path


def turned(making: Making, path: Path) -> Path:
    making.ffmpeg("-c", "copy", path, before=("-display_rotation", making.rng.choice((90, 180, 270, 45, 33))))
    return path


def of_one_colour(making: Making, path: Path) -> Path:
    size = making.rng.choice(("2x2", "16x16", "4096x16", "16x4096"))
    _ffmpeg("-f", "lavfi", "-i", f"color=gray:size={size}:duration=1", *X264, "-pix_fmt", "yuv420p", path)
    return path


def sound_only(making: Making, path: Path) -> Path:
    _ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    return path


def empty(making: Making, path: Path) -> Path:
    path.touch()
    return path


def text(making: Making, path: Path) -> Path:
    path.write_text("This is no video, whatever its name says.\n" * making.rng.randrange(1, 5000))
    return path


def noise(making: Making, path: Path) -> Path:
    path.write_bytes(making.rng.randbytes(making.rng.randrange(1, 200_000)))
    return path


def directory(making: Making, path: Path) -> Path:
    path.mkdir()
    return path


def pipe(making: Making, path: Path) -> Path:
    os.mkfifo(path)
    return path


def dangling_link(making: Making, path: Path) -> Path:
    path.symlink_to("nowhere.mp4")
    return path


def link_to_itself(making: Making, path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def device(making: Making, path: Path) -> Path:
    """A file that never ends."""
    path.symlink_to("/dev/zero")
    return path


def wrong_suffix(making: Making, path: Path) -> Path:
    path = path.with_suffix(making.rng.choice((".avi", ".mkv", ".webm", ".mov")))
    shutil.copyfile(making.source, path)
    return path


def odd_name(making: Making, path: Path) -> Path:
    path = path.with_name(f"{path.stem.partition(' ')[0]} {making.rng.choice(ODD_NAMES)}")
    shutil.copyfile(making.source, path)
    return path


def sparse(making: Making, path: Path) -> Path:
    """The video, and after it four gigabytes of nothing that take no space."""
    shutil.copyfile(making.source, path)
    os.truncate(path, 4 << 30)
    return path


OTHER_MUTATIONS: dict[str, Callable[[Making, Path], Path]] = {
    "absurd size in the bitstream": absurd_bitstream,
    "absurd size in JPEGs": absurd_jpegs,
    "one pixel": _encoded("-vf", "scale=1:1", "-c:v", "ffv1", "-pix_fmt", "yuv444p", suffix=".mkv"),
    "8K": _encoded("-vf", "scale=7680:4320", "-frames:v", 3, *X264),
    "variable frame rate": _encoded("-vf", r"select=not(mod(n\,3))+lt(n\,9)", "-fps_mode", "vfr", *X264),
    "turned": turned,
    "10 bits": _encoded(*X264, "-pix_fmt", "yuv420p10le"),
    "alpha": _encoded("-c:v", "qtrle", "-pix_fmt", "argb", "-frames:v", 10, suffix=".mov"),
    "4:4:4": _encoded(*X264, "-pix_fmt", "yuv444p"),
    "gray": _encoded("-c:v", "ffv1", "-pix_fmt", "gray16le", "-frames:v", 10, suffix=".mkv"),
    "interlaced": _encoded(*X264, "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"),
    "1,000,000 frames a second": _encoded(*X264, before=("-r", 1_000_000)),
    "other codec": _encoded(
        "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-frames:v", 10, suffix=".webm"
    ),
    "one frame": _encoded("-frames:v", 1, *X264),
    "one colour": of_one_colour,
    "sound only": sound_only,
    "empty": empty,
    "text": text,
    "noise": noise,
    "directory": directory,
    "pipe": pipe,
    "dangling link": dangling_link,
    "link to itself": link_to_itself,
    "device": device,
    "wrong suffix": wrong_suffix,
    "odd name": odd_name,
    "sparse": sparse,
    "memory bomb": memory_bomb,
}
# So many of a hundred files are of the kinds that differ every time; the others come round in turn.
DAMAGED = 70


def kinds(count: int) -> Iterator[str]:
    """The kinds of so many files, as many different ones as there is room for."""
    damaged, others = list(BYTE_MUTATIONS), [kind for kind in OTHER_MUTATIONS if kind != "memory bomb"]
    if count >= 100:  # it takes seconds to make
        yield "memory bomb"
        count -= 1
    for number in range(count):
        group = damaged if number * DAMAGED // 100 < (number + 1) * DAMAGED // 100 else others
        group.append(kind := group.pop(0))
        yield kind


def make_mutated_videos(out: Path, source: Path, count: int = 500, seed: int = 0) -> dict[str, str]:
    """Fill the folder `out`; returns the kind of each file by its name. Raises UserError without videos in `source`."""
    originals = sorted(path for path in source.rglob("*.mp4") if path.is_file())
    if not originals:
        raise UserError(f"{source}: no .mp4 files in it to make hostile ones from")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise UserError(f"{out}: is not empty")
    made: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        shorts = [_shortened(path, scratch / f"{number}.mp4") for number, path in enumerate(originals)]
        for number, kind in enumerate(kinds(count)):
            rng = random.Random(f"{seed}/{number}")
            short, path = rng.choice(shorts), out / f"{number:04} {kind.replace(' ', '-')}.mp4"
            if kind in BYTE_MUTATIONS:
                path.write_bytes(BYTE_MUTATIONS[kind](short.read_bytes(), rng))
            else:
                path = OTHER_MUTATIONS[kind](Making(short, rng, scratch), path)
            made[path.name] = kind
    return made


def _shortened(path: Path, short: Path) -> Path:
    """The beginning of a video as H.264 in MP4, copied where that is what it is."""
    for codec in (("-c:v", "copy"), X264):
        try:
            _ffmpeg("-i", path, "-t", SOURCE_SECONDS, "-an", *codec, "-movflags", "+faststart", short)
        except RuntimeError:
            continue
        with av.open(str(short)) as made:
            if made.streams.video[0].codec_context.name == "h264":
                return short
    raise UserError(f"{path}: cannot be shortened")


def generated_sources(folder: Path) -> Path:
    """A folder with short generated videos to make hostile ones from."""
    from demo.sample_videos import make_sample_root

    make_sample_root(folder, seconds=SOURCE_SECONDS, width=640, height=360, videos=["004", "519", "fvkanshbie"])
    return folder


def write_manifest(path: Path, made: dict[str, str]) -> None:
    text = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with replacing(path) as temporary, temporary.open("w", **text) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "kind"))
        writer.writerows(made.items())


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="mutated_videos", description="Make hostile videos from sound ones.")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to fill; new or empty")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="MP4 files to start from (default: generated)")
    parser.add_argument("--count", type=positive_int, default=500, metavar="N", help="how many to make")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other seeds damage other bytes")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        source = options.source or generated_sources(Path(folder))
        made = make_mutated_videos(options.out, source, options.count, options.seed)
    write_manifest(options.out.with_name(f"{options.out.name}.csv"), made)
    print(f"{options.out}: {len(made)} files of {len(set(made.values()))} kinds")
    return 0


if __name__ == "__main__":
    run_command(main)
