"""Train a classifier on the crops that folds.csv lists.

    python -m training.pipelines.train_classifier --config configs/b7.json --data-dir DATA_ROOT \\
        --folds-csv DATA_ROOT/folds.csv --fold 0 --seed 111 --prefix b7_111_

Writes <output-dir>/<prefix><network>_<encoder>_<fold>_<epoch> for every epoch, ..._best_dice, and ..._last, from which
--resume auto goes on; losses, curves and crops to look at go to <logdir>/<prefix><encoder>_<fold>. On several GPUs:
torchrun, see train.sh.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from common.errors import UserError, one_line, run_command
from common.files import held, replacing
from common.memory import keep_freed_memory
from common.places import only_local
from common.threads import add_up_in_one_order, wait_without_spinning
from training.earlier_runs import check_owner, remove_run, what_to_resume
from training.options import make_parser

PUBLISHED_WORKERS = 6
FIRST_ROWS = 10  # of a table; if none of their files is there, it is the table of something else


def train(options: argparse.Namespace) -> int:
    """The whole run; returns the exit code: 0, or 128 + N if signal N ended it after its state was saved."""
    # torch takes seconds to import: what can be refused without it has been refused by now.
    import torch

    from training.tools.config import read_config
    from training.tools.distributed import join_group
    from training.tools.optimizers import learning_rate_at_end
    from training.tools.stopping import stop_request
    from training.trainer import Settings, Stopped

    # --- the recipe, the data and the place in the group ---
    places = (options.config, options.data_dir, options.folds_csv, options.output_dir, options.logdir)
    for path in (*places, options.resume or "", options.initial_weights, options.val_videos or ""):
        only_local(path, "training")
    for place in (options.output_dir, options.logdir):
        try:
            place.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{place}: is not UTF-8, and neither a table nor PyTorch takes such a name") from error
    if _afresh(options) and not options.resume:
        raise UserError("--from-zero and --zero-score go with --resume")
    try:
        config = read_config(options.config)
        training, validation = make_datasets(options, config)
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        return 2  # the first process of a machine says it for all of them
    group = join_group(options.gpu, options.local_rank, options.distributed)
    # At once: a process whose fellows have failed is killed.
    say: Callable[[str], object] = partial(print, flush=True) if group.is_main else lambda line: None
    name = f"{options.prefix}{config.title}_{options.fold}"
    settings = Settings(
        name=name,
        output_dir=Path(options.output_dir),
        fold=options.fold,
        workers=min(PUBLISHED_WORKERS, os.cpu_count() or 1) if options.workers is None else options.workers,
        seed=options.seed,
        freeze_epochs=options.freeze_epochs,
        test_every=options.test_every,
        save_every=options.save_every,
        only_changed_frames=options.only_changed_frames,
        compile=options.compile,
    )
    resume = what_to_resume(options, settings.last)

    with ExitStack() as stack:
        # Not after an error: leaving the group may wait for processes that are waiting for this one.
        stack.push(lambda kind, *_: group.close() if kind is None else None)
        if group.is_main:
            if Path(options.prefix).name != options.prefix:
                raise UserError(f"--prefix {options.prefix}: is the beginning of a name, not a path")
            settings.output_dir.mkdir(parents=True, exist_ok=True)
            lock = settings.output_dir / f".{name}.lock"
            stack.enter_context(held(lock, f"another run is training {settings.output_dir / name}"))
        # In training alone: what else the process does, such as scoring, has other sizes every time.
        stack.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        torch.backends.cudnn.benchmark = group.device.type == "cuda"

        # --- the network and where it stands ---
        group.agree(resume, "what to resume")
        try:
            trainer = _make_trainer(options, config, settings, group, training, validation, resume, say)
        except torch.OutOfMemoryError as error:
            raise UserError("the network does not fit into the GPU's memory; who else uses it?") from error
        group.agree(f"{trainer.where()}, best bce {trainer.bce_best}", "where the run stands")
        epochs = config.optimizer.schedule.epochs
        if trainer.position.epoch >= epochs:
            say(f"{resume}: all {epochs} epochs are done; --overwrite trains anew")
            return 0

        if learning_rate_at_end(config.optimizer, config.batches_per_epoch) == 0:
            say(f"{options.config}: the learning rate is 0 before the end: max_iter is too small for {epochs} epochs")

        # --- the epochs ---
        with stop_request() as stop:
            trainer.stop = stop
            if group.is_main:
                logs = Path(options.logdir) / f"{options.prefix}{config.short_title}_{options.fold}"
                check_owner(logs, config, settings, resume, options.overwrite)
                logs.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(logs / ".lock", f"another run keeps its log in {logs}"))
                if options.overwrite:
                    remove_run(settings, logs, keep=resume)
                trainer.open_journal(logs)
                with replacing(logs / "config.json") as temporary:  # training.runs tells runs apart by it
                    temporary.write_text(config.model_dump_json(indent=2) + "\n")
                stack.callback(trainer.journal.close)
            try:
                trainer.run()
            except torch.OutOfMemoryError as error:
                size = config.optimizer.batch_size
                raise UserError(
                    f"a batch of {size} does not fit into the GPU's memory: lower optimizer.batch_size"
                ) from error
            except Stopped:
                say(f"stopped by {stop.name} at {trainer.where()}; --resume auto goes on from {settings.last}")
                return stop.exit_code
    return 0


def _is_main() -> bool:
    """Whether this is the process that speaks for its group, before there is one."""
    return os.environ.get("RANK", "0") == "0"


def make_datasets(options: argparse.Namespace, config):
    """Training and validation datasets of the options, with a line on what is missing beside the crops."""
    from training.datasets.folds import read_folds, read_video_list, split_by_fold, split_by_videos
    from training.families import check_options, family_of

    family = family_of(config)
    check_options(config, options, make_parser().get_default)
    table = read_folds(options.folds_csv)
    remarks = []
    if options.val_videos:
        ids = read_video_list(options.val_videos)
        rows, held_out, unknown = split_by_videos(table, ids, family.validation_frame_step)
        if unknown:
            remarks.append(f"{len(unknown)} of {len(ids)} videos of {options.val_videos} have no crops")
    else:
        rows, held_out = split_by_fold(table, options.fold, family.validation_frame_step)
    if options.train_on_all:
        rows = table
        remarks.append("trained on everything: what validation says is about crops that were trained on")
    for part, what in ((rows, "training"), (held_out, "validation")):
        fakes = int(part["label"].sum())
        videos = part["video"].nunique()
        remarks.append(f"{what}: {len(part)} crops of {videos} videos, {len(part) - fakes} real, {fakes} fake")
        if fakes in (0, len(part)):
            remarks.append(f"{what} has crops of one class only: its losses tell little")
    data_dir = Path(options.data_dir)
    folder = data_dir / family.folder_of(options)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {family.made_by} makes it")
    first = [Path(row.video, row.file) for row in table.head(FIRST_ROWS).itertuples()]
    if not any((folder / path).is_file() for path in first):
        table_name = f"{family.table} is the table for networks of {config.input}s"
        raise UserError(f"{options.folds_csv}: neither {first[0]} nor the next are in {folder}; {table_name}")
    datasets = family.datasets(config, rows, held_out, options)
    if _is_main():
        for remark in [*remarks, *family.remarks(data_dir), *datasets[0].remarks()]:
            print(remark)
    return datasets


def _make_trainer(options, config, settings, group, training, validation, resume: Path | None, say):
    """A trainer with its network, at the beginning or where the checkpoint `resume` stands."""
    import torch

    from training.tools.checkpoints import load_weights, read_checkpoint
    from training.tools.optimizers import create_optimizer
    from training.tools.precision import choose_precision
    from training.trainer import Trainer
    from training.zoo.initial_weights import initialize
    from training.zoo.networks import network_of

    precision = choose_precision(
        options.amp_backend, options.opt_level, options.amp_dtype, group.device, mixed=config.fp16
    )
    say(f"{group}, {precision}")
    torch.manual_seed(settings.seed)
    try:
        network = network_of(config)
    except (ValueError, RuntimeError) as error:  # the latter is timm's of a name with an unknown ending
        raise UserError(f"{options.config}: {one_line(error)}") from error
    _try_out(network, config, options.config)
    content: Mapping = {}
    if resume:
        content = read_checkpoint(resume)
        load_weights(network, content, resume, f"{config.description} of {options.config}")
    elif group.is_main:  # the others get these weights when the group is formed
        say(initialize(network, config, options.initial_weights))
    # From here on each process draws its own dropout.
    torch.manual_seed(settings.seed + group.rank)
    optimizer = create_optimizer(config.optimizer, network, apex=options.amp_backend == "apex")
    trainer = Trainer(config, settings, group, network, optimizer, precision, training, validation)
    if resume:
        remarks = _go_on(trainer, content, resume, options)
        say("; ".join([f"resuming {resume} at {trainer.where()}, best bce {trainer.bce_best:.5f}", *remarks]))
    else:
        trainer.afresh = _afresh(options)
    return trainer


def _afresh(options: argparse.Namespace) -> list[str]:
    """What the run is asked to do where it begins, by the options' names."""
    return [name for name in ("from_zero", "zero_score") if getattr(options, name)]


def _go_on(trainer, content: Mapping, resume: Path, options: argparse.Namespace) -> list[str]:
    """Take a trainer, whose weights are loaded, to where the checkpoint stands; returns remarks."""
    import torch

    from training.tools.checkpoints import CheckpointError, number_of
    from training.trainer import NO_BCE

    state = content.get("training")
    state = state if isinstance(state, Mapping) else None
    asked = _afresh(options)
    # What the run was asked where it began is not done to it again where it goes on.
    goes_on = state and resume == trainer.settings.last and not options.overwrite
    before = state.get("afresh") if goes_on else None
    before = before if isinstance(before, list) else []
    from_zero = "from_zero" in asked and "from_zero" not in before
    before = [] if from_zero else before
    zero_score = "zero_score" in asked and "zero_score" not in before
    trainer.afresh = sorted({*before, *asked})
    optimizer, now = _optimizer_type(content), trainer.config.optimizer.type
    if state and optimizer not in (None, now) and not from_zero:
        raise UserError(f"{resume}: was trained with {optimizer}, not {now}; --from-zero takes its weights alone")
    if state and not from_zero:
        try:
            remarks = trainer.restore(state)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{resume}: its training state does not fit: {error!r}") from error
    else:
        remarks = ["optimizer and random states begin afresh"]
        trainer.begin_at(0 if from_zero else number_of(content, "epoch", int) or 0)
        best = number_of(content, "bce_best", float)
        trainer.bce_best = NO_BCE if best is None else best
    if zero_score:
        trainer.bce_best = NO_BCE
    again = [f"--{name.replace('_', '-')}" for name in asked if name in before]
    return [*remarks, f"{' and '.join(again)} where it began, not again"] if again else remarks


def _try_out(network, config, path: str) -> None:
    """Run the network once: not every network takes every size. UserError says why it does not."""
    import torch

    from training.families import family_of

    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, *family_of(config).input_shape(config)))
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError, LookupError) as error:
        what = f"{config.description} does not take {config.size} pixels"
        raise UserError(f"{path}: {what}: {one_line(error)[:200]}") from error


def _optimizer_type(content: Mapping) -> str | None:
    try:
        return content["config"]["optimizer"]["type"]
    except (KeyError, TypeError):
        return None


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    keep_freed_memory()
    wait_without_spinning()  # on two cores a step took ten times as long
    add_up_in_one_order()
    return train(options)


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
