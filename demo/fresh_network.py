"""Write a small network with random weights, for trying the commands before trained weights are at hand.

    python -m demo.fresh_network demo_data/weights/fresh_network

Its scores are near 0.5 and mean nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.arguments import Parser
from common.errors import UserError, run_command

ENCODER = "tf_efficientnet_b0"
SIZE = 224


def write_fresh_network(path: str | Path, seed: int = 777, **config: Any) -> None:
    """Write a checkpoint whose weights are drawn from `seed`; `config` are fields of NetworkConfig."""
    import torch

    from training.tools.checkpoints import save_checkpoint
    from training.tools.config import NetworkConfig
    from training.zoo.networks import network_of

    described = NetworkConfig.model_validate({"encoder": ENCODER, "size": SIZE, **config})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = network_of(described)
    save_checkpoint(path, network, described)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="demo.fresh_network", description="Write a small network with random weights.")
    parser.add_argument("path", help="the checkpoint file to write")
    path = parser.parse_args(argv).path
    if Path(path).exists():
        raise UserError(f"{path}: exists already; choose another name")
    write_fresh_network(path)
    print(f"{path}: {ENCODER} with random weights; its scores mean nothing")
    return 0


if __name__ == "__main__":
    run_command(main)
