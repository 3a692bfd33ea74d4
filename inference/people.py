"""Which of the faces that several views have seen are one person's."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from faces.tracks import Track, assign_faces
from inference.views import Sighting


def number_people(sightings: Sequence[Sighting]) -> list[int]:
    """Whom each sighting shows, whichever view it is of: a number from 0.

    Views are gone through in the order of their first sightings; the numbers of one depend on those before it alone.
    """
    people: list[Track] = []
    numbers = [-1] * len(sightings)
    for view in dict.fromkeys(id(sighting.view) for sighting in sightings):
        mine = [number for number, sighting in enumerate(sightings) if id(sighting.view) == view]
        if people:
            for number, person in zip(mine, _votes([sightings[i] for i in mine], people), strict=True):
                numbers[number] = person
        new = [number for number in mine if numbers[number] < 0]
        assigned = _votes([sightings[i] for i in new], None)
        # Where every vote for a person was overruled, its number would be missing from the row.
        places = {person: len(people) + place for place, person in enumerate(sorted(set(assigned)))}
        for number, person in zip(new, assigned, strict=True):
            numbers[number] = places[person]
        for person in places.values():
            people.append(_one_track([sightings[i] for i in new if numbers[i] == person]))
    return numbers


def _votes(sightings: Sequence[Sighting], people: Sequence[Track] | None) -> list[int]:
    """Which of `people` (None: of themselves) most of the boxes of each sighting show; -1: nobody."""
    looks: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for number, sighting in enumerate(sightings):
        for frame, box in zip(sighting.frames, sighting.boxes, strict=True):
            looks[frame].append((number, box))
    assigned = assign_faces(list(looks), [np.stack([box for _, box in faces]) for faces in looks.values()], people)
    votes: list[Counter[int]] = [Counter() for _ in sightings]
    for faces, persons in zip(looks.values(), assigned, strict=True):
        for (number, _), person in zip(faces, persons.tolist(), strict=True):
            votes[number][person] += 1
    return [vote.most_common(1)[0][0] for vote in votes]


def _one_track(sightings: Sequence[Sighting]) -> Track:
    """All that was seen of a person, as one track."""
    boxes = {frame: box for sighting in sightings for frame, box in zip(sighting.frames, sighting.boxes, strict=True)}
    frames = sorted(boxes)
    return Track(
        frames[0], frames[-1], np.array(frames), np.stack([boxes[frame] for frame in frames]), 1.0, np.zeros(4)
    )
