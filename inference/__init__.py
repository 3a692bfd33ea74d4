"""From the faces of a video to the probability that it is a deepfake."""
