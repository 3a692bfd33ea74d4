"""Details of runs that nobody made: telling scores, people, networks, warnings, errors, a thousand videos."""

import json

import numpy as np

MODELS = ["first_network", "second_network"]
CLIP_MODEL = "clip_network"
WIDTH, HEIGHT = 640, 360


def faces_of(rng, frames, track, centre, values, spread=0.08):
    """A face in each of `frames`, seen by networks whose probabilities are near `values`."""
    found = []
    for i, frame in enumerate(frames):
        x, y = centre[0] + 25 * np.sin(i / 5), centre[1] + 8 * np.cos(i / 4)
        probabilities = [None if v is None else float(np.clip(v + spread * rng.normal(), 0, 1)) for v in values]
        box = [float(x - 45), float(y - 60), float(x + 45), float(y + 60)]
        found.append({"frame": frame, "box": box, "score": 0.99, "track": track, "probabilities": probabilities})
    return found


def label_by_pooling(faces, model):
    from inference.strategies import confident_strategy

    values = [face["probabilities"][model] for face in faces if face["probabilities"][model] is not None]
    return confident_strategy(values)


def video(name, value, seed=0, people=1, models=MODELS, frames=32, **changes):
    """A video whose faces are near `value`; the first of several people is, the others are real."""
    rng = np.random.default_rng(seed)
    looked_at = np.linspace(0, 299, frames).astype(int).tolist()
    faces = []
    for track in range(people):
        target = value if track == 0 else 0.08
        values = [float(np.clip(target + offset, 0.01, 0.99)) for offset in np.linspace(0, -0.12, len(models))]
        faces += faces_of(rng, looked_at, track, (190 + 240 * track, 160), values)
    faces.sort(key=lambda face: face["frame"])
    labels = {model: label_by_pooling(faces, i) for i, model in enumerate(models)}
    record = {
        "filename": name,
        "label": float(np.mean(list(labels.values()))),
        "labels": labels,
        "width": WIDTH,
        "height": HEIGHT,
        "num_frames": 300,
        "rate": 29.97,
        "frames": looked_at,
        "faces": faces,
        "tracks": [],
        "seconds": {"decode": 0.41, "detect": 0.83, "classify": 1.92},
        "warnings": [],
        "error": None,
        "models": list(models),
        "strategy": "confident",
        "aggregate": dict.fromkeys(models, "pooled"),
    }
    return record | changes


def unscored(name, error=None, **changes):
    """A video without a face, or with an error."""
    nothing = {"label": 0.5, "labels": {}, "faces": [], "error": error}
    return video(name, 0.5) | nothing | {"warnings": [] if error else ["no face found"]} | changes


def with_clips(name, value):
    """A frame network (mean over people) and a clip network, which sees whole tracks and takes the most fake one."""
    models = ["frame_network", CLIP_MODEL]
    record = video(name, value, people=2, models=["frame_network"])
    for face in record["faces"]:
        face["probabilities"].append(None)
    tracks = []
    for track, centre in enumerate((value, 0.1)):
        for start in (20, 120, 220):
            frames = list(range(start, start + 64))
            box = [150.0 + 240 * track, 100.0, 240.0 + 240 * track, 220.0]
            said = {"probabilities": [None, centre - start / 5000], "score": 0.99, "boxes": [box] * 64}
            tracks.append({"track": track, "input": "clip", "frames": frames, **said})
    clip_label = max(t["probabilities"][1] for t in tracks)
    per_track = [label_by_pooling([f for f in record["faces"] if f["track"] == track], 0) for track in (0, 1)]
    labels = {"frame_network": float(np.mean(per_track)), CLIP_MODEL: float(clip_label)}
    aggregate = {"frame_network": "mean", CLIP_MODEL: "max"}
    label = float(np.mean(list(labels.values())))
    return record | {"models": models, "labels": labels, "label": label, "aggregate": aggregate, "tracks": tracks}


HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & 'quoted' </script> ünïcode.mp4"


def varied():
    """Ten videos, each for something else."""
    few = video("few.mp4", 0.7, seed=3, frames=5, warnings=["few faces: 5 in 32 frames", "small faces: 41 pixels wide"])
    old = video("older/version.mp4", 0.35, seed=4)
    for field in ("tracks", "strategy", "aggregate", "num_frames", "rate"):
        del old[field]
    for face in old["faces"]:
        del face["track"]
    return [
        video("clearly_fake.mp4", 0.95, seed=1),
        video("clearly_real.mp4", 0.06, seed=2),
        video("two_people.mp4", 0.9, seed=5, people=2),
        with_clips("clips.mp4", 0.85),
        few,
        old,
        video(HOSTILE, 0.6, seed=6),
        unscored("nobody.mp4"),
        unscored("broken.mp4", "is not a readable video", frames=[], width=0, height=0),
        video("dark.mp4", 0.25, seed=7, warnings=["dark frames: 28 of 32", "only 30 of 32 frames could be decoded"]),
    ]


TRUTH = {"clearly_fake.mp4": "FAKE", "clearly_real.mp4": "REAL", "two_people.mp4": "FAKE", "dark.mp4": "FAKE"}


def many(count, models=MODELS, **changes):
    """`count` videos with scores over the whole range, mostly near its ends."""
    rng = np.random.default_rng(7)
    values = np.where(rng.random(count) < 0.5, rng.beta(1, 6, count), rng.beta(6, 1, count))
    return [
        video(f"part_{i // 100}/{i:05d}.mp4", float(value), seed=i, models=models, **changes)
        for i, value in enumerate(values)
    ]


def write_details(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_truth(path, truth=TRUTH):
    path.write_text(json.dumps({name: {"label": label, "split": "train"} for name, label in truth.items()}))
    return path
