"""From a data set of real and fake videos to what the networks are trained on, in five numbered steps."""
