"""Worker processes that leave it to the process they work for when to end, and the server they are forked from."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# Loaded by now: a process that has just been forked had better load nothing.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the server from which workers are forked; it imports `preload` once for all of them.

    It has no threads yet: forking this process could copy locks that another thread holds. A server that runs already
    keeps what it has imported. SIGTERM and Ctrl-C are left to the parent, as in the workers, which inherit that.
    """
    multiprocessing.set_forkserver_preload(["__main__", *preload])
    if hasattr(signal, "sigwaitinfo"):
        with signals_blocked():
            forkserver.ensure_running()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """What is started in the block does not hear SIGTERM and Ctrl-C before it has called `leave_signals_to_parent`.

    They reach this process when the block has ended: a worker that was told half of what to do would complain.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would take the signals out of the mask again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    # The mask is this thread's alone: another one may be given the signal, and Python brings it here.
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if in_main else {}
    came: list[int] = []
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(came[0])


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


def die_with_parent() -> None:
    """In a program that a worker starts (`preexec_fn`): end when the worker does, even by a signal. Linux only."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with(parent: multiprocessing.Process) -> None:
    """A worker whose parent was killed must not go on writing beside the run that replaces it."""
    parent.join()
    os._exit(1)


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(128 + signal.SIGTERM)
