"""Worker processes that leave it to the process they work for when to end."""

import multiprocessing
import os
import signal
import threading


def leave_signals_to_parent() -> None:
    """In a worker: end when the parent says so or is gone, even by kill -9, and whoever else asks, ask the parent.

    Ctrl-C in a terminal, and many who stop a run, signal all its processes: a parent that still has something to save
    must not lose its workers first.
    """
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # Before any thread is started: a thread that does not block the signal would be ended by it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.Process) -> None:
    """A worker whose parent was killed must not go on writing beside the run that replaces it."""
    parent.join()
    os._exit(1)


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(128 + signal.SIGTERM)
