"""Videos scored together, as on a GPU: the same labels in fewer runs, and no video harms or delays others much."""

import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from faces.video import Frames
from inference import stream
from inference.ensemble import Ensemble, Member
from inference.strategies import Rule
from inference.stream import Video, score_videos
from inference.views import Seen, Sighting
from tests.sightings import sighted
from training.tools.checkpoints import load_checkpoint
from training.tools.config import NetworkConfig

CPU = torch.device("cpu")
FRAME = np.full((40, 60, 3), 128, dtype=np.uint8)
FACES = [5, 0, 3, 9, 1, 1, 1, 14, 2, 6, 30, 4]


class Crowd:
    """A view that finds as many faces, of differing looks, as a video's name says."""

    input = "frame"

    def prepare(self, frames):
        return Seen(frames)

    def find(self, seen):
        (count,) = seen.frames.indices
        random = np.random.default_rng(count)
        crops = [random.integers(0, 256, (80, 70, 3), np.uint8) // (1 + place % 3) for place in range(count)]
        return [Sighting(self, [0], np.zeros((1, 4), np.float32), 1.0, {"frame": crop}) for crop in crops], []

    def shows(self, config):
        return True


def scores_of(ensemble, faces=FACES, workers=2, read=lambda path: Frames([FRAME], [int(path.name)])):
    videos = [Video(f"{place}", Path(str(count))) for place, count in enumerate(faces)]
    return score_videos(videos, read, [Crowd()], ensemble, Rule(np.mean), workers)


def ensemble_of(weights, grouped, batch_size=4):
    members = [Member.from_checkpoint(load_checkpoint(weights / name)) for name in ("small", "other")]
    return Ensemble(members, CPU, batch_size=batch_size, grouped=grouped)


@pytest.fixture
def batches(monkeypatch):
    """The sizes of the batches that networks are run on."""
    sizes, run = [], Ensemble._run
    monkeypatch.setattr(Ensemble, "_run", lambda self, inputs, *rest: sizes.append(len(inputs)) or run(self, inputs, *rest))  # fmt: skip  # noqa: E501
    return sizes


def test_groups_give_the_labels_of_videos_alone_in_fewer_runs(weights, batches):
    alone = list(scores_of(ensemble_of(weights, grouped=False)))
    runs_alone = len(batches)
    batches.clear()
    together = list(scores_of(ensemble_of(weights, grouped=True)))
    assert [score.filename for score in together] == [score.filename for score in alone]
    assert [len(score.faces) for score in together] == FACES
    for one, other in zip(alone, together, strict=True):
        assert one.error is other.error is None and one.labels.keys() == other.labels.keys()
        assert other.label == pytest.approx(one.label, abs=1e-5)
        assert one.seconds.keys() == other.seconds.keys()
    assert set(batches) == {4} and len(batches) < runs_alone


def test_a_batch_is_filled_up_and_its_size_does_not_tell(weights, batches):
    """33 pictures alone, and the same with others before and after them."""
    ensemble = ensemble_of(weights, grouped=True, batch_size=32)
    random = np.random.default_rng(0)
    crops = [random.integers(0, 256, (60, 50, 3), np.uint8) for _ in range(50)]
    inputs = [ensemble.inputs(sighted(some)) for some in (crops[:7], crops[7:40], crops[40:])]
    alone = ensemble.score(inputs[1])
    assert batches == [32, 32] * 2 and alone.shape == (2, 33)
    assert np.array_equal(ensemble.score(*inputs)[:, 7:40], alone)


def test_groups_are_made_by_the_number_of_faces_never_by_timing(weights, monkeypatch):
    groups, score = [], Ensemble.score
    monkeypatch.setattr(
        Ensemble, "score", lambda self, *videos: groups.append([len(v[0]) for v in videos]) or score(self, *videos)
    )
    for workers in (1, 4):
        groups.clear()
        list(scores_of(ensemble_of(weights, grouped=True), workers=workers))
        # Four batches of four; 30 make a group of their own, and the last video is what is left.
        assert groups == [[5, 3, 9], [1, 1, 1, 14], [2, 6, 30], [4]]


class Delicate(nn.Module):
    """A network that does not stand white pictures."""

    def __init__(self, harm):
        super().__init__()
        self.harm = harm
        self.fc = nn.Linear(1, 1)

    def forward(self, x):
        brightness = x.mean(dim=(1, 2, 3))[:, None]
        white = brightness > 2
        if self.harm == "raises" and white.any():
            raise RuntimeError("too bright")
        return torch.where(white, float("nan"), self.fc(brightness))


@pytest.mark.parametrize(
    ("harm", "reason"), [("raises", "RuntimeError: too bright"), ("nan", "FloatingPointError: no finite output of n")]
)
def test_a_failing_video_spares_the_others_of_its_group(harm, reason, monkeypatch):
    torch.manual_seed(0)
    member = Member("n", Delicate(harm), NetworkConfig(size=32))
    expected = list(scores_of(Ensemble([member], CPU, batch_size=4, grouped=True), [2, 3, 4]))
    find = Crowd.find

    def find_white(self, seen):
        sightings, warnings = find(self, seen)
        if len(sightings) == 3:
            sightings[1].pictures["frame"] = np.full((32, 32, 3), 255, np.uint8)
        return sightings, warnings

    monkeypatch.setattr(Crowd, "find", find_white)
    first, bad, last = scores_of(Ensemble([member], CPU, batch_size=4, grouped=True), [2, 3, 4])
    assert bad.error.startswith(f"classify failed: {reason}") and bad.label == 0.5 and not bad.labels
    assert (first.label, last.label) == (expected[0].label, expected[2].label)
    assert first.error is last.error is None


class Patient:
    """An ensemble for which no group is ever large enough."""

    names, grouped, device = ("a",), True, CPU
    members = (SimpleNamespace(name="a", config=NetworkConfig()),)

    def inputs(self, sightings):
        return [[[face] for face in sightings]]

    def fills_group(self, videos):
        return False

    def score(self, *videos):
        return np.full((1, sum(len(faces) for (faces,) in videos)), 0.5)


def test_frames_of_few_videos_are_in_memory_though_groups_are_large():
    alive, most, lock = weakref.WeakSet(), 0, threading.Lock()

    class Image(np.ndarray):
        __hash__ = object.__hash__

    def read(path):
        nonlocal most
        image = FRAME.copy().view(Image)
        with lock:
            alive.add(image)
            most = max(most, len(alive))
        return Frames([image], [int(path.name)])

    assert len(list(scores_of(Patient(), [2] * 60, read=read))) == 60
    assert most <= 2 + 2


def test_a_group_is_at_most_so_many_videos():
    """Two groups are begun, and the videos that are decoded."""
    begun, lock, most = [], threading.Lock(), 0

    def read(path):
        with lock:
            begun.append(path)
        return Frames([FRAME], [0])

    for done, _ in enumerate(scores_of(Patient(), [0] * 99, read=read)):
        most = max(most, len(begun) - done)
    assert len(begun) == 99 and stream.LARGEST_GROUP <= most <= 2 * stream.LARGEST_GROUP + 3


def test_abandoned_stream_of_groups_stops_reading():
    begun, first_group_is_out = [], threading.Event()

    def read(path):
        begun.append(path)
        assert len(begun) < stream.LARGEST_GROUP + 4 or first_group_is_out.wait(10)
        return Frames([FRAME], [0])

    before = set(threading.enumerate())
    scores = scores_of(Patient(), [0] * 999, read=read)
    next(scores)
    scores.close()
    first_group_is_out.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert len(begun) <= stream.LARGEST_GROUP + 6  # two were being read


def test_groups_are_for_gpus(weights):
    assert not ensemble_of(weights, grouped=None).grouped
