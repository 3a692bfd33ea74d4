"""Networks of single frames, tracked frames, clips and sequences in one ensemble, from videos to the CSV."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from common.errors import UserError
from demo.fresh_network import write_fresh_network
from demo.sample_videos import make_sample_root
from faces.video import read_evenly
from predict_folder import predict_folder
from tests.conftest import read_csv

SMALL_ENCODER = "mobilenetv3_small_050"
NETWORKS = {
    "frame": {"encoder": SMALL_ENCODER, "size": 64},
    "tracked": {"encoder": SMALL_ENCODER, "size": 64, "tracked": True},
    "clip": {"input": "clip", "network": "mc3_18", "frames": 8, "size": 32},
    "sequence": {"input": "sequence", "network": "MixNetLSTM", "encoder": SMALL_ENCODER, "frames": 10, "size": 32},
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A folder with a checkpoint of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, config in NETWORKS.items():
        write_fresh_network(folder / name, **config)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two people, one person, and nobody, in videos of 48 frames."""
    root = tmp_path_factory.mktemp("mixed")
    make_sample_root(root, seconds=1.6, width=640, height=360, videos=["gtyoqwmdre", "004", "fvkanshbie"])
    return root


@pytest.fixture(scope="module")
def predict(kinds, folder, tmp_path_factory):
    """Scores the folder with networks by name; returns the details by file name."""

    def call(*models, **options):
        out = tmp_path_factory.mktemp("out")
        options = {"frames": 6, "say": lambda line: None, **options}
        predict_folder(folder, models, out / "a.csv", weights_dir=kinds, details=out / "a.jsonl", **options)
        records = [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()]
        assert [[r["filename"], r["label"]] for r in records] == [[n, float(p)] for n, p in read_csv(out / "a.csv")[1:]]
        return {record["filename"].rpartition("/")[2]: record for record in records}

    return call


@pytest.fixture(scope="module")
def mixed(predict):
    return predict(*NETWORKS)


def test_label_is_the_mean_over_networks_of_all_kinds(mixed):
    for name in ("gtyoqwmdre.mp4", "004.mp4"):
        labels = mixed[name]["labels"]
        assert set(labels) == set(NETWORKS)
        assert mixed[name]["label"] == pytest.approx(np.mean(list(labels.values())))
    nobody = mixed["fvkanshbie.mp4"]
    assert (nobody["label"], nobody["labels"], nobody["warnings"]) == (0.5, {}, ["no face found"])


def test_each_network_scores_in_a_mixture_as_it_does_alone(predict, mixed):
    for name in NETWORKS:
        alone = predict(name)
        for video in ("gtyoqwmdre.mp4", "004.mp4"):
            assert alone[video]["labels"] == {name: mixed[video]["labels"][name]}


def test_probabilities_stand_where_a_network_was_shown_the_face(mixed):
    record = mixed["gtyoqwmdre.mp4"]
    assert record["models"] == list(NETWORKS)
    assert len(record["faces"]) == 12 and Counter(t["input"] for t in record["tracks"]) == {"clip": 2, "sequence": 2}
    shown = {"clip": [False, True, True, False], "sequence": [False, False, False, True]}
    for face in record["faces"]:
        assert [p is not None for p in face["probabilities"]] == [True, False, False, False]
    for track in record["tracks"]:
        assert [p is not None for p in track["probabilities"]] == shown[track["input"]]
        assert len(track["frames"]) == len(track["boxes"]) == {"clip": 5, "sequence": 10}[track["input"]]
    assert (record["num_frames"], record["rate"]) == (48, 30)


def test_details_group_faces_and_tracks_by_person(mixed):
    record = mixed["gtyoqwmdre.mp4"]
    assert Counter(face["track"] for face in record["faces"]) == {0: 6, 1: 6}
    where = {}
    for shown in (*record["faces"], *record["tracks"]):
        boxes = shown["boxes"] if "boxes" in shown else [shown["box"]]
        where.setdefault(shown["track"], []).extend((box[0] + box[2]) / 2 for box in boxes)
    (left, right) = sorted(where.values(), key=min)
    assert max(left) < min(right)


def test_published_aggregates_are_the_default_and_any_may_be_chosen(predict, mixed):
    record = mixed["gtyoqwmdre.mp4"]
    assert record["aggregate"] == {"frame": "pooled", "tracked": "mean", "clip": "mean", "sequence": "max"}
    chosen = {aggregate: predict(*NETWORKS, aggregate=aggregate)["gtyoqwmdre.mp4"] for aggregate in ("mean", "max")}
    for place, name in enumerate(("tracked", "clip", "sequence"), start=1):
        values = [t["probabilities"][place] for t in record["tracks"] if t["probabilities"][place] is not None]
        assert len(values) == 2 and values[0] != values[1]
        assert chosen["mean"]["labels"][name] == pytest.approx(np.mean(values))
        assert chosen["max"]["labels"][name] == pytest.approx(np.max(values))
    people = [[f["probabilities"][0] for f in record["faces"] if f["track"] == person] for person in (0, 1)]
    assert record["labels"]["frame"] == pytest.approx(np.mean(people))
    assert chosen["max"]["labels"]["frame"] == pytest.approx(max(np.mean(p) for p in people))


def test_labels_are_kept_off_the_ends(predict):
    assert predict("frame", clip_labels=0.4999)["004.mp4"]["label"] in (pytest.approx(0.4999), pytest.approx(0.5001))


def test_network_without_a_track_is_left_out_and_named(kinds, folder, tmp_path):
    image = tmp_path / "one.png"
    cv2.imwrite(str(image), read_evenly(next(folder.rglob("004.mp4")), 1).images[0][..., ::-1])
    details = tmp_path / "d.jsonl"
    options = {"weights_dir": kinds, "details": details, "say": lambda line: None}
    predict_folder(image, ["frame", "clip", "sequence"], tmp_path / "a.csv", **options)
    record = json.loads(details.read_text())
    assert list(record["labels"]) == ["frame"] and record["label"] == record["labels"]["frame"]
    assert "no face of the kind that clip, sequence must be shown: not counted" in record["warnings"]
    summary = predict_folder(image, ["clip"], tmp_path / "b.csv", **{**options, "details": None})
    assert summary.labels == {"one.png": 0.5} and summary.faceless == {"one.png": "no face that stays long enough"}


def test_uncertain_tracks_are_rejected_by_the_config(kinds, folder, tmp_path):
    write_fresh_network(tmp_path / "choosy", **NETWORKS["clip"], tracks={"min_probability": 1.0})
    summary = predict_folder(folder, [str(tmp_path / "choosy")], say=lambda line: None)
    assert len(summary.faceless) == 3


def test_real_video_is_scored_by_a_mixture(kinds, samples):
    options = {"weights_dir": kinds, "say": lambda line: None}
    summary = predict_folder(samples / "test_videos", list(NETWORKS), **options)
    assert list(summary.labels) == ["brtujopkby.mp4"] and not summary.unscored


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"aggregate": "most"}, "aggregate: 'most' is not one of auto, pooled, mean, max"),
        ({"strategy": "best"}, "strategy: 'best' is not one of confident, mean, median, max"),
        ({"clip_labels": 0.7}, "clip_labels: 0.7 is not from 0 to under 0.5"),
        ({"frames": 0}, "frames: 0 is not a whole number of at least 1"),
        ({"frames": 2.5}, "frames: 2.5 is not a whole number of at least 1"),
        ({"workers": 0}, "workers: 0 is not a whole number of at least 1"),
    ],
)
def test_bad_arguments_of_a_call_are_one_line(kinds, folder, options, reason):
    with pytest.raises(UserError, match=reason):
        predict_folder(folder, ["frame"], weights_dir=kinds, **options)


def test_half_precision_that_takes_minutes_for_a_clip_is_refused(kinds, folder):
    with pytest.raises(UserError, match="--precision fp16: takes a CPU minutes for every clip"):
        predict_folder(folder, ["frame", "clip"], weights_dir=kinds, device="cpu", precision="fp16", say=print)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"aggregate": "max"}, "aggregate was None, is max"), ({"clip_labels": 0.1}, "clipped by was None, is 0.1")],
)
def test_run_is_not_continued_under_another_rule(kinds, folder, tmp_path, changed, said):
    (tmp_path / "a.csv.partial").write_text(json.dumps({"settings": {}}) + "\n")
    with pytest.raises(UserError, match=said):
        predict_folder(folder, ["frame"], tmp_path / "a.csv", weights_dir=kinds, say=print, **changed)
