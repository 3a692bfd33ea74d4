"""What two processes do together, for test_distributed.py: each writes its results to <folder>/<rank>.

    python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.two_processes FOLDER

FOLDER/crops is a data root of generated crops.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.datasets.folds import read_folds
from training.losses import BinaryCrossentropy, sided_loss
from training.tools.config import OptimizerConfig, TrainConfig
from training.tools.distributed import Group, join_group
from training.tools.optimizers import create_optimizer
from training.tools.precision import TorchPrecision
from training.trainer import Settings, Trainer
from training.zoo.classifiers import create_network

LABELS = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]  # every other one: as many of each class


def take_step(group: Group) -> dict[str, dict[str, Tensor]]:
    """One step on this process's share of a fixed batch, batch norms in eval mode: clipped gradients, and weights."""
    torch.manual_seed(group.rank)  # the main process's weights are those of all
    network = create_network("DeepFakeClassifier", "mobilenetv3_small_050").eval()
    nn.init.normal_(network.fc.weight)  # large gradients
    precision = TorchPrecision(group.device, "O0", torch.bfloat16)
    optimizer = create_optimizer(OptimizerConfig(), network)
    model: nn.Module = precision.distribute(network) if group.world > 1 else network
    images = torch.randn(len(LABELS), 3, 64, 64, generator=torch.Generator().manual_seed(9))
    share = slice(group.rank, None, group.world)
    loss, _, _ = sided_loss(BinaryCrossentropy(), model(images[share]), torch.tensor(LABELS)[share, None])
    precision.backward(loss, optimizer)
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    precision.step(optimizer, 1.0)
    return {"gradients": gradients, "weights": network.state_dict()}


def train(group: Group, folder: Path) -> dict[str, Any]:
    """Two epochs, the first with a frozen encoder: this process's items and weights, and what validation told it."""
    rows = read_folds(folder / "crops" / "folds.csv")
    sets = [DeepFakeClassifierDataset(rows, folder / "crops", mode, size=32) for mode in ("train", "val")]
    optimizer = OptimizerConfig(batch_size=6, schedule={"type": "poly", "epochs": 2, "params": {"max_iter": 9}})
    torch.manual_seed(group.rank)
    network = create_network("DeepFakeClassifier", "mobilenetv3_small_050")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainer = Trainer(
        TrainConfig(encoder="mobilenetv3_small_050", batches_per_epoch=2, optimizer=optimizer),
        Settings("net", folder, workers=0, freeze_epochs=1),
        group,
        network,
        create_optimizer(optimizer, network),
        TorchPrecision(group.device, "O0", torch.bfloat16),
        *sets,
    )
    items: list[str] = []
    step = trainer.train_step

    def record(batch):
        items.extend(batch["img_name"])
        return step(batch)

    trainer.train_step = record
    trainer.run()
    verdict = trainer.validate()
    probabilities = verdict and verdict.probabilities
    weights = {name: p.detach() for name, p in network.named_parameters()}
    return {"items": items, "before": before, "weights": weights, "probabilities": probabilities}


def main(folder: Path) -> None:
    group = join_group("cpu", local_rank=0, distributed=True)
    torch.set_num_threads(1)
    results = {
        "place": (group.rank, group.world, group.is_main),
        "votes": [group.any(group.rank == 1), group.any(group.rank == 0), group.any(False), group.any(True)],
        "gathered": group.gather({"rank": group.rank, "names": ["a"] * group.rank}),
        "step": take_step(group),
        "training": train(group, folder),
    }
    torch.save(results, folder / str(group.rank))
    group.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
