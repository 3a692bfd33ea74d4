"""How good predictions are: labels and predictions read and matched, metrics with intervals, groups, calibration."""
