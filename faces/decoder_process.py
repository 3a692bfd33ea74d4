"""The process in which video files are read for another one: `faces.decoders` starts it and says which.

What it hands back are a line of JSON and pixels in shared memory, so that whatever a hostile file makes of this process
cannot be more than a wrong picture.
"""

import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from common.limits import GIGABYTE, Limits, for_one_video
from common.memory import be_killed_first, keep_freed_memory
from faces.torchcodec_video import video_opener
from faces.video import OpenVideo, VideoError, read_file

LENGTH = struct.Struct(">Q")


class Pixels:
    """Frames written one after another into the memory of another process, `most` bytes for `count` frames.

    VideoError as soon as these will not be enough.
    """

    def __init__(self, descriptor: int, most: int, count: int):
        self.descriptor, self.most, self.left, self.taken = descriptor, most, count, 0

    def add(self, image: np.ndarray) -> tuple[int, int]:
        """Keep a frame (h, w, 3) uint8; returns its height and width."""
        needed = self.taken + self.left * image.nbytes
        if needed > self.most:
            frames = f"{self.left} frames of {image.shape[1]}x{image.shape[0]}"
            raise VideoError(
                f"{frames} take {needed / GIGABYTE:.2g} GB, over {self.most / GIGABYTE:g}; --video-memory gives it more"
            )
        content = memoryview(np.ascontiguousarray(image)).cast("B")
        while content:
            written = os.pwrite(self.descriptor, content, self.taken)
            content, self.taken = content[written:], self.taken + written
        self.left -= 1
        return image.shape[:2]


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    content = json.dumps(message).encode()
    channel.sendall(LENGTH.pack(len(content)) + content)


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message; None when the other side is gone."""
    length = _exactly(channel, LENGTH.size)
    content = length and _exactly(channel, LENGTH.unpack(length)[0])
    return json.loads(content) if content else None


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    content = bytearray()
    while len(content) < count:
        try:
            part = channel.recv(count - len(content))
        except ConnectionError:
            return None
        if not part:
            return None
        content += part
    return bytes(content)


def read_for(channel: socket.socket, path: str, memory: int, limits: Limits, open_video: OpenVideo) -> None:
    """Read one file: tell how many frames it has, be told which are wanted, and hand these over, or the reason.

    `memory` is the descriptor of the file that they are written into.
    """
    pixels = Pixels(memory, limits.bytes, 1)  # a still image has nothing to choose from

    def choose(frame_count: int) -> Sequence[int]:
        send(channel, {"frame_count": frame_count})
        wanted = receive(channel)["wanted"]
        pixels.left = len(wanted)
        return wanted

    try:
        frames = read_file(path, choose, pixels.add, open_video)
    except VideoError as error:
        send(channel, {"refused": str(error)})
    except (MemoryError, BlockingIOError):  # the latter from a thread for which there is no stack
        send(channel, {"refused": limits.too_large, "spent": True})
    except Exception as error:  # one of many files; the reason is passed on
        send(channel, {"failed": f"{type(error).__name__}: {error}", "spent": True})
    else:
        about = {"warnings": frames.warnings, "num_frames": frames.num_frames, "rate": frames.rate}
        send(channel, {"sizes": frames.images, "indices": frames.indices, **about})


def main() -> None:
    """Serve the process whose socket, limits in seconds and in gigabytes, decoder and device are in `sys.argv`, until
    it is gone.
    """
    descriptor, seconds, gigabytes, decoder, device = sys.argv[-5:]
    limits = Limits(float(seconds), float(gigabytes))
    be_killed_first()
    keep_freed_memory()
    cv2.setNumThreads(1)
    open_video = video_opener(decoder, device)
    with socket.socket(fileno=int(descriptor)) as channel:
        while (request := receive(channel)) is not None:
            _, (memory,), _, _ = socket.recv_fds(channel, 1, 1)
            try:
                with for_one_video(limits):
                    read_for(channel, request["path"], memory, limits, open_video)
            finally:
                os.close(memory)
