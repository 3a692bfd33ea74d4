"""Reading video files in processes of their own: a file that hangs, crashes or eats memory costs its process alone.

A process is started with the interpreter's own search path and not through `multiprocessing`, which would import the
script that calls us. Frames come back in shared memory, which is used again when the last of them is gone.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from common.limits import Limits, how_it_ended
from faces.decoder_process import receive, send
from faces.frame_memory import FrameMemories, FrameMemory
from faces.torchcodec_video import video_opener
from faces.video import Frames, VideoError, read_file

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from faces.decoder_process import main; main()"
# Sockets that pass open files on are there on Linux and on macOS.
AVAILABLE = hasattr(socket, "send_fds")
Choose = Callable[[int], Iterable[int]]


class Decoders:
    """Processes that read video files, as many as are asked for at a time; use it in a `with` statement.

    `ready` of them are started at once, since that takes a moment in which other things can be done. `decoder` and
    `device` are those of `video_opener`, which has to be asked whether they can be had.
    """

    def __init__(self, limits: Limits, ready: int = 0, decoder: str = "pyav", device: str = "cpu"):
        self._start = partial(_Decoder, limits, decoder, device)
        self._open_here = partial(video_opener, decoder, device)
        self._lock, self._closed = Lock(), False
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._memories = FrameMemories()
        if AVAILABLE:
            self._idle += [self._start() for _ in range(ready)]

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    def read(self, path: str | Path, choose: Choose) -> Frames:
        """`faces.video.read_file` within the limits. Raises VideoError, also where these are not kept, or where reading
        the file ends its process. Any number of threads may call this.
        """
        if not AVAILABLE:
            return read_file(path, choose, open_video=self._open_here())
        memory = self._memories.take()
        try:
            with self._borrowed() as decoder:
                answer = decoder.read(path, choose, memory)
        except BaseException:
            self._memories.give_back(memory)
            raise
        images = self._memories.lend(memory, answer["sizes"])
        return Frames(images, answer["indices"], answer["warnings"], answer["num_frames"], answer["rate"])

    @contextmanager
    def _borrowed(self) -> Iterator["_Decoder"]:
        """A process of the caller's own while the block runs, after which the next may have it if it is still sound."""
        with self._lock:
            if self._closed:
                raise VideoError("was not read: the run has ended")
            while self._idle:
                decoder = self._idle.pop()
                if decoder.process.poll() is None:
                    break
            else:
                decoder = self._start()
            self._busy.add(decoder)
        try:
            yield decoder
        finally:
            with self._lock:
                self._busy.discard(decoder)
                sound = decoder.sound and not self._closed
                if sound:
                    self._idle.append(decoder)
            if not sound:
                decoder.end()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._lock:
            self._closed = True
            decoders, self._idle = [*self._idle, *self._busy], []
        for decoder in decoders:
            decoder.process.kill()
        for decoder in decoders:
            decoder.process.wait()


class _Decoder:
    """One process, for one thread at a time; `sound`: it has nothing left to say and can read the next file."""

    def __init__(self, limits: Limits, decoder: str, device: str):
        self.sound = True
        self.channel, theirs = socket.socketpair()
        arguments = [
            json.dumps([*map(str, sys.path)]),
            str(theirs.fileno()),
            repr(limits.seconds),
            repr(limits.gigabytes),
            decoder,
            device,
        ]
        # One thread is all it needs; a group of its own keeps Ctrl-C from it, which is for the run to react to.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where decoders complain about single frames
                pass_fds=[theirs.fileno()],
                env=environment,
                process_group=0,
            )

    def read(self, path: str | Path, choose: Choose, memory: FrameMemory) -> dict[str, Any]:
        """What there is to know about the frames that it has written into `memory`. Raises VideoError."""
        self.sound = False
        try:
            send(self.channel, {"path": str(path)})
            socket.send_fds(self.channel, [b"."], [memory.descriptor])
            answer = receive(self.channel)
            if answer is not None and "frame_count" in answer:
                send(self.channel, {"wanted": sorted({int(index) for index in choose(answer["frame_count"])})})
                answer = receive(self.channel)
        except OSError as error:
            raise VideoError(self._last_words()) from error
        if answer is None:
            raise VideoError(self._last_words())
        self.sound = "spent" not in answer
        if "refused" in answer:
            raise VideoError(answer["refused"])
        if "failed" in answer:
            raise VideoError(f"reading it failed: {answer['failed']}")
        return answer

    def _last_words(self) -> str:
        return how_it_ended(self.process.wait())

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()
