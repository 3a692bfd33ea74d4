"""All five steps, one after another, in one process.

    python -m preprocessing.pipeline DATA_ROOT [options of the steps]

An option goes to every step that knows it. The first step that fails ends the run; the same command goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from common.errors import UserError, run_command
from common.places import place
from preprocessing import (
    detect_original_faces,
    extract_crops,
    generate_diffs,
    generate_folds,
    generate_landmarks,
)
from preprocessing.data_root import read_data_root
from preprocessing.runner import first_sources

STEPS: tuple[ModuleType, ...] = (
    detect_original_faces,
    extract_crops,
    generate_landmarks,
    generate_diffs,
    generate_folds,
)
USAGE = "usage: preprocess_data.sh DATA_ROOT [options of the steps]"


def _help() -> str:
    lines = [USAGE, "", "An option goes to every step that knows it:"]
    for step in STEPS:
        flags = [flag for flag in sorted(step.make_parser().flags()) if flag not in ("--help", "--root-dir")]
        lines.append(f"  {_name(step)}: {' '.join(flags)}")
    lines += ["", "What an option means: python -m preprocessing.<step> --help"]
    return "\n".join(lines)


def _name(step: ModuleType) -> str:
    return step.__name__.rpartition(".")[2]


def split_options(arguments: Sequence[str]) -> list[list[str]]:
    """The arguments for each step: an option and its value go wherever the option is known.

    Raises UserError if no step knows an option.
    """
    groups: list[list[str]] = []
    for argument in arguments:
        if argument.startswith("--"):
            groups.append([argument])
        elif groups:
            groups[-1].append(argument)
        else:
            raise UserError(f"{argument!r} is not an option; {USAGE}")
    known = [step.make_parser().flags() for step in STEPS]
    for flag, *_ in groups:
        if not any(flag.partition("=")[0] in flags for flags in known):
            raise UserError(f"no step knows the option {flag}; preprocess_data.sh --help lists them")
    return [[word for group in groups if group[0].partition("=")[0] in flags for word in group] for flags in known]


def _refuse_useless(root: str, limit: int | None, last: argparse.Namespace) -> None:
    """Raise UserError if the last step would refuse its table: of the whole root, or of its first `limit` originals."""
    data = read_data_root(root, last.crops_dir)
    videos = generate_folds.videos_of(data, last.with_unpaired)
    fold_of = {video.source: generate_folds.fold_of(data.videos[video.source], last.n_splits) for video in videos}
    generate_folds.refuse_useless(sorted(set(fold_of.values())), data, last)
    chosen = {fold_of[source] for source in first_sources(data.videos.values(), limit) if source in fold_of}
    if limit and len(chosen) < 2 and not last.allow_empty:
        raise UserError(f"--limit {limit}: leaves nothing to train on, or to validate on; raise it, or --allow-empty")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(_help())
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise UserError(USAGE)
    root = arguments[0]
    options = split_options(arguments[1:])
    # Every step's options, and what the last one would make of them, are looked at before the first one spends hours.
    parsed = [
        step.make_parser().parse_args(["--root-dir", root, *extra]) for step, extra in zip(STEPS, options, strict=True)
    ]
    shared = any(word.startswith("--part") for word in options[0])
    _refuse_useless(root, None if shared else parsed[0].limit, parsed[-1])
    for number, (step, extra) in enumerate(zip(STEPS, options, strict=True), start=1):
        if shared and step is generate_folds:
            print(f"== step {number} waits for the other shares; when all are done, the command without --part does it")
            break
        if step is generate_folds and not any(word.startswith("--out") for word in extra):
            extra = [*extra, "--out", str(place(root) / "folds.csv")]
        print(f"== step {number} of {len(STEPS)}: {_name(step)}", flush=True)
        try:
            code = step.main(["--root-dir", root, *extra])
        except KeyboardInterrupt as error:
            if "--overwrite" not in extra or not (shared or parsed[0].limit):
                raise  # what is made of what a whole step has made anew is made anew, too
            what = f"{_name(step)} goes on without --overwrite, by its own command; the steps after it still need it"
            raise type(error)(what) from error
        if code:
            print(f"stopped at step {number}, {_name(step)}; the same command goes on from there", file=sys.stderr)
            return code
    return 0


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
