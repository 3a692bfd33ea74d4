"""Threads that share the cores: on one each, and without taking them while they wait."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier


def one_core_each(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool of `threads` threads in each of which PyTorch computes on one core.

    Many small operations gain nothing from several cores, and wait in vain for one another where others compute too.
    """
    import torch

    before, all_there = torch.get_num_threads(), Barrier(threads)

    def compute_alone() -> None:
        torch.get_num_threads()  # takes over the process's number, which would happen later and undo the next line
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(threads, name, compute_alone)
    wait([pool.submit(int) for _ in range(threads)])
    # Each thread has set the number for threads to come as well.
    torch.set_num_threads(before)
    return pool


def wait_without_spinning() -> None:
    """Let PyTorch's threads sleep while they wait for one another; before torch is imported.

    Threads that wait by spinning take the cores from those that decode, detect or load crops.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
