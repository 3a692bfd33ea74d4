"""Networks, data sets and the training of deepfake classifiers."""
