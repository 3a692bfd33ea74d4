"""Compare predictions with labels: log loss, AUC, calibration and more, with intervals, by groups, and as plots.

    python evaluate.py --predictions submission.csv --labels DATA_ROOT

From Python: `evaluate(["submission.csv"], "metadata.json").rows[0].metrics`.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from common.arguments import Parser, count, decimal_number
from common.errors import UserError, run_command
from common.files import replacing
from common.places import TEMPORARY, Remote, is_url, only_local, place
from evaluation.bootstrap import COUNT
from evaluation.calibration import Calibration, fit_temperature
from evaluation.judge import Evaluation, evaluate
from evaluation.metrics import CLIP, expected_calibration_error, log_losses
from evaluation.report import as_data, number, table

METRICS_FILE = "metrics.json"
PLOTS = ("roc", "precision_recall", "reliability", "histogram")
FORMATS = ("png", "svg")


def calibrate(evaluation: Evaluation) -> tuple[Calibration, str]:
    """The temperature fitted on the first prediction, and in words what it does to these videos."""
    fake, row = evaluation.fake, evaluation.rows[0]
    calibration = fit_temperature(fake, row.scores)
    calibrated = calibration.apply(row.scores)
    # What a certain and wrong score costs is up to the clip: with a wider one before, the clip would be the gain.
    clip = max(evaluation.clip, calibration.clip)
    losses = [log_losses(fake, scores, clip)["log_loss"] for scores in (row.scores, calibrated)]
    errors = [expected_calibration_error(fake, scores) for scores in (row.scores, calibrated)]
    said = (
        f"temperature {calibration.temperature:.4g}: log loss {number(losses[0])} before, {number(losses[1])} after; "
        f"calibration error {number(errors[0])} before, {number(errors[1])} after.\n"
        f"For both log losses the scores are clipped to [{clip:g}, 1 - {clip:g}].\n"
        "It was fitted on these very videos, so that on others it will do less: judge it there with --calibration."
    )
    if calibration.at_limit:
        said += "\nIt is at the limit of what is tried: these videos are too few or too well separated, or at odds with"
        said += " their scores, to tell a temperature."
    return calibration, said


def write(evaluation: Evaluation, out: Path, plot_format: str) -> list[Path]:
    """Write metrics.json and the plots into the folder `out`; returns their paths. What an earlier evaluation left
    there under these names, in either format, is replaced or removed."""
    from evaluation.plots import plots

    written = []
    for name, draw in plots(evaluation).items():
        written.append(out / f"{name}.{plot_format}")
        with replacing(written[-1]) as temporary:
            draw(evaluation).savefig(temporary, format=plot_format)
    written.append(out / METRICS_FILE)
    with replacing(written[-1]) as temporary:
        temporary.write_text(json.dumps(as_data(evaluation), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for path in _results(out):
        if path not in written:
            path.unlink(missing_ok=True)
    return written


def _results(out: Path) -> list[Path]:
    return [out / METRICS_FILE, *(out / f"{name}.{suffix}" for name in PLOTS for suffix in FORMATS)]


def _check_targets(options: argparse.Namespace, out: Path) -> None:
    """Refuse before any work to write over an input, or unasked over an earlier result."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; --out names a folder")
    inputs = [options.labels, options.details, options.calibration, *options.predictions]
    targets = [*_results(out), *([Path(options.calibrate)] if options.calibrate else [])]
    for target in (path for path in targets if path.exists()):
        if any(target.samefile(path) for path in inputs if path and Path(path).exists()):
            raise UserError(f"{target}: is one of the inputs; it is not written over")
        if not options.overwrite:
            raise UserError(f"{target}: exists already; --overwrite replaces it")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="evaluate", description="Compare predictions with labels: metrics, intervals, groups, plots.")
    add = parser.add_argument
    clip = decimal_number(lambda value: 0 < value < 0.5 and 1 - value < 1, "between 1e-16 and 0.5")
    add(
        "--predictions",
        nargs="+",
        action="extend",
        metavar="CSV",
        help="filename,label as predict_folder.py writes; several are compared on the videos that all have",
    )
    add(
        "--labels",
        required=True,
        metavar="PATH",
        help="metadata.json, a CSV with filename,label (REAL, FAKE, 0, 1), or a data root",
    )
    add("--details", metavar="FILE", help="what predict_folder.py --details wrote; its labels if no --predictions")
    add("--per-model", action="store_true", help="each network of --details as well")
    add(
        "--by",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="groups: faces, resolution (of --details), manipulation, or a column of the labels",
    )
    add("--calibration", metavar="FILE", help="each file's scores calibrated by this as well")
    add("--calibrate", metavar="FILE", help="fit a temperature on these videos and write it there")
    add("--clip", type=clip, default=CLIP, metavar="X", help="scores are clipped to [X, 1 - X] for the log loss")
    add("--bootstrap", type=count, default=COUNT, metavar="N", help="draws for the 95 %% intervals; 0: none")
    add("--ignore-missing", action="store_true", help="leave out what has no label, no score or a bad one, and say so")
    add("--out", metavar="DIR", help="where metrics.json and plots go (default: <first file>.evaluation beside it)")
    add("--format", choices=FORMATS, default="png", help="of the plots")
    add("--overwrite", action="store_true", help="replace an earlier evaluation or calibration")
    options = parser.parse_args(argv)
    options.predictions, options.by = options.predictions or [], options.by or []
    if not options.predictions and not options.details:
        parser.error("one of the arguments --predictions and --details is required")
    if options.calibrate and len(options.predictions) > 1:
        parser.error("argument --calibrate: fits the scores of one file; several --predictions are given")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_arguments(argv)
    with ExitStack() as stack:
        return _main(options, _make_local(options, stack))


def _make_local(options: argparse.Namespace, stack: ExitStack) -> dict[Path, Remote]:
    """Put copies in the place of the options' predictions, details and labels that lie at URLs, until `stack` ends;
    returns what they are copies of.
    """
    originals: dict[Path, Remote] = {}

    def local(path: str | None, number: int) -> str | None:
        if not is_url(path):
            return path
        remote = place(path)
        if not options.out:
            raise UserError(f"{path}: say with --out in which folder of this machine the results go")
        if not remote.is_file():
            raise UserError(f"{path}: no such file (of URLs, single files are taken: metadata.json, a CSV, details)")
        # With its folders: rows are named by them, and labels found.
        below = [part for part in PurePosixPath(str(remote).partition("://")[2]).parts if part not in ("/", "..")]
        copy = folder.joinpath(str(number), *below)
        copy.parent.mkdir(parents=True)
        remote.get(copy)
        errors = Remote(f"{remote}.errors.csv")
        if errors.is_file():
            errors.get(copy.with_name(errors.name))
        originals[copy] = remote
        return str(copy)

    inputs = [options.labels, options.details, *options.predictions]
    if any(map(is_url, inputs)):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY)))
        options.labels, options.details, *options.predictions = map(local, inputs, range(len(inputs)))
    return originals


def _main(options: argparse.Namespace, originals: dict[Path, Remote]) -> int:
    first = Path((options.predictions or [options.details])[0])
    if not first.name:
        raise UserError(f"{first}: is a directory, not a file of predictions")
    only_local(options.calibrate or "", "--calibrate")
    only_local(options.calibration or "", "--calibration")
    out = only_local(options.out, "--out") if options.out else first.with_name(f"{first.stem}.evaluation")
    _check_targets(options, out)
    evaluation = evaluate(
        options.predictions,
        options.labels,
        details=options.details,
        per_model=options.per_model,
        by=options.by,
        clip=options.clip,
        bootstrap=options.bootstrap,
        calibration=options.calibration,
        ignore_missing=options.ignore_missing,
    )
    for row in evaluation.rows:
        row.source = originals.get(row.source, row.source)
    evaluation.labels = originals.get(evaluation.labels, evaluation.labels)
    calibration, said = calibrate(evaluation) if options.calibrate else (None, "")
    written = write(evaluation, out, options.format)
    if calibration:
        calibration.save(options.calibrate)
    # Printed last: a reader of the output that goes away, such as `head`, takes nothing with it.
    print(table(evaluation), end="\n\n")
    if calibration:
        print(f"{options.calibrate}: {said}\n")
    print(f"written: {', '.join(path.name for path in written)} in {out}")
    if evaluation.missing_class:
        print(f"no ROC and no precision-recall plot: there is no {evaluation.missing_class} video")
    return 0


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
