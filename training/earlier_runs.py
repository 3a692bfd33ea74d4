"""What runs before have left where a run writes: what it goes on from, what it must not touch, what it removes."""

import argparse
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from training.history import METRICS, read_rows

if TYPE_CHECKING:
    from training.tools.config import NetworkConfig
    from training.trainer import Settings


def what_to_resume(options: argparse.Namespace, last: Path) -> Path | None:
    """The checkpoint that a run goes on from, None if from none; `last` is where the run keeps its own state.

    Raises UserError where it would begin anew and something of a run before would be lost.
    """
    if options.overwrite and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        raise UserError("restarted by torchrun: --overwrite would remove what this run has saved; go on without it")
    if options.resume == "auto":
        return last if last.exists() and not options.overwrite else None
    if options.resume and Path(options.resume).absolute() == last.absolute():
        return last
    if last.exists() and not options.overwrite:
        raise UserError(f"{last} is there from a run before: --resume auto goes on with it, --overwrite begins anew")
    return Path(options.resume) if options.resume else None


def check_owner(
    folder: Path, config: "NetworkConfig", settings: "Settings", resume: Path | None, overwrite: bool
) -> None:
    """Refuse a folder of logs that is another network's, or another run's of this one unless to `overwrite`.

    The folder's name holds the encoder alone, as published.
    """
    from training.tools.config import NetworkConfig  # torch takes seconds to import

    try:
        owner = NetworkConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8")).title
    except (OSError, ValueError):
        return
    if owner != config.title:
        raise UserError(f"{folder}: holds the log of {owner}; another --prefix or --logdir keeps {config.title} apart")
    logged = [Path(row["checkpoint"]) for row in read_rows(folder / METRICS) if row.get("checkpoint")]
    elsewhere = [path for path in logged if path.exists() and not path.parent.samefile(settings.output_dir)]
    if not overwrite and (elsewhere or (logged and resume != settings.last)):
        raise UserError(f"{folder}: holds the log of another run; another --prefix or --logdir, or --overwrite")


def remove_run(settings: "Settings", logs: Path, keep: Path | None) -> None:
    """Remove what an earlier run of this name left, but the file `keep`: none of it may be taken for the new one's."""
    goes_on = bool(keep) and settings.last.exists() and keep.samefile(settings.last)
    ends = ("last", "best_dice")
    for path in settings.output_dir.glob(f"{glob.escape(settings.name)}_*"):
        end = path.name.removeprefix(f"{settings.name}_")
        if (end in ends or end.isdecimal()) and not (keep and path.samefile(keep)):
            path.unlink()
    for path in logs.glob("events.out.tfevents.*"):
        path.unlink()
    if not goes_on:  # else the epochs before are its own
        for path in (logs / METRICS, *logs.glob("predictions_*.json"), *logs.glob("faces_*.csv")):
            path.unlink(missing_ok=True)
