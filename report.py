"""The report on a run of predict_folder.py: one HTML file that shows why each video has its label.

    python predict_folder.py --test-dir videos --models NAME --details details.jsonl
    python report.py --details details.jsonl --videos videos

From Python: `write_report(read_details("details.jsonl"), "report.html", videos="videos")`.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common.arguments import Parser, decimal_number, positive_int
from common.errors import UserError, run_command
from common.files import held
from common.limits import Limits, add_limit_options
from common.places import is_url, only_local, place
from faces.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from inference.details import read_details
from inference.results import check_writable, target_of
from reporting.build import MOST_MEGABYTES, write_report


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="report", description="Write a report, one HTML file, on what predict_folder.py found.")
    add, megabytes = parser.add_argument, decimal_number(lambda value: value >= 1, "of at least 1")
    add("--details", required=True, metavar="FILE", help="what predict_folder.py --details wrote")
    add("--output", default="report.html", metavar="FILE", help="the HTML file to write")
    add("--videos", metavar="DIR", help="the folder that was scored; without it the report has no pictures")
    add("--labels", nargs="+", default=[], metavar="FILE", help="metadata.json, CSV or data root; or several")
    add("--max-megabytes", type=megabytes, default=MOST_MEGABYTES, metavar="N", help="pictures get smaller to fit")
    add("--heatmaps", type=positive_int, metavar="K", help="show where networks look, on the K faces farthest from 0.5")
    add(
        "--models", nargs="+", default=[], metavar="NAME", help="for --heatmaps: checkpoints in --weights-dir, or paths"
    )
    add("--weights-dir", default="weights", metavar="DIR", help="where the checkpoints are")
    add("--device", default="auto", metavar="D", help="for --heatmaps: auto, cpu, cuda, cuda:N or mps")
    add("--workers", type=positive_int, default=2, metavar="N", help="videos decoded at the same time")
    add_limit_options(parser)
    add("--overwrite", action="store_true", help="replace an existing output")
    options = parser.parse_args(argv)
    if bool(options.heatmaps) != bool(options.models) or (options.heatmaps and not options.videos):
        parser.error("--heatmaps, --models and --videos go together")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_arguments(argv)
    output = place(options.output) if is_url(options.output) else target_of(options.output)
    weights_dir = only_local(options.weights_dir, "--weights-dir")
    checkpoints = [_checkpoint(only_local(name, "--models"), weights_dir) for name in options.models]
    for path in map(place, filter(None, (options.details, options.videos, *options.labels, *checkpoints))):
        same = output == path if is_url(output) or is_url(path) else output.exists() and path.exists()
        if same and (is_url(output) or output.samefile(path)):
            raise UserError(f"{output}: is one of the inputs; it is not written over")
    if output.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):  # one in the folder of --videos, too
        raise UserError(f"{output}: is the name of a video or an image, not of a report")
    with ExitStack() as stack:
        if not is_url(output):
            check_writable(output)
            refusal = f"{output}: another run is writing it; wait, or choose another --output"
            stack.enter_context(held(output.with_name(f"{output.name}.lock"), refusal))
        report = write_report(
            read_details(options.details),
            output,
            videos=options.videos,
            labels=options.labels,
            max_megabytes=options.max_megabytes,
            heatmaps=options.heatmaps or 0,
            checkpoints=checkpoints,
            device=options.device,
            workers=options.workers,
            overwrite=options.overwrite,
            source=options.details,
            limits=Limits.of(options),
        )
    print(report)
    return 0


def _checkpoint(name: Path, weights_dir: Path) -> Path:
    for path in (weights_dir / name, name):
        if path.is_file():
            return path
    raise UserError(f"no such model: {weights_dir / name}")


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
