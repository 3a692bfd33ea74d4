"""Threads that leave the cores to others: one that computes on a single core, and waiting without spinning."""

import os
from concurrent.futures import ThreadPoolExecutor


def thread_on_one_core(name: str) -> ThreadPoolExecutor:
    """A thread in which PyTorch computes on one core, for many small operations."""
    import torch

    before = torch.get_num_threads()

    def compute_alone() -> None:
        torch.get_num_threads()  # takes over the process's number, which would happen later and undo the next line
        torch.set_num_threads(1)

    thread = ThreadPoolExecutor(1, name, compute_alone)
    thread.submit(int).result()
    # It has set the number for threads to come as well.
    torch.set_num_threads(before)
    return thread


def wait_without_spinning() -> None:
    """Let PyTorch's threads sleep while they wait for one another; before torch is imported.

    Threads that wait by spinning take the cores from those that decode, detect or load crops.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def add_up_in_one_order() -> None:
    """Have MKL give the same sums in every run on a machine; before torch is imported.

    On Intel's CPUs they otherwise depend on where in memory the numbers lie, and the same training ends otherwise.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO")
