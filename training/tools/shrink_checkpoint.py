"""A checkpoint for shipping: weights in half precision and what prediction must know, nothing to train on from.

    python -m training.tools.shrink_checkpoint weights/classifier_..._last weights/small

Computed with in single precision again: what was rounded is rounded once and for all.
"""

from collections.abc import Sequence
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, run_command


def shrink(source: str | Path, target: str | Path, overwrite: bool = False) -> None:
    """Write the checkpoint `source` to `target` in about half its weights' size.

    Vectors stay single: statistics of batch norms exceed what half precision holds, and all of them together are small.
    Raises CheckpointError if `source` cannot be loaded, UserError if its weights do not fit into half precision, or if
    `target` is the same file, or is there and not to be replaced.
    """
    import torch

    from training.tools.checkpoints import load_checkpoint, save_checkpoint

    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target}: is the checkpoint itself; it is not written over")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; --overwrite replaces it")
    checkpoint = load_checkpoint(source)
    for name, parameter in checkpoint.network.named_parameters():
        if parameter.ndim > 1:
            half = parameter.detach().half()
            if not torch.isfinite(half).all():
                raise UserError(f"{source}: {name} has values that half precision cannot hold")
            parameter.data = half
    told = {"epoch": checkpoint.epoch, "bce_best": checkpoint.bce_best}
    known = {name: value for name, value in told.items() if value is not None}
    save_checkpoint(target, checkpoint.network, checkpoint.config, **known)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="training.tools.shrink_checkpoint", description="Write a checkpoint for shipping.")
    parser.add_argument("source", type=Path, metavar="SRC", help="a checkpoint")
    parser.add_argument("target", type=Path, metavar="DST", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it is there")
    options = parser.parse_args(argv)
    shrink(options.source, options.target, options.overwrite)
    before, after = (path.stat().st_size / 1e6 for path in (options.source, options.target))
    print(f"{options.target}: {after:.1f} MB, of {before:.1f}")
    return 0


if __name__ == "__main__":
    run_command(main)
