"""How far the networks of an ensemble agree on a video, in words."""

from collections.abc import Sequence

from inference.details import VideoDetails
from inference.explanations import shown


def model_key(index: int) -> str:
    """The letter by which charts name a model: A, B, ... Z, A1, ..."""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")


def agreement(video: VideoDetails, models: Sequence[str]) -> list[str]:
    """Sentences about labels and faces; none where there is only one network to agree with."""
    labels = [(video.labels[name], model_key(i)) for i, name in enumerate(models) if name in video.labels]
    if len(labels) < 2:
        return []
    (low, lowest), (high, highest) = min(labels), max(labels)
    fakes = sum(label > 0.5 for label, _ in labels)
    split = f"{fakes} on the fake side, {len(labels) - fakes} on the real side"
    sides = {0: "all on the real side", len(labels): "all on the fake side"}.get(fakes, split)
    lines = [
        f"{len(labels)} networks, {sides}: "
        f"from {shown(low)} ({lowest}) to {shown(high)} ({highest}), {high - low:.2f} apart"
    ]
    return lines + _on_faces(video, len(models))


def _on_faces(video: VideoDetails, networks: int) -> list[str]:
    """On how many faces those agree about the side that are shown faces, and where they differ most."""
    same, seen, looking = 0, [], set()
    for face in video.faces:
        values = [(value, model_key(i)) for i, value in enumerate(face.probabilities) if value is not None]
        looking |= {i for i, value in enumerate(face.probabilities) if value is not None}
        if len(values) >= 2:
            same += len({value > 0.5 for value, _ in values}) == 1
            seen.append((max(values)[0] - min(values)[0], face.frame, min(values), max(values)))
    if not seen:
        return []
    gap, frame, (low, lowest), (high, highest) = max(seen)
    keys = ", ".join(model_key(i) for i in sorted(looking))
    who = "all" if len(looking) == networks else f"the {len(looking)} networks of single frames ({keys})"
    lines = [f"on {same} of {len(seen)} faces {who} are on the same side of 0.5"]
    if gap >= 0.01:
        lines.append(f"furthest apart in frame {frame}: {shown(low)} ({lowest}) and {shown(high)} ({highest})")
    return lines
