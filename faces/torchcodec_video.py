"""Frames decoded by torchcodec, an optional extra: on a GPU by its own circuits (NVDEC), else by the system's FFmpeg.

Which frames are in a file, and which number each has, is found out as ever; torchcodec is told when each is shown. What
it cannot decode is decoded as ever, too, so a damaged video gives the same frames.
"""

import ctypes
import json
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from common.errors import UserError, one_line
from faces.video import OpenVideo, VideoFile

if TYPE_CHECKING:
    from torchcodec.decoders import VideoDecoder

DECODERS = ("pyav", "torchcodec")
OPTION = "--decoder torchcodec"
# How its decoder says that a file, a frame or the GPU's memory is not what it should be.
FAILURES = (RuntimeError, IndexError, ValueError)


class TorchcodecFile(VideoFile):
    """A VideoFile whose frames torchcodec decodes on `device` (cpu, cuda, cuda:N); they are handed over in memory.

    That is done for MP4 and QuickTime files alone.
    """

    def __init__(self, path: str | Path, rgb: bool = False, device: str = "cpu"):
        super().__init__(path, rgb)
        self._rgb, self._device = rgb, device

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """As `VideoFile.frames`. From the first frame on that torchcodec does not decode, none is left to it."""
        wanted = deque(sorted({index for index in indices if 0 <= index < self.frame_count}))
        decoder = self._decoder() if wanted and self._index_of is not None and self._is_mp4() else None
        while wanted and decoder is not None:
            image = self._frame(decoder, wanted[0])
            if image is None:
                decoder = None  # both read from the same open file
            else:
                yield wanted.popleft(), image if self._rgb else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        yield from super().frames(wanted)

    def _is_mp4(self) -> bool:
        """Whether it can be nothing but MP4. What is text to another FFmpeg might be a playlist, which opens others."""
        self._file.seek(0)
        head = self._file.read(8)
        return head[:1] == b"\0" and head[4:] == b"ftyp"

    def _decoder(self) -> "VideoDecoder | None":
        from torchcodec.decoders import VideoDecoder

        self._shown = sorted(self._packet_times)
        frames = [{"pts": pts, "duration": length or 0, "key_frame": int(key)} for pts, length, key in self._shown]
        self._file.seek(0)
        try:
            return VideoDecoder(
                self._file,
                stream_index=self._stream_index,
                dimension_order="NHWC",
                device=self._device,
                custom_frame_mappings=json.dumps({"frames": frames}),
            )
        except FAILURES:
            self._check_gpu()
            return None

    def _frame(self, decoder: "VideoDecoder", index: int) -> np.ndarray | None:
        """The frame (h, w, 3) uint8 RGB, upright; None if it, or exactly it, is not to be had."""
        try:
            frame = decoder.get_frame_at(index)
            # Where a frame is missing it gives the next one.
            if round(frame.pts_seconds / self._time_base) != self._shown[index][0]:
                return None
            return frame.data.cpu().numpy()
        except FAILURES:
            self._check_gpu()
            return None

    def _check_gpu(self) -> None:
        """Raises RuntimeError if the process can use its GPU no more, which is not to pass for a damaged video."""
        if self._device != "cpu":
            import torch

            torch.cuda.synchronize(self._device)


def video_opener(decoder: str, device: str = "cpu") -> OpenVideo:
    """What opens videos for the decoder `pyav` or `torchcodec`, ready to be used on `device` in this process.

    Raises UserError if it cannot be had.
    """
    if decoder == "pyav":
        return VideoFile
    if decoder != "torchcodec":
        raise UserError(f"--decoder {decoder}: not one of {', '.join(DECODERS)}")
    try:
        from torchcodec import ffmpeg_major_version
    except ModuleNotFoundError as error:
        raise UserError(f"{OPTION}: is not installed (pip install torchcodec)") from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UserError(f"{OPTION}: cannot be loaded; is it of this PyTorch? ({one_line(error)})") from error
    if ffmpeg_major_version is None:
        raise UserError(f"{OPTION}: needs the shared libraries of FFmpeg, version 4 to 9 (apt-get install ffmpeg)")
    if device != "cpu":
        _start_nvdec(device)
    return partial(TorchcodecFile, device=device)


def _start_nvdec(device: str) -> None:
    """Without NVDEC's library torchcodec would decode on the CPU and say nothing."""
    import torch

    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError as error:
        raise UserError(
            f"{OPTION}: NVDEC needs the driver's libnvcuvid.so.1 (in a container: NVIDIA_DRIVER_CAPABILITIES=all)"
        ) from error
    # What CUDA takes of memory does not count as the first video's.
    torch.zeros(1, device=device)
