"""Who is who across views, from sightings made by hand."""

import numpy as np

from inference.people import number_people
from inference.views import Sighting, views_for
from training.tools.config import NetworkConfig

FRAME = NetworkConfig()
CLIP = NetworkConfig(input="clip", network="mc3_18", frames=16)
SEQUENCE = NetworkConfig(input="sequence", network="MixNetLSTM", encoder="mixnet_m", frames=10, size=160)
SINGLE, TRACKS, SEQUENCES = views_for([FRAME, CLIP, SEQUENCE], 1, "cpu", None)
HERE, THERE = np.array([0, 0, 10, 10.0]), np.array([50, 50, 60, 60.0])


def seen(view, **boxes):
    """A sighting with boxes by frame: f3=HERE."""
    return Sighting(view, [int(name[1:]) for name in boxes], np.stack(list(boxes.values())), 1.0, {})


def test_people_are_numbered_without_gaps():
    sightings = [
        seen(SINGLE, f0=THERE),
        seen(SINGLE, f9=HERE),
        seen(TRACKS, f0=THERE, f10=THERE, f20=THERE),
        seen(SINGLE, f30=THERE + 2),
    ]
    assert number_people(sightings) == [0, 1, 0, 0]
    assert number_people([]) == []


def test_person_whom_only_a_later_view_sees_gets_the_next_number():
    sightings = [
        seen(SINGLE, f0=HERE),
        seen(TRACKS, f0=THERE, f10=THERE),
        seen(TRACKS, f0=HERE, f10=HERE),
        seen(SEQUENCES, f3=THERE, f5=THERE),
    ]
    assert number_people(sightings) == [0, 1, 0, 1]


def test_numbers_of_single_faces_do_not_depend_on_other_views():
    """One face wanders off between two looks: too far for single frames to follow, not for a track beside them."""
    alone = [seen(SINGLE, f0=HERE), seen(SINGLE, f30=HERE + 24)]
    wander = {f"f{frame}": HERE + 0.8 * frame for frame in range(0, 31, 5)}
    assert number_people(alone) == [0, 1]
    assert number_people([*alone, seen(TRACKS, **wander)])[:2] == [0, 1]


def test_track_shows_whom_most_of_its_boxes_show():
    sightings = [
        seen(SINGLE, f0=HERE),
        seen(SINGLE, f0=THERE),
        seen(TRACKS, f0=HERE, f10=THERE, f20=THERE),
    ]
    assert number_people(sightings) == [0, 1, 1]
