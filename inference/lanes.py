"""Several devices score the videos of one folder: each in a process of its own, which takes a video when it has room.

A process, not a thread: the interpreter runs one thread at a time, and one device's cropping would stop the others.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import connection
from threading import Lock
from typing import Any

import torch

from common.errors import KEPT, UserError, one_line
from common.memory import keep_freed_memory
from common.processes import leave_signals_to_parent, signals_blocked
from inference.scoring import Scorer, Scoring
from inference.stream import Video, VideoScore

# What a lane tells: a line for the user, that it is ready, that it has room for a video, a video's score, that it has
# scored all it was given, or why it ends.
SAYS, READY, HAS_ROOM, SCORED, DONE, FAILED = range(6)


@contextmanager
def opened(
    scoring: Scoring, devices: Sequence[torch.device], say: Callable[[str], object]
) -> Iterator["Scorer | Lanes"]:
    """What scores videos on the devices: in this process on one, in a process for each on several.

    Processes are gone when the block ends. Raises UserError for what `Scoring.open` refuses.
    """
    if len(devices) == 1:
        try:
            scorer = scoring.open(devices[0], say)
        except RuntimeError as error:
            if devices[0].type != "cuda":
                raise
            raise UserError(f"--device {devices[0]}: {one_line(error)}") from error  # its memory is taken, most often
        with closing(scorer):
            yield scorer
        return
    lanes = Lanes(scoring, devices)
    try:
        lanes.start(say)
        yield lanes
    finally:
        lanes.end()


class Lanes:
    """A Scoring open on several devices, to score videos once; `models`, `aggregates` and `device` are any Scorer's."""

    models: list[str]
    aggregates: dict[str, str]

    def __init__(self, scoring: Scoring, devices: Sequence[torch.device]):
        self.device = devices[0].type
        self.scoring, self.asked_for = scoring, devices
        self.devices: dict[connection.Connection, torch.device] = {}
        self.processes: dict[connection.Connection, multiprocessing.Process] = {}

    def start(self, say: Callable[[str], object]) -> None:
        """Start the processes, and wait until their networks are loaded; what the first one says is passed on."""
        # CUDA does not survive a fork, nor do the locks of other threads.
        context = multiprocessing.get_context("spawn")
        threads = max(torch.get_num_threads() // len(self.asked_for), 1)
        with signals_blocked():
            for device in self.asked_for:
                pipe, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, self.scoring, device, threads), daemon=True)
                process.start()
                theirs.close()  # so that it is noticed when the process ends
                self.devices[pipe], self.processes[pipe] = device, process
        first, starting = next(iter(self.devices)), set(self.devices)
        for pipe, kind, content in self._heard(starting):
            if kind == READY:
                starting.remove(pipe)
                self.models, self.aggregates = content
            elif pipe is first:
                say(content)

    def score(self, videos: Iterable[Video]) -> Iterator[VideoScore]:
        """The scores of the videos, each as soon as it is there, in no particular order.

        Raises UserError when a process ends before it is done, after what the others had scored until then.
        """
        waiting, busy = deque(videos), set(self.devices)
        for pipe, kind, content in self._heard(busy):
            if kind == HAS_ROOM:
                with suppress(OSError):  # that it has ended is heard next
                    pipe.send(waiting.popleft() if waiting else None)
            elif kind == SCORED:
                yield content
            else:
                busy.remove(pipe)

    def _heard(self, pipes: set[connection.Connection]) -> Iterator[tuple[connection.Connection, int, Any]]:
        """What the processes of `pipes` tell until the caller has emptied the set.

        UserError if one of them has failed or ended, when the others have nothing more to tell at the moment.
        """
        failure = None
        while pipes and (telling := connection.wait(list(pipes), 0 if failure else None)):
            for pipe in telling:
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    process = self.processes[pipe]
                    process.join()
                    kind, content = FAILED, f"its process has ended ({_how(process.exitcode)}); {KEPT}"
                if kind == FAILED:
                    failure = failure or f"--device {self.devices[pipe]}: {content}"
                    pipes.discard(pipe)
                else:
                    yield pipe, kind, content
        if failure:
            raise UserError(failure)

    def end(self) -> None:
        """End the processes, whatever they are doing: what they have told is all there is to keep."""
        for process in self.processes.values():
            process.kill()
        for pipe, process in self.processes.items():
            process.join()
            pipe.close()


def _how(exitcode: int) -> str:
    if exitcode == -signal.SIGKILL:
        return "killed, out of memory?"
    return f"by {signal.Signals(-exitcode).name}" if exitcode < 0 else f"exit code {exitcode}"


def _work(pipe: connection.Connection, scoring: Scoring, device: torch.device, threads: int) -> None:
    """A lane's process: score the videos that come through the pipe."""
    leave_signals_to_parent()
    keep_freed_memory()
    torch.set_num_threads(threads)
    parent = _Parent(pipe)
    try:
        scorer = scoring.open(device, lambda line: parent.tell(SAYS, line))
        parent.tell(READY, (scorer.models, scorer.aggregates))
        for score in scorer.score(parent.videos()):
            parent.tell(SCORED, score)
        parent.tell(DONE)
    except UserError as error:
        parent.tell(FAILED, one_line(error))
    except Exception as error:  # told where it can be shown in one line
        parent.tell(FAILED, f"{type(error).__name__}: {one_line(error)}")


class _Parent:
    """The other end of a lane's pipe; videos are asked for and scores are told in different threads."""

    def __init__(self, pipe: connection.Connection):
        self.pipe, self.lock = pipe, Lock()

    def tell(self, kind: int, content: Any = None) -> None:
        try:
            with self.lock:
                self.pipe.send((kind, content))
        except OSError:
            os._exit(1)  # it is gone

    def videos(self) -> Iterator[Video]:
        while True:
            self.tell(HAS_ROOM)
            try:
                video = self.pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if video is None:
                return
            yield video
