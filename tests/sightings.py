"""Pictures as what a view would have found."""

import numpy as np

from inference.views import FaceSequences, FaceTracks, Sighting, SingleFrames
from training.tools.config import TrackLimits

NOWHERE = np.zeros((1, 4), np.float32)


def sighted(pictures, kind="frame"):
    """Sightings of one picture each, of a view that shows pictures of its kind."""
    view = {
        "frame": SingleFrames(None, None, 99),
        "clip": FaceTracks(None, TrackLimits(), 1, False),
        "tracked": FaceTracks(None, TrackLimits(), 0, True),
        "sequence": FaceSequences(None),
    }[kind]
    return [Sighting(view, [0], NOWHERE, 1.0, {kind: picture}) for picture in pictures]
