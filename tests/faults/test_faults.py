"""Each fault once, on commands of each kind; `make faults` tries them many times on all."""

import random
from itertools import product

import pytest

from tests.faults.disks import Impossible
from tests.faults.jobs import jobs
from tests.faults.trials import (
    clock_jumps,
    disk_full,
    file_removed,
    killed,
    out_of_memory,
    read_only,
    reference,
    two_at_once,
    worker_killed,
)

CHOSEN = ("extract_crops", "train_classifier", "predict_folder")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The chosen jobs, each with what an undisturbed run leaves."""
    ground = tmp_path_factory.mktemp("faults")
    chosen = [job for job in jobs(ground / "ground") if job.name in CHOSEN]
    return {job.name: (job, reference(job, ground / job.name)) for job in chosen}


@pytest.mark.parametrize("name", CHOSEN)
def test_killed_command_is_finished_by_the_same_command(known, name, tmp_path):
    job, expected = known[name]
    killed(job, tmp_path / "job", expected, random.Random(name))


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (out_of_memory, "extract_crops"),
        (file_removed, "predict_folder"),
        *product((worker_killed, disk_full, read_only, clock_jumps, two_at_once), ("extract_crops", "predict_folder")),
    ],
)
def test_fault_loses_nothing(known, fault, name, tmp_path):
    job, expected = known[name]
    try:
        fault(job, tmp_path / "job", expected, random.Random(name))
    except Impossible as error:
        pytest.skip(str(error))
