"""Worker processes that end when the process they work for does."""

import multiprocessing
import os
import signal
import threading


def leave_signals_to_parent() -> None:
    """In a worker: let the parent decide what Ctrl-C means, and end when the parent is gone, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on writing beside the run that replaces it."""
    multiprocessing.parent_process().join()
    os._exit(1)
