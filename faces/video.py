"""Frames of a video or an image file as arrays, read one after another so that memory follows what is kept.

Decoding is most of a video's cost, so what nobody asked for is not decoded where no other frame needs it: the
non-reference frames of H.264, about half of an ordinary file. The frames asked for are the same to the last bit.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

# FFmpeg also reads playlists; a file that calls itself a video must not make it open other files or addresses.
OPEN_OPTIONS = {"protocol_whitelist": "none"}
ROUGHLY = 0.9
H264_SLICES = (1, 5)  # NAL unit types: a slice of an ordinary picture, of an IDR picture
# Swscale converts these to RGB with the arithmetic it has for BGR, at even heights; with others last digits differ.
SAME_IN_RGB = ("yuv420p", "yuvj420p")


class VideoError(Exception):
    """A file from which no frame can be read. The message says why, without the file's name."""


@dataclass
class Frames:
    """Frames of one video: `images` are (h, w, 3) uint8 RGB, `indices` their positions in the video.

    `num_frames` is how many the video has and `rate` how many a second; 0: not known.
    """

    images: list[np.ndarray]
    indices: list[int]
    warnings: list[str] = field(default_factory=list)
    num_frames: int = 0
    rate: float = 0.0

    def at(self, indices: Iterable[int]) -> "Frames":
        """Those of them that are named, the pictures shared."""
        wanted = set(indices)
        places = [place for place, index in enumerate(self.indices) if index in wanted]
        chosen = [self.images[place] for place in places], [self.indices[place] for place in places]
        return Frames(*chosen, num_frames=self.num_frames, rate=self.rate)


class VideoFile:
    """An opened video: how many frames it has, and those frames. Use it in a `with` statement.

    `frame_count` counts the frames that are in the file, `announced` is how many its header claims to show (0: nothing
    said), `rate` is the mean number of frames a second, `expected` what header or length lead to expect (0: nothing).
    Frames are BGR, as OpenCV has them, or with `rgb` the same in RGB. Raises VideoError if the file cannot be opened or
    has no video stream.
    """

    def __init__(self, path: str | Path, rgb: bool = False):
        self._picture = _upright_rgb if rgb else _upright_bgr
        self._file = _opened(path)  # closed in __exit__
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *exc_info) -> None:
        self._file.close()

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames at `indices`, in increasing order, as (index, (h, w, 3) uint8), upright.

        A frame that cannot be decoded is left out; the caller counts.
        """
        wanted = set(indices)
        if not wanted:
            return
        last = max(wanted)
        with self._open() as container:
            for index, frame in self._decode(container, wanted):
                if index in wanted:
                    yield index, self._picture(frame)
                if index >= last:
                    return

    def _open(self) -> av.container.InputContainer:
        """A container over the open file: a fresh one for each pass, since not every format can be rewound.

        Handing over the file, not its name, keeps FFmpeg from reading meaning into odd names.
        """
        self._file.seek(0)
        try:
            container = av.open(self._file, options=OPEN_OPTIONS)
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError) as error:
            raise VideoError("is not a readable video") from error
        if not _pictures(container):
            container.close()
            raise VideoError("has no video stream")
        if _pictures(container)[0].codec_context is None:
            container.close()
            raise VideoError("has a video stream of an unknown kind")
        # Videos are decoded side by side; threads within one would only get into each other's way.
        _pictures(container)[0].codec_context.thread_count = 1
        return container

    def _scan(self) -> None:
        """Find out which frames are in the file, from its packets alone where their timestamps tell."""
        if self._file.seek(0, 2) == 0:
            raise VideoError("is empty (0 bytes)")
        packets = []
        with self._open() as container:
            stream = _pictures(container)[0]
            self._stream_index, self._time_base = stream.index, stream.time_base
            length = (container.duration or 0) / av.time_base
            self.rate = float(stream.average_rate or stream.guessed_rate or 1)
            self._skips = stream.codec_context.name == "h264" and _has_length_prefixes(stream.codec_context)
            cut_off = 0
            for packet in _packets(container):
                if packet.size and packet.is_discard:
                    cut_off += 1  # by an edit list, of a video that was trimmed without encoding it again
                elif packet.size:
                    packets.append((packet.pts, packet.duration, packet.is_keyframe))
            self.announced = max(stream.frames - cut_off, 0)
            # Matroska and WebM announce a length alone.
            self.expected = self.announced or int(length * self.rate)
            trusted = container.format.name not in ("avi",)  # AVI has none of its own: they are in decoding order
        self._packet_times, self._index_of = packets, None
        timestamps = [pts for pts, *_ in packets]
        if trusted and None not in timestamps and len(set(timestamps)) == len(timestamps):
            self._index_of: dict[int, int] | None = {pts: index for index, pts in enumerate(sorted(timestamps))}
        self.frame_count = len(timestamps)

    def _decode(self, container: av.container.InputContainer, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their positions; without usable timestamps all are decoded and counted."""
        position = 0
        for packet in _packets(container):
            skippable = self._index_of is not None and self._skips and packet.size
            if skippable and self._index_of.get(packet.pts) not in wanted and _is_non_reference(packet):
                continue
            try:
                decoded = packet.decode()
            except MemoryError:  # FFmpeg's is both
                raise
            except av.FFmpegError:  # a damaged packet; what follows may be sound
                continue
            for frame in decoded:
                index = position if self._index_of is None else self._index_of.get(frame.pts)
                position += 1
                if index is not None:
                    yield index, frame


# What opens a video: VideoFile, or another decoder's kind of it.
OpenVideo = Callable[..., VideoFile]


def _opened(path: str | Path) -> BinaryIO:
    try:
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise VideoError("is not a regular file")
        return Path(path).open("rb")
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error


def _pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams; a cover picture attached to music is none."""
    return [stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """The video stream's packets up to the end of the file, or to where the file breaks off."""
    packets = container.demux(_pictures(container)[0])
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except av.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def _has_length_prefixes(codec: av.VideoCodecContext) -> bool:
    """Whether H.264 units come with four bytes of length, as in MP4 and Matroska."""
    extradata = codec.extradata or b""
    return len(extradata) > 4 and extradata[0] == 1 and extradata[4] & 3 == 3


def _is_non_reference(packet: av.Packet) -> bool:
    """Whether no other H.264 picture is predicted from this one (nal_ref_idc 0 in each of its slices)."""
    content = memoryview(packet)
    position, slices = 0, 0
    while position + 5 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        header = content[position + 4]
        if header & 31 in H264_SLICES:
            if header >> 5 & 3:
                return False
            slices += 1
        position += 4 + length
    return slices > 0


def _upright_bgr(frame: av.VideoFrame) -> np.ndarray:
    """The frame as OpenCV decodes it: BGR, chroma upsampled bicubically, turned as its metadata say."""
    return _upright(frame, "bgr24")


def _upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """The same in RGB, to the last bit: at once where that gives the same, which spares a copy."""
    if frame.format.name in SAME_IN_RGB and frame.height % 2 == 0:
        return np.ascontiguousarray(_upright(frame, "rgb24"))
    return cv2.cvtColor(_upright(frame, "bgr24"), cv2.COLOR_BGR2RGB)


def _upright(frame: av.VideoFrame, pixels: str) -> np.ndarray:
    image = frame.to_ndarray(format=pixels, interpolation="BICUBIC")
    return np.rot90(image, frame.rotation // 90) if frame.rotation % 360 else image


def evenly_spaced(frame_count: int, num_frames: int) -> list[int]:
    """`num_frames` positions from the first to the last frame, truncated to int, repeats taken once."""
    return np.unique(np.linspace(0, frame_count - 1, num_frames).astype(int)).tolist()


def as_it_is(image: np.ndarray) -> np.ndarray:
    return image


def read_frames(
    path: str | Path,
    choose: Callable[[int], Iterable[int]],
    keep: Callable[[np.ndarray], Any] = as_it_is,
    open_video: OpenVideo = VideoFile,
) -> Frames:
    """The frames that `choose(frame_count)` names, in increasing order, each once. Where the video breaks off, what
    came before is returned, with a warning. `keep` is given each frame, and what it returns stands in `images`.
    Raises VideoError if not a single frame can be read.
    """
    with open_video(path, rgb=True) as video:
        if video.frame_count == 0:
            raise VideoError("has a video stream without frames")
        wanted = sorted({int(index) for index in choose(video.frame_count)})
        frames = Frames([], [], num_frames=video.frame_count, rate=video.rate)
        for index, image in video.frames(wanted):
            frames.images.append(keep(image))
            frames.indices.append(index)
        if not frames.images:
            raise VideoError("has a video stream, but no frame of it can be decoded")
        if len(frames.images) < len(wanted):
            frames.warnings.append(f"only {len(frames.images)} of {len(wanted)} frames could be decoded")
        # A length times a mean rate is no count.
        if video.frame_count < video.expected * (1 if video.announced else ROUGHLY):
            about = "" if video.announced else "about "
            frames.warnings.append(f"breaks off: {video.frame_count} of {about}{video.expected} frames are in the file")
    return frames


def read_image(path: str | Path, keep: Callable[[np.ndarray], Any] = as_it_is) -> Frames:
    """An image file as a video of one frame, of which `keep` is given the picture. Raises VideoError."""
    with _opened(path) as file:
        encoded = np.fromfile(file, dtype=np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise VideoError(f"is not a readable image ({error.err})") from error
    if image is None:
        raise VideoError("is not a readable image" if encoded.size else "is empty (0 bytes)")
    return Frames([keep(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))], [0], num_frames=1)


def read_file(
    path: str | Path,
    choose: Callable[[int], Iterable[int]],
    keep: Callable[[np.ndarray], Any] = as_it_is,
    open_video: OpenVideo = VideoFile,
) -> Frames:
    """The frames of a video that `choose(frame_count)` names, or the one frame of an image."""
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path, keep)
    return read_frames(path, choose, keep, open_video)


def read_evenly(path: str | Path, num_frames: int) -> Frames:
    """`num_frames` frames spread over a video from its first to its last one, or the one frame of an image."""
    return read_file(path, lambda frame_count: evenly_spaced(frame_count, num_frames))
