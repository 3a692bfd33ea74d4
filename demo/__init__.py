"""Sample videos for trying the whole pipeline without downloading a data set."""
