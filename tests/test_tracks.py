"""Face tracks: what hangs together, spans, order, rejection, boxes between detections."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from faces.tracks import build_tracks
from tests.track_scenes import a_track, face, scene, spans, still

FRAME_SIZE = 1080, 1920


def test_faces_apart_are_tracks_the_most_probable_first():
    left, right = still(400, 500), still(1200, 500)
    tracks = build_tracks(*scene(left, right, scores=[0.92, 0.97]), FRAME_SIZE)
    assert [round(track.probability, 6) for track in tracks] == [0.97, 0.92]
    assert spans(tracks) == [(0, 99), (0, 99)] and tracks[0].num_frames == 100
    assert np.array_equal(tracks[0].boxes, [face(1200, 500)] * 10)
    assert np.array_equal(tracks[0].frames, np.arange(0, 100, 10))


def test_probability_is_the_mean_over_detections():
    boxes, weights = scene(still(400, 500, range(4)), length=4)
    weights = [np.array([p], np.float32) for p in (0.9, 1.0, 0.8, 0.9)]
    assert build_tracks(boxes, weights, FRAME_SIZE)[0].probability == pytest.approx(0.9, abs=1e-6)


def test_moving_face_is_one_track_with_a_union_around_all_its_boxes():
    moving = {i: face(300 + 100 * i, 500 + 10 * i) for i in range(10)}
    [track] = build_tracks(*scene(moving), FRAME_SIZE)
    assert np.array_equal(track.union, [220, 420, 1280, 670])


def test_face_that_jumps_is_two_tracks():
    jumping = {i: face(300 if i < 5 else 900, 500) for i in range(10)}
    assert sorted(spans(build_tracks(*scene(jumping), FRAME_SIZE))) == [(0, 49), (50, 99)]


def test_faces_crossing_in_front_of_each_other_are_one_track_with_joined_boxes():
    one, other = ({i: face(960 + s * (450 - 100 * i), 500) for i in range(10)} for s in (-1, 1))
    [track] = build_tracks(*scene(one, other, scores=[0.9, 1.0]), FRAME_SIZE)
    assert spans([track]) == [(0, 99)]
    assert track.boxes.shape == (10, 4)
    assert np.array_equal(track.boxes[0], [960 - 450 - 80, 420, 960 + 450 + 80, 580])
    assert np.array_equal(track.boxes[4], [960 - 50 - 80, 420, 960 + 50 + 80, 580])
    assert track.probability == pytest.approx(0.95)


def test_faces_crossing_in_different_rows_stay_two_tracks():
    high = {i: face(510 + 100 * i, 300) for i in range(10)}
    low = {i: face(1410 - 100 * i, 500) for i in range(10)}
    tracks = build_tracks(*scene(high, low, scores=[0.99, 0.98]), FRAME_SIZE)
    assert [track.boxes[-1].tolist() for track in tracks] == [face(1410, 300).tolist(), face(510, 500).tolist()]


def test_boxes_that_only_share_a_corner_hang_together_in_space_and_time():
    corner_to_corner = scene(still(400, 400), still(560, 560))
    assert len(build_tracks(*corner_to_corner, FRAME_SIZE)) == 1
    stairs = {i: face(400 + 160 * (i % 2), 400 + 160 * (i % 2)) for i in range(10)}
    assert len(build_tracks(*scene(stairs), FRAME_SIZE)) == 1
    apart = scene(still(400, 400), still(568, 568))
    assert len(build_tracks(*apart, FRAME_SIZE)) == 2


def test_gap_of_one_frame_is_bridged():
    [track] = build_tracks(*scene(still(400, 500, [0, 1, 2, 3, 5, 6])), FRAME_SIZE)
    assert spans([track]) == [(0, 69)]
    assert track.frames.tolist() == [0, 10, 20, 30, 50, 60]


def test_gap_of_two_frames_is_not_bridged():
    tracks = build_tracks(*scene(still(400, 500, [0, 1, 2, 5, 6, 7, 8])), FRAME_SIZE)
    assert sorted(spans(tracks)) == [(0, 29), (50, 89)]


def test_gap_is_bridged_only_where_both_neighbours_are():
    moved = {i: face(400 if i < 3 else 500, 500) for i in (0, 1, 2, 4, 5, 6)}
    assert spans(build_tracks(*scene(moved), FRAME_SIZE)) == [(0, 69)]
    away = {i: face(400 if i < 3 else 600, 500) for i in (0, 1, 2, 4, 5, 6)}
    assert sorted(spans(build_tracks(*scene(away), FRAME_SIZE))) == [(0, 29), (40, 69)]


def test_gap_in_a_frame_with_another_face_is_not_bridged():
    interrupted, other = still(400, 500, [0, 1, 2, 4, 5, 6]), still(1200, 500)
    assert sorted(spans(build_tracks(*scene(interrupted, other), FRAME_SIZE))) == [(0, 29), (0, 99), (40, 69)]


def test_a_bridge_is_no_detection():
    gap = scene(still(400, 500, [2, 4]))
    assert build_tracks(*gap, FRAME_SIZE) == []
    assert spans(build_tracks(*gap, FRAME_SIZE, min_detections=2)) == [(20, 49)]


def test_face_that_leaves_and_face_that_comes():
    leaving, coming = still(400, 500, range(4)), still(1200, 500, range(3, 10))
    tracks = build_tracks(*scene(leaving, coming, scores=[0.99, 0.98]), FRAME_SIZE)
    assert spans(tracks) == [(0, 39), (30, 99)]


@pytest.mark.parametrize("length", [0, 1, 10])
def test_no_faces_no_tracks(length):
    assert build_tracks(*scene(length=length), FRAME_SIZE) == []


def test_of_six_faces_the_five_most_probable_are_kept():
    faces = [still(200 + 300 * i, 500) for i in range(6)]
    scores = [0.95, 0.99, 0.91, 0.97, 0.93, 0.94]
    tracks = build_tracks(*scene(*faces, scores=scores), FRAME_SIZE)
    assert [round(track.probability, 2) for track in tracks] == [0.99, 0.97, 0.95, 0.94, 0.93]
    assert len(build_tracks(*scene(*faces, scores=scores), FRAME_SIZE, max_tracks=2)) == 2


def test_tracks_of_fewer_than_three_detections_are_rejected():
    short, long_enough = still(400, 500, [4, 5]), still(1200, 500, [4, 5, 6])
    faces = scene(short, long_enough)
    assert spans(build_tracks(*faces, FRAME_SIZE)) == [(40, 69)]
    assert len(build_tracks(*faces, FRAME_SIZE, min_detections=2)) == 2
    assert build_tracks(*faces, FRAME_SIZE, min_detections=4) == []


def test_weak_tracks_are_rejected_where_asked():
    """A face printed on a shirt, seen in every frame but never surely, and before the best five are chosen."""
    faces = scene(still(400, 500), still(400, 900), scores=[0.999, 0.85])
    assert len(build_tracks(*faces, FRAME_SIZE)) == 2
    [track] = build_tracks(*faces, FRAME_SIZE, min_probability=0.9)
    assert track.boxes[0].tolist() == face(400, 500).tolist()


def test_track_ends_with_the_video():
    faces = scene(still(400, 500, range(3)), length=3)
    assert spans(build_tracks(*faces, FRAME_SIZE)) == [(0, 29)]
    assert spans(build_tracks(*faces, FRAME_SIZE, num_frames=27)) == [(0, 26)]


def test_track_is_never_longer_than_a_hundred_frames():
    drifting = {i: face(200 + 50 * i, 500) for i in range(3, 20)}
    [track] = build_tracks(*scene(drifting, length=20), FRAME_SIZE, num_frames=195)
    assert spans([track]) == [(30, 129)]
    assert track.frames.tolist() == list(range(30, 130, 10))
    assert track.union[2] == 200 + 50 * 12 + 80
    [shorter] = build_tracks(*scene(drifting, length=20), FRAME_SIZE, max_frames=45, step=5)
    assert spans([shorter]) == [(15, 59)] and shorter.frames[-1] == 55


def test_union_ends_at_the_frames_edges_and_boxes_outside_count_for_nothing():
    faces = scene(still(20, 1070), still(-400, 500), still(2200, 500))
    [track] = build_tracks(*faces, FRAME_SIZE)
    assert track.boxes[0].tolist() == [-60, 990, 100, 1150]
    assert track.union.tolist() == [0, 990, 100, 1080]


def test_faces_smaller_than_a_pixel_of_the_volume_are_tracks():
    assert len(build_tracks(*scene(still(1001, 501, side=2)), FRAME_SIZE)) == 1


def touching(a: np.ndarray, b: np.ndarray) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def partition_by_hand(boxes: list[np.ndarray]) -> set[frozenset[tuple[int, int]]]:
    """Which boxes (frame, place) hang together, from the boxes' sides at full resolution, without any volume."""
    nodes = [((t, k), t, box) for t, faces in enumerate(boxes) for k, box in enumerate(faces)]
    for t in range(1, len(boxes) - 1):
        if len(boxes[t]) == 0:
            for a in boxes[t - 1]:
                for b in boxes[t + 1]:
                    shared = np.array([*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])])
                    if shared[0] < shared[2] and shared[1] < shared[3]:
                        nodes.append((None, t, shared))
    group = list(range(len(nodes)))
    for i, j in combinations(range(len(nodes)), 2):
        if abs(nodes[i][1] - nodes[j][1]) <= 1 and touching(nodes[i][2], nodes[j][2]) and group[i] != group[j]:
            group = [group[i] if g == group[j] else g for g in group]
    return {frozenset(nodes[i][0] for i in range(len(nodes)) if group[i] == g and nodes[i][0]) for g in set(group)}


def test_random_scenes_fall_into_the_tracks_found_by_hand():
    """Also that the volume's coarser pixels change nothing where the detector's own are as coarse."""
    rng = np.random.RandomState(0)
    sizes = []
    for _ in range(150):
        boxes = []
        for _ in range(rng.randint(1, 8)):
            corner = rng.randint(0, (40, 20), (rng.choice(4, p=[0.4, 0.3, 0.2, 0.1]), 2))
            boxes.append(4.0 * np.concatenate([corner, corner + rng.randint(4, 14, corner.shape)], axis=1))
        weights = [rng.uniform(0.5, 1, len(faces)) for faces in boxes]
        expected = partition_by_hand(boxes)
        settings = {"min_detections": 1, "max_tracks": 99, "num_frames": 1000}
        for volume_side in (240, 60):
            tracks = build_tracks(boxes, weights, (160, 240), volume_side=volume_side, **settings)
            found = {(t.first_frame, t.last_frame, round(t.probability, 9), tuple(t.union)) for t in tracks}
            by_hand = set()
            for part in expected:
                together = np.array([boxes[t][k] for t, k in part])
                times = [t for t, _ in part]
                union = (*together[:, :2].min(axis=0), *together[:, 2:].max(axis=0))
                mean = round(float(np.mean([weights[t][k] for t, k in part])), 9)
                by_hand.add((10 * min(times), 10 * max(times) + 9, mean, union))
            assert found == by_hand and len(tracks) == len(expected)
        sizes.append(len(expected))
    assert max(sizes) >= 5


def test_4k_takes_megabytes():
    faces = scene(*(still(x, 1000, side=600) for x in (500, 1500, 2500)))
    tracemalloc.start()
    try:
        assert len(build_tracks(*faces, (2160, 3840))) == 3
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_boxes_between_detections_are_interpolated_and_held_at_the_ends():
    track = a_track([10, 20, 40], [face(100, 100), face(200, 100), face(200, 300, side=200)])
    boxes = track.boxes_at([0, 10, 15, 30, 49])
    expected = [face(100, 100), face(100, 100), face(150, 100), face(200, 200, side=180), face(200, 300, side=200)]
    assert np.allclose(boxes, expected)


def test_square_boxes_have_one_size_from_the_90th_percentile_of_all_sides():
    sides = [(100, 120), (110, 140), (90, 130), (100, 150), (104, 160)]
    centres = [(500 + 20 * i, 400) for i in range(5)]
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(centres, sides, strict=True)]
    track = a_track([0, 10, 20, 30, 40], boxes)
    squares = track.square_boxes(32)
    assert squares.shape == (32, 4)
    # Sorted: 90 100 100 104 110 120 130 140 150 160; the 90th percentile is a tenth of the way from 150 to 160.
    assert np.allclose(squares[:, 2:] - squares[:, :2], 1.2 * 151)
    middles = (squares[:, :2] + squares[:, 2:]) / 2
    assert np.allclose(middles[:, 0], 500 + 2 * np.arange(32)) and np.allclose(middles[:, 1], 400)
    everywhere = track.square_boxes()
    assert len(everywhere) == len(track.square_boxes(1000)) == 50
    assert np.array_equal(everywhere[:32], squares) and np.array_equal(everywhere[49], everywhere[40])


def test_square_boxes_begin_where_the_track_does():
    track = a_track([30, 40, 50], [face(100, 100), face(200, 100), face(300, 100)])
    assert np.allclose(track.square_boxes(11).mean(axis=1), [(100 + 10 * i + 100) / 2 for i in range(11)])
