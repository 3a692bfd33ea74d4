"""Train with each fold held out, from several seeds, and score the held-out videos: how good is this recipe?

    python cross_validate.py --config C.json --data-dir DATA_ROOT --folds-csv DATA_ROOT/folds.csv \\
        --folds 0 1 2 --seeds 777 778 --out DIR

Further options go to train_classifier. Real videos without fakes are trained on always and held out never. Writes
DIR/table.md, DIR/results.json and DIR/logs/fold<k>_seed<s>.log. The same command goes on after an interruption, and
with more folds or seeds adds these. With --average the mean of the seeds' networks is judged as well.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.arguments import Parser, count, positive_int
from common.errors import UserError, run_command
from common.files import held, replacing, sha256_of
from common.memory import keep_freed_memory
from common.places import only_local
from common.threads import add_up_in_one_order, wait_without_spinning
from evaluation.held_out import LABEL, MEAN, always_trained_on, folder_of, held_out_videos, read_scores
from inference.results import PARTIAL, RETRY
from predict_folder import predict_folder
from preprocessing.data_root import Video, read_data_root
from training.options import make_parser
from training.pipelines import train_classifier

if TYPE_CHECKING:
    import pandas as pd

    from evaluation.folds import FoldScores

FRAMES = 32
SCORES = {LABEL: "The label (confident strategy)", MEAN: "The mean of the faces"}
OWN_OPTIONS = (
    *("--fold", "--seed", "--val-videos", "--train-on-all"),
    *("--output-dir", "--logdir", "--prefix", "--resume", "--overwrite", "--from-zero"),
)


_local = partial(only_local, command="cross_validate.py")


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Our options, and those that go to train_classifier as they are."""
    parser = Parser(
        prog="cross_validate",
        description="Train with each fold held out, and score the held-out videos.",
        epilog="Further options go to training.pipelines.train_classifier.",
    )
    add = parser.add_argument
    add("--config", required=True, type=Path, metavar="FILE", help="the recipe, see configs/")
    add("--data-dir", required=True, type=_local, metavar="DIR", help="the data root, with videos and crops")
    add("--folds-csv", required=True, type=_local, metavar="FILE", help="the table of crops")
    add("--folds", nargs="+", required=True, type=count, metavar="N", help="folds to hold out, one after another")
    add("--seeds", nargs="+", type=count, default=[777], metavar="N", help="to train from, each fold (default: 777)")
    add("--average", action="store_true", help="of each fold, also the network that is the mean of all its seeds'")
    add("--out", required=True, type=_local, metavar="DIR", help="where everything goes")
    add("--initial-weights", default="imagenet", metavar="W", help="imagenet, none, a package, or a file")
    add("--epochs", type=positive_int, metavar="N", help="instead of the config's; its max_iter changes along")
    add("--gpu", default="0", metavar="N", help="number of the GPU, or cpu; without a GPU it is the CPU")
    add("--workers", type=count, metavar="N", help="processes that prepare crops")
    options, further = parser.parse_known_args(argv)
    if own := [flag for flag in further if flag.partition("=")[0] in OWN_OPTIONS]:
        parser.error(f"{own[0]} is decided here, for each run")
    options.folds, options.seeds = (list(dict.fromkeys(numbers)) for numbers in (options.folds, options.seeds))
    return options, further


def cross_validate(options: argparse.Namespace, further: Sequence[str] = ()) -> int:
    """All runs that are not done yet, then the table; returns the exit code of the first run that was stopped, or 0."""
    from evaluation.folds import as_data, as_markdown, summarize

    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    with held(out / ".lock", f"{out}: another cross-validation is writing there"):
        root = read_data_root(options.data_dir)
        table = _prepare(options, further)
        chosen = {fold: held_out_videos(table, root, fold) for fold in options.folds}
        runs, averaged = [], []
        for fold, videos in chosen.items():
            for seed in options.seeds:
                if not _is_scored(out, fold, seed):
                    print(f"== fold {fold}, seed {seed}", flush=True)
                    code = _run(options, further, fold, seed, videos)
                    if code:
                        return code
                runs.append(read_scores(_scores_file(out, fold, seed), root, fold, seed, videos))
            if options.average:
                seeds = "+".join(map(str, options.seeds))
                if not _is_scored(out, fold, seeds):
                    print(f"== fold {fold}, mean of the networks of seeds {seeds}", flush=True)
                    _average(options, fold, seeds, videos)
                averaged.append(read_scores(_scores_file(out, fold, seeds), root, fold, seeds, videos))
        summaries = {score: summarize(runs, score) for score in SCORES}
        of_averaged = {score: summarize(averaged, score) for score in SCORES} if averaged else {}
        blocks = [f"## {SCORES[score]}\n\n{as_markdown(summary)}\n" for score, summary in summaries.items()]
        blocks += [
            f"## {SCORES[score]}, of the mean of the seeds' networks\n\n{as_markdown(summary)}\n"
            for score, summary in of_averaged.items()
        ]
        text = "\n".join([f"# {options.config.stem}\n", _heading(chosen, runs), *blocks])
        data = {
            "settings": json.loads((out / "settings.json").read_text()),
            "scores": {score: as_data(summary) for score, summary in summaries.items()},
            "scores of averages": {score: as_data(summary) for score, summary in of_averaged.items()},
            "runs": [_as_data(run, chosen[run.fold]) for run in [*runs, *averaged]],
        }
        for name, content in (("table.md", text), ("results.json", json.dumps(data, indent=1, allow_nan=False) + "\n")):
            with replacing(out / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
    print(text)
    return 0


def _prepare(options: argparse.Namespace, further: Sequence[str]) -> "pd.DataFrame":
    """Write config, table of crops and settings, and return the table. UserError if the runs there had other ones."""
    from training.datasets.folds import read_folds

    # Refused now, not after the settings are written.
    make_parser().parse_args(["--config", "", "--data-dir", "", *further])
    config = _config_of(options)
    table = always_trained_on(read_folds(options.folds_csv))
    settings = {
        "config": config,
        "data": str(options.data_dir.resolve()),
        "table of crops": sha256_of(options.folds_csv),
        "initial weights": options.initial_weights,
        "options of training": list(further),
        "frames": FRAMES,
    }
    path = options.out / "settings.json"
    if path.exists() and any(options.out.glob("weights/seed*")):
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [name for name, value in settings.items() if before.get(name) != value]:
            raise UserError(f"{options.out}: has runs with other {' and '.join(changed)}; choose another --out")
    contents = {
        "config.json": json.dumps(config, indent=1) + "\n",
        "folds.csv": table.to_csv(index=False),
        "settings.json": json.dumps(settings, indent=1) + "\n",
    }
    for name, content in contents.items():
        with replacing(options.out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return table


def _config_of(options: argparse.Namespace) -> dict[str, Any]:
    """The config file's content, with the number of epochs that was asked for."""
    from training.tools.config import read_config

    schedule = read_config(options.config).optimizer.schedule
    content = json.loads(options.config.read_text(encoding="utf-8"))
    if options.epochs:
        described = schedule.model_dump(mode="json") | {"epochs": options.epochs}
        if "max_iter" in described["params"]:
            # The rates go down to where they would have gone, only sooner.
            described["params"]["max_iter"] = round(described["params"]["max_iter"] * options.epochs / schedule.epochs)
        content.setdefault("optimizer", {})["schedule"] = described
    return content


def _run(options: argparse.Namespace, further: Sequence[str], fold: int, seed: int, videos: Sequence[Video]) -> int:
    """Train and score, as far as that is not done; what is printed goes to the log as well. Returns the exit code."""
    out: Path = options.out
    prefix = f"seed{seed}_"
    argv = ["--config", out / "config.json", "--data-dir", options.data_dir, "--folds-csv", out / "folds.csv"]
    argv += ["--fold", fold, "--seed", seed, "--prefix", prefix, "--initial-weights", options.initial_weights]
    argv += ["--output-dir", out / "weights", "--logdir", out / "logs", "--resume", "auto", "--gpu", options.gpu]
    argv += [] if options.workers is None else ["--workers", options.workers]
    log = out / "logs" / f"fold{fold}_seed{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(_Both(file)):
        code = train_classifier.main([*map(str, argv), *further])
        if code:
            return code
        _score(options, fold, seed, videos)
    return 0


def _average(options: argparse.Namespace, fold: int, seeds: str, videos: Sequence[Video]) -> None:
    """Make and score the network that is the mean of those of all seeds."""
    from training.tools.average_checkpoints import average

    sources = [_last(options.out, fold, seed) for seed in options.seeds]
    average(sources, _last(options.out, fold, seeds), overwrite=True)
    _score(options, fold, seeds, videos)


def _is_scored(out: Path, fold: int, seed: int | str) -> bool:
    """Whether all videos are scored; what failed is tried again."""
    scores = _scores_file(out, fold, seed)
    return scores.exists() and not _has_failures(scores)


def _has_failures(scores: Path) -> bool:
    """Whether videos are to be tried again, or just were, which predict_folder keeps in mind beside its CSV."""
    return any(scores.with_suffix(f".csv{ending}").exists() for ending in (RETRY, PARTIAL))


def _score(options: argparse.Namespace, fold: int, seed: int | str, videos: Sequence[Video]) -> None:
    out: Path = options.out
    scores = _scores_file(out, fold, seed)
    summary = predict_folder(
        folder_of(out / "held_out" / f"fold{fold}", videos),
        [str(_last(out, fold, seed))],
        scores.with_suffix(".csv"),
        details=scores,
        frames=FRAMES,
        device=_scoring_device(options.gpu),
        overwrite=not (scores.exists() and _has_failures(scores)),
    )
    print(summary)


def _scoring_device(gpu: str) -> str:
    """The device to score on: the GPU that was trained on."""
    from torch import cuda

    if gpu == "cpu":
        return gpu
    return f"cuda:{gpu}" if cuda.is_available() else "auto"


def _last(out: Path, fold: int, seed: int | str) -> Path:
    """The network after the last epoch, whatever its validation said.

    The best one would be chosen by the very videos it is judged on.
    """
    from training.tools.config import read_config

    return out / "weights" / f"seed{seed}_{read_config(out / 'config.json').title}_{fold}_last"


class _Both:
    """Standard output and a file, as one stream."""

    def __init__(self, file):
        self.streams = (sys.stdout, file)

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        pass


def _scores_file(out: Path, fold: int, seed: int | str) -> Path:
    """What the prediction says of every video: complete as soon as it is there."""
    return out / "scores" / f"fold{fold}_seed{seed}.jsonl"


def _heading(chosen: dict[int, list[Video]], runs: Sequence["FoldScores"]) -> str:
    fakes = sum(video.original is not None for videos in chosen.values() for video in videos)
    reals = sum(map(len, chosen.values())) - fakes
    text = (
        f"{reals} real and {fakes} fake videos, each scored by networks that saw neither it nor its original's other"
        f" fakes, after their last epoch, by {FRAMES} frames."
    )
    unscored = sorted({name for run in runs for name in run.unscored})
    return text + (f" Without a score, and counted as 0.5: {', '.join(unscored)}.\n" if unscored else "\n")


def _as_data(run: "FoldScores", videos: Sequence[Video]) -> dict[str, Any]:
    return {
        "fold": run.fold,
        "seed": run.seed,
        "videos": [
            {
                "filename": video.path.name,
                "fake": bool(run.fake[number]),
                "original": video.source,
                **{score: float(values[number]) for score, values in run.scores.items()},
            }
            for number, video in enumerate(videos)
        ],
    }


def main(argv: Sequence[str] | None = None) -> int:
    options, further = parse_arguments(argv)
    keep_freed_memory()
    wait_without_spinning()
    add_up_in_one_order()
    return cross_validate(options, further)


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
