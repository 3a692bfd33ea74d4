"""Batches from worker processes: what is told when one of them dies, and when the data are at fault."""

import os
import signal

import pytest
import torch

from common.errors import UserError
from training.datasets.loading import batches_of, make_loader


class Items(torch.utils.data.Dataset):
    """Items of which number 4 is not to be had."""

    def __init__(self, fate):
        self.fate = fate

    def __getitem__(self, key):
        if key[1] == 4:
            if self.fate == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"RuntimeError": RuntimeError, "OSError": OSError}[self.fate]("of the dataset")
        return {"image": torch.zeros(3, 2, 2), "labels": 0.0, "valid": 1, "img_name": "a", "failures": []}


def loader(fate):
    return batches_of(make_loader(Items(fate), 1, [(0, place) for place in range(8)], 1, pinned=False))


def test_dead_worker_ends_the_run_with_a_line_that_says_how_to_go_on():
    batches = loader("killed")
    with pytest.raises(UserError, match=r"has died \(out of memory\?.*--resume auto goes on"):
        list(batches)


@pytest.mark.parametrize("fate", ["RuntimeError", "OSError"])
def test_error_of_the_dataset_is_no_death(fate):
    with pytest.raises((RuntimeError, OSError), match="of the dataset"):
        list(loader(fate))
