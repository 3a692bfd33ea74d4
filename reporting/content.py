"""What the report says about a video: a row of its table, and what is shown when it is opened, both ready for JSON.

Nothing here is HTML: the page puts every text in place as text.
"""

from collections import Counter, defaultdict
from typing import Any

from evaluation.labels import Truth
from inference.details import Face, Track, VideoDetails
from inference.explanations import explain_tracks, shown
from inference.strategies import STRATEGIES, aggregated
from reporting.agreement import agreement

# What the table can be filtered by, and how the warnings of that kind begin; a file that cannot be read has none.
WARNING_KINDS = {
    "no face": ("no face found", "no face that stays"),
    "few faces": ("few faces",),
    "small faces": ("small faces",),
    "dark frames": ("dark",),
    "not readable": (),
    "decode errors": ("only ", "breaks off"),
    "many faces": ("many faces",),
}
# How an error begins that is not about the file; any other says why no frame of it could be read.
FAILURES = {"decode failed": "decode errors", "detect failed": "other", "classify failed": "other"}
# A track without a face in the frames looked at is shown at so many of its own.
TRACK_FACES = 8
WHAT = {"clip": "clips", "sequence": "sequences"}


def warnings_of(video: VideoDetails) -> tuple[list[str], list[str]]:
    """What makes the label less trustworthy, in words, and the kinds of it; an error counts as one."""
    warnings, kinds = list(video.warnings), set()
    if video.error is not None:
        warnings.insert(0, f"not scored: {video.error}")
        kinds.add(next((kind for begin, kind in FAILURES.items() if video.error.startswith(begin)), "not readable"))
    elif not video.scored and not video.warnings:
        warnings.append("no face found")
    for warning in warnings[video.error is not None :]:
        kind = next((kind for kind, begins in WARNING_KINDS.items() if warning.startswith(begins)), "other")
        kinds.add(kind)
    return warnings, [kind for kind in (*WARNING_KINDS, "other") if kind in kinds]


def row_of(video: VideoDetails, truth: Truth | None) -> dict[str, Any]:
    """The video's row in the table."""
    warnings, kinds = warnings_of(video)
    tracks = {face.track for face in video.faces} | {track.track for track in video.tracks}
    return {
        "name": video.filename,
        "label": video.label,
        "scored": video.scored,
        "truth": truth,
        "faces": len(video.faces),
        "tracks": len(tracks - {None}),
        "warnings": warnings,
        "kinds": kinds,
    }


def content_of(video: VideoDetails) -> dict[str, Any]:
    """What is shown when the video is opened, apart from pictures."""
    models = models_of(video)
    labels = [
        {"model": name, "label": video.labels[name], "why": explanation(video, index)}
        for index, name in enumerate(models)
        if name in video.labels
    ]
    return {
        "width": video.width,
        "height": video.height,
        "rate": video.rate,
        "numFrames": video.num_frames,
        "frames": video.frames,
        "models": models,
        "strategy": video.strategy,
        "labels": labels,
        "calibrated": video.calibrated,
        "calibratedBy": None if video.calibration is None else str(video.calibration),
        "agreement": agreement(video, models),
        "faces": [_face(face) for face in faces_of(video)],
        "spans": [_span(track) for track in video.tracks if track.frames and any_of(track)],
        "seconds": video.seconds,
    }


def models_of(video: VideoDetails) -> list[str]:
    return video.models or list(video.labels)


def any_of(item: Face | Track) -> bool:
    """Whether any network was shown it."""
    return any(value is not None for value in item.probabilities)


def faces_of(video: VideoDetails) -> list[Face]:
    """The faces in order of time, with some of each track that the frames looked at do not show."""
    faces, seen = list(video.faces), {face.track for face in video.faces}
    for track in video.tracks:
        if track.track not in seen and track.boxes:
            step = -(-len(track.boxes) // TRACK_FACES)
            faces += [
                Face(frame=frame, box=box, score=track.score or 0, track=track.track)
                for frame, box in list(zip(track.frames, track.boxes, strict=False))[::step]
            ]
    return sorted(faces, key=lambda face: face.frame)


def explanation(video: VideoDetails, model: int) -> list[str]:
    """How the label of a model (its place among the video's) came about, a line or several.

    The label in the file counts; where the numbers beside it give another one, that is said.
    """
    name = models_of(video)[model]
    label, aggregate = video.labels[name], video.aggregate.get(name, "pooled")
    tracks, what = _probabilities(video, model)
    try:
        computed = aggregated(STRATEGIES[video.strategy], aggregate, tracks)
    except (KeyError, ValueError):
        return [f"{shown(label)}; how it came about is not in the file"]
    lines = explain_tracks(video.strategy, aggregate, tracks, what)
    if abs(computed - label) > 1e-3 or shown(computed) != shown(label):
        lines.insert(0, f"{shown(label)} in the file, though its numbers give another label:")
    return lines


def _probabilities(video: VideoDetails, model: int) -> tuple[dict[str, list[float]], str]:
    """What a model said by person, and of what: of faces, or of each track, which counts by itself."""
    people: dict[str, list[float]] = defaultdict(list)
    for face in video.faces:
        if (probability := _of_model(face, model)) is not None:
            people[str(face.track)].append(probability)
    if people:
        return dict(people), "faces"
    tracks = [track for track in video.tracks if _of_model(track, model) is not None]
    times = Counter(track.track for track in tracks)
    said = {}
    for track in tracks:
        name = str(track.track)
        if times[track.track] > 1:
            name += f", frames {min(track.frames)}-{max(track.frames)}"
        said[name] = [_of_model(track, model)]
    return said, WHAT.get(tracks[0].input, "tracks") if tracks else "tracks"


def _of_model(item: Face | Track, model: int) -> float | None:
    return item.probabilities[model] if model < len(item.probabilities) else None


def _face(face: Face) -> list[Any]:
    """[frame, track, [xmin, ymin, xmax, ymax], detection score, probabilities], rounded: thousands are in the page."""
    return [face.frame, face.track, [round(side) for side in face.box], round(face.score, 3), _rounded(face)]


def _span(track: Track) -> list[Any]:
    """[track, what it is, first frame, last frame, probabilities]."""
    return [track.track, track.input, min(track.frames), max(track.frames), _rounded(track)]


def _rounded(item: Face | Track) -> list[float | None]:
    return [None if value is None else _short(value) for value in item.probabilities]


def _short(probability: float) -> float:
    """Four digits of it, all where these would be shown as another number or on the other side of 0.5."""
    short = round(probability, 4)
    same = shown(short) == shown(probability) and (short > 0.5) == (probability > 0.5)
    return short if same else probability
