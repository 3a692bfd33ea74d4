"""The mean of several networks' weights as one network, as fast as each of them.

    python -m training.tools.average_checkpoints weights/seed777_..._last weights/seed778_..._last weights/mean

Networks trained from the same initial weights lie close enough together for it, and the mean often tells more of what
it never saw than each of them (Wortsman et al., 2022). Networks that began at random weights have no such mean.
"""

from collections.abc import Sequence
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, run_command


def average(sources: Sequence[str | Path], target: str | Path, overwrite: bool = False) -> None:
    """Write the mean of the checkpoints `sources` to `target`, without anything to train on from.

    What is counted (of batch norms) is as in the first. Raises CheckpointError if one cannot be loaded, UserError if
    they are of different networks, or if `target` is one of them, or is there and not to be replaced.
    """
    import torch

    from training.tools.checkpoints import load_checkpoint, save_checkpoint

    target = Path(target)
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; the last name is the file to write, --overwrite replaces it")
    checkpoints = [load_checkpoint(source) for source in sources]
    first = checkpoints[0]
    for source, checkpoint in zip(sources, checkpoints, strict=True):
        if checkpoint.config != first.config:
            raise UserError(f"{source}: is another network than {sources[0]} (or its inputs are made otherwise)")
        if target.exists() and target.samefile(source):
            raise UserError(f"{target}: is one of the checkpoints themselves; it is not written over")
    states = [checkpoint.network.state_dict() for checkpoint in checkpoints]
    with torch.no_grad():
        for name, tensor in states[0].items():
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([state[name].double() for state in states]).mean(dim=0))
    epochs = [checkpoint.epoch for checkpoint in checkpoints if checkpoint.epoch is not None]
    save_checkpoint(target, first.network, first.config, **({"epoch": max(epochs)} if epochs else {}))


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="training.tools.average_checkpoints", description="Write the mean of networks' weights.")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SRC", help="checkpoints of one network")
    parser.add_argument("target", type=Path, metavar="DST", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it is there")
    options = parser.parse_args(argv)
    if len(options.sources) < 2:
        parser.error("two checkpoints or more, and the file to write, are needed")
    average(options.sources, options.target, options.overwrite)
    print(f"{options.target}: the mean of {len(options.sources)} networks")
    return 0


if __name__ == "__main__":
    run_command(main)
