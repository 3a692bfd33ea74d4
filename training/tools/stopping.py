"""Stopping a run at a point where nothing is lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Whether somebody asked the run to end (SIGTERM, or the first Ctrl-C), and with which exit code."""

    def __init__(self):
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """The signal's name, or who else may have asked in a group of processes."""
        return self.signal.name if self.signal else "another process"

    @property
    def exit_code(self) -> int:
        """What shells report for a command that the signal ended."""
        return 128 + (self.signal or signal.SIGTERM)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block SIGTERM and the first Ctrl-C only leave a note; a second Ctrl-C interrupts at once."""
    request = StopRequest()

    def note(number: int, frame: object) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not request and os.environ.get("RANK", "0") == "0":  # not by print, which the signal may have interrupted
            os.write(2, b"\nstopping after this batch; Ctrl-C once more stops at once, and loses what is not saved\n")
        request.signal = request.signal or signal.Signals(number)  # train.sh sends SIGTERM when it gets Ctrl-C

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
