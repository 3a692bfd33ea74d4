"""Folders that may not be looked into: named, but for those that a file system keeps for itself."""

import shutil

import pytest

from common.errors import UserError
from evaluation.labels import read_labels
from inference.inputs import find_videos
from preprocessing.build_data_root import entries_of_folders
from preprocessing.data_root import read_data_root


def test_folders_that_may_not_be_looked_into_are_named(video, shared_with_nobody):
    folder, as_nobody = shared_with_nobody
    for name in ("lost+found", ".fseventsd", "closed"):
        (folder / name).mkdir()
        (folder / name).chmod(0)
    shutil.copy(video, folder)
    for look in (find_videos, read_labels, lambda path: entries_of_folders([path], [])):
        with as_nobody(), pytest.raises(UserError, match=r"closed: cannot be read \(Permission denied\)"):
            look(folder)
    (folder / "closed").chmod(0o755)
    with as_nobody():
        assert [found.name for found in find_videos(folder)] == ["004.mp4"]
        assert [entry.path.name for entry in entries_of_folders([folder], [])] == ["004.mp4"]


def test_part_of_a_data_root_that_may_not_be_looked_into_is_named(shared_with_nobody):
    folder, as_nobody = shared_with_nobody
    for name in ("lost+found", ".fseventsd", "dfdc_train_part_0", "dfdc_train_part_1"):
        (folder / name).mkdir()
        (folder / name / "metadata.json").write_text("{}")
        (folder / name).chmod(0o755 if name.endswith("_0") else 0)
    with as_nobody():
        root = read_data_root(folder)
    assert root.parts == ["dfdc_train_part_0"]
    assert [(problem.item, problem.reason) for problem in root.problems] == [
        ("dfdc_train_part_1", "cannot be read (Permission denied)")
    ]
