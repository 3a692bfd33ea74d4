"""Small training runs for the tests: their config, command line and result."""

import json
from pathlib import Path

import torch

# Dropout, so that the random state matters; so small that an epoch takes a second.
CONFIG = {
    "network": "DeepFakeClassifierGWAP",
    "encoder": "mobilenetv3_small_050",
    "size": 64,
    "batches_per_epoch": 8,
    "optimizer": {
        "type": "SGD",
        "batch_size": 2,
        "learning_rate": 0.01,
        "schedule": {"type": "poly", "mode": "step", "epochs": 2, "params": {"max_iter": 20}},
    },
}
NAME = f"x_{CONFIG['network']}_{CONFIG['encoder']}_0"


def write_config(path: Path, config: dict = CONFIG) -> Path:
    path.write_text(json.dumps(config))
    return path


def command(root: Path, folder: Path, config: Path, *extra: object) -> list[str]:
    """Arguments of train_classifier: `root` for data, `folder` for weights and logs."""
    argv = ["--config", config, "--data-dir", root, "--folds-csv", root / "folds.csv", "--initial-weights", "none"]
    argv += ["--output-dir", folder / "weights", "--logdir", folder / "logs", "--prefix", "x_", *extra]
    return [str(argument) for argument in argv]


def last_weights(folder: Path) -> list[torch.Tensor]:
    """The weights of `_last`, in order."""
    content = torch.load(folder / "weights" / f"{NAME}_last", weights_only=True)
    return list(content["state_dict"].values())
