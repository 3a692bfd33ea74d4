"""Faces of any frames assigned to the tracks they lie in, or to tracks of their own."""

import numpy as np

from faces.tracks import assign_faces
from tests.track_scenes import a_track, face


def test_faces_are_assigned_to_the_tracks_they_lie_in():
    left = a_track([0, 10, 20], [face(200 + 10 * i, 300) for i in range(3)])
    right = a_track([0, 10, 20], [face(800 - 10 * i, 300) for i in range(3)])
    boxes = [[face(797, 305), face(207, 296)], [], [face(212, 300)], [face(500, 800), face(787, 300)]]
    numbers = assign_faces([3, 5, 12, 15], boxes, [left, right])
    assert [found.tolist() for found in numbers] == [[1, 0], [], [0], [-1, 1]]
    assert all(found.dtype == np.int64 for found in numbers)


def test_faces_after_the_tracks_are_followed_from_where_they_were_last():
    track = a_track([0, 10, 20], [face(200, 300)] * 3)
    frames = [40, 60, 80, 100, 20]
    boxes = [[face(200 + 120 * (i + 1), 300)] for i in range(4)] + [[face(200, 300)]]
    assert [found.tolist() for found in assign_faces(frames, boxes, [track])] == [[0]] * 5
    # The same place without the way there is another face.
    assert assign_faces([100], [[face(680, 300)]], [track])[0].tolist() == [-1]


def test_track_has_one_face_of_a_frame_and_the_pairs_are_the_nearest_in_sum():
    tracks = [a_track([0, 10, 20], [face(200, 300)] * 3), a_track([0, 10, 20], [face(330, 300)] * 3)]
    assert assign_faces([5], [[face(210, 300), face(190, 305), face(900, 300)]], tracks[:1])[0].tolist() in (
        [0, -1, -1],
        [-1, 0, -1],
    )
    # The first face is nearer to the second track, but then the second face would have none.
    assert assign_faces([5], [[face(280, 300), face(420, 300)]], tracks)[0].tolist() == [0, 1]


def test_a_stranger_far_away_moves_no_face_to_another_track():
    tracks = [a_track([0, 10, 20], [face(x, 300)] * 3) for x in (200, 352)]
    assert assign_faces([5], [[face(344, 300), face(1800, 300)]], tracks)[0].tolist() == [1, -1]


def test_face_of_quite_another_size_is_another_face():
    track = a_track([0, 10, 20], [face(200, 300, side=60)] * 3)
    found = assign_faces([5], [[face(200, 300, side=180), face(210, 300, side=80)]], [track])[0]
    assert found.tolist() == [-1, 0]


def test_faces_without_tracks_make_their_own():
    frames = [0, 20, 40, 60, 80]
    boxes = [
        [face(300, 300)],
        [face(900, 300), face(330, 300)],
        [face(350, 300), face(880, 300)],
        [face(860, 300)],
        [face(840, 300), face(1500, 300), face(360, 300)],
    ]
    expected = [[0], [1, 0], [0, 1], [1], [1, 2, 0]]
    assert [found.tolist() for found in assign_faces(frames, boxes)] == expected
    shuffled = [3, 0, 4, 2, 1]
    again = assign_faces([frames[i] for i in shuffled], [boxes[i] for i in shuffled])
    assert [found.tolist() for found in again] == [expected[i] for i in shuffled]


def test_no_tracks_no_faces_no_numbers():
    assert assign_faces([], []) == []
    assert assign_faces([3], [np.zeros((0, 4))])[0].tolist() == []
    assert assign_faces([3], [[face(100, 100)]], [])[0].tolist() == [-1]
