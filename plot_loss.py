"""Plot the validation loss of training runs, mark their best epochs, and name the checkpoints to predict with.

    python plot_loss.py --log-file logs/b7_111 logs/b7_555

A log file is what a training run printed, or the metrics.csv it wrote.
"""

import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from common.arguments import Parser, decimal_number, positive_int
from common.errors import UserError, one_line, run_command
from common.figures import COLOURS, drawable, look_of
from common.files import replacing
from common.places import only_local
from training.history import CHOOSE, FAKE_WEIGHT, METRICS, SKIP_EPOCHS, Choice, Run, choose, read_losses, weighted_loss

PLOT_FORMATS = (".png", ".svg")


def plot(runs: Sequence[Run], fake_weight=FAKE_WEIGHT, skip=SKIP_EPOCHS, count=CHOOSE, figure=None):
    """Draw the weighted loss of each run with its chosen epochs marked; for a single run fake and real loss as well.

    Each run must have a finite loss. Returns the matplotlib Figure, 1200x700 pixels: `figure`, or a new one that
    belongs to no screen.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = figure or Figure()
    figure.set(size_inches=(12, 7), dpi=100, layout_engine="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes, single = figure.add_subplot(), len(runs) == 1
    curves, marks = [], []
    chosen = [choose(run, fake_weight, skip, count) for run in runs]
    for index, (run, name) in enumerate(zip(runs, _labels(runs), strict=True)):
        weighted = [weighted_loss(fake, real, fake_weight) for fake, real in zip(run.fake, run.real, strict=True)]
        losses = np.array([run.fake, run.real, weighted])
        losses[:, ~np.isfinite(losses[2])] = np.nan  # a gap in the curve
        look = look_of(index)
        colour = look["color"]
        if single:
            axes.plot(run.epochs, losses[0], ".-", ms=3, color=COLOURS[1], linewidth=1, label="fake videos")
            axes.plot(run.epochs, losses[1], ".-", ms=3, color=COLOURS[2], linewidth=1, label="real videos")
        label = "weighted" if single else drawable(name)
        axes.plot(run.epochs, losses[2], marker=".", **look, linewidth=2, label=label, zorder=3)
        curves += [np.column_stack([run.epochs, loss]) for loss in (losses if single else losses[2:])]
        for rank, best in enumerate(chosen[index]):
            face = "white" if rank else colour
            axes.plot(best.epoch, best.weighted, "o", ms=8, mfc=face, mec=colour, mew=2, zorder=4)
            text = f"epoch {best.epoch}\n{best.weighted:.4f}" if single else str(best.epoch)
            marks.append((best.epoch, best.weighted, text, colour))

    points = np.concatenate(curves)
    points = points[np.isfinite(points[:, 1])]
    first, last = min(run.epochs[0] for run in runs) - 0.5, max(run.epochs[-1] for run in runs) + 0.5
    low, top = points[:, 1].min(), points[:, 1].max()
    any_short = any(choices[0].epoch <= skip for choices in chosen)
    if first < skip and not any_short:
        # The first epochs' losses are several times the later ones: to scale, no choice could be told from another.
        high = points[points[:, 0] > skip, 1].max()
        shown, label = high + 1.5 * (high - low), f"passed over, up to epoch {skip}"
        if shown < top:
            top, label = shown, f"{label} (losses up to {top:.2f})"
        axes.axvspan(first, skip + 0.5, color="0.94", zorder=0, label=label)
    height = max(top - low, 0.02)
    axes.set(xlim=(first, last), ylim=(low - 0.1 * height, top + 0.05 * height))
    axes.set_xlabel("epoch", fontsize=12)
    axes.set_ylabel("log loss on validation videos", fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.grid(color="0.85", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    which = f"after epoch {skip}" + (f" (of all epochs where none is after {skip})" if any_short else "")
    rule = f"weighted = ({fake_weight:g} fake + real) / 2; marked: the lowest (up to {count}) {which}, the best filled"
    axes.set_title(rule, fontsize=11, color="0.3")
    title = f"Validation loss of {drawable(runs[0].name) if single else f'{len(runs)} runs'}"
    axes.annotate(title, (0.5, 1), (0, 24), "axes fraction", "offset points", ha="center", fontsize=15)
    axes.legend(fontsize=11, framealpha=0.9)
    _annotate(axes, marks, curves)
    return figure


def _annotate(axes, marks: list[tuple], curves: list) -> None:
    """Write each (x, y, text, colour) beside its point, where it covers the least of the curves and other texts."""
    import numpy as np
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()  # before that nobody knows where on the figure a point lies
    unit = 72 / axes.figure.dpi  # typographic points, in which text is measured whatever the format
    ink = [[mark[:2]] * 10 for mark in marks]
    for curve in curves:
        between = np.linspace(0, len(curve) - 1, 20 * len(curve))
        ink.append(np.column_stack([np.interp(between, range(len(curve)), values) for values in curve.T]))
    ink = axes.transData.transform(np.concatenate(ink)) * unit
    frame = axes.bbox.extents * unit
    boxes = axes.get_legend().get_window_extent().extents[None] * unit
    sides = ((0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1), (1, 0), (-1, 0))
    line = {"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
    look = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": 9.5, "zorder": 6}
    look["path_effects"] = [withStroke(linewidth=3, foreground="white")]
    for x, y, text, colour in sorted(marks):
        half = np.array([3.1 * max(map(len, text.split("\n"))) + 1, 6.5 * (text.count("\n") + 1)])
        point = axes.transData.transform((x, y)) * unit
        best = (math.inf,)
        for gap in (7, 14, 24, 36, 50):
            for side in sides:
                offset = np.array(side) * (half + gap)
                start, end = point + offset - half, point + offset + half
                covered = np.all((ink > start) & (ink < end), axis=1).sum()
                overlaps = np.all((boxes[:, :2] < end) & (boxes[:, 2:] > start), axis=1).sum()
                outside = np.any(start < frame[:2]) or np.any(end > frame[2:])
                best = min(best, (covered + 40 * overlaps + 100 * outside + gap / 2, *offset, *start, *end))
        boxes = np.vstack([boxes, best[3:]])
        axes.annotate(text, (x, y), best[1:3], **look, color=colour, arrowprops={**line, "color": colour})


def _labels(runs: Sequence[Run]) -> list[str]:
    """The runs' names, numbered where two are the same."""
    names = [run.name for run in runs]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]


def _show(runs: Sequence[Run], **drawing) -> None:
    """Open a window with the plot and wait until it is closed; nothing happens where there is no screen for it."""
    if sys.platform not in ("darwin", "win32") and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        return
    sys.stdout.flush()  # some toolkits end the process when they cannot open a window
    try:
        import matplotlib.pyplot as plt

        figure = plt.figure()
        if figure.canvas.required_interactive_framework:
            plot(runs, **drawing, figure=figure)
            plt.show()
    except Exception as error:  # each toolkit has errors of its own, and the plot is saved already
        print(f"not shown on screen: {one_line(error)}", file=sys.stderr)


def _report(run: Run, label: str, chosen: list[Choice], fake_weight: float, skip: int) -> None:
    print(f"{label}: epochs validated: {len(run.epochs)}; weighted loss: ({fake_weight:g} fake + real) / 2")
    print("   epoch  weighted    fake    real  checkpoint")
    for best in chosen:
        losses = f"{best.weighted:10.4f}{best.fake:8.4f}{best.real:8.4f}"
        print(f"{best.epoch:8}{losses}  {one_line(Path(best.checkpoint).name)}")
    if chosen[0].epoch <= skip:
        print(f"  no epoch after {skip} to choose from: chosen from all epochs")
    losses = zip(run.epochs, run.fake, run.real, strict=True)
    if unusable := [str(epoch) for epoch, *pair in losses if not math.isfinite(weighted_loss(*pair, fake_weight))]:
        print(f"  left out, their loss is nan or inf: epochs {', '.join(unusable)}")
    if run.unnumbered:
        print(f"  left out, no line says which epoch they are: {run.unnumbered} pairs of losses")
    if any(best.epoch not in run.checkpoints for best in chosen):
        print("  the log does not name these checkpoints: names are derived from its own")


def _models_line(checkpoints: Sequence[str], weights_dir: Path) -> tuple[str, int]:
    """Options for predict_folder.py, and how many of the checkpoints are not there."""
    paths = []
    for name in dict.fromkeys(checkpoints):
        places = (Path(name), weights_dir / name, weights_dir / Path(name).name)
        # A name without a folder is meant to be in the weights folder, even if it is not there yet.
        missing = places[1] if places[0].name == name else places[0]
        paths.append(next((place for place in places if place.is_file()), missing))
    folders = [path.parent.resolve() for path in paths]
    base = paths[0].parent if len(set(folders)) == 1 else weights_dir
    names = []
    for path, folder in zip(paths, folders, strict=True):
        inside = folder.is_relative_to(base.resolve())
        names.append(str(folder.relative_to(base.resolve()) / path.name if inside else path))
    return shlex.join(["--weights-dir", str(base), "--models", *names]), sum(not path.is_file() for path in paths)


def _log_in(folder: Path) -> Path:
    """The metrics of the run whose log folder this is. Raises UserError for a folder of several runs."""
    if not (folder / METRICS).exists() and (below := sorted(folder.glob(f"*/{METRICS}"))):
        raise UserError(f"{folder}: holds the logs of runs; name those to plot, such as {below[0].parent}")
    return folder / METRICS


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="plot_loss", description="Plot validation losses and choose the checkpoints to predict with.")
    add, weight = parser.add_argument, decimal_number(lambda value: value >= 0, "of at least 0")
    add(
        "--log-file",
        required=True,
        nargs="+",
        action="extend",
        metavar="F",
        help="output, metrics.csv or log folder of a run",
    )
    add("--fake-weight", type=weight, default=FAKE_WEIGHT, metavar="X", help="weight of the fake videos' loss")
    add("--skip-epochs", type=int, default=SKIP_EPOCHS, metavar="N", help="choose after this epoch (the first is 0)")
    add("--choose", type=positive_int, default=CHOOSE, metavar="N", help="number of epochs to choose from each run")
    add("--out", metavar="FILE", help="the plot, .png or .svg (default: beside the first log)")
    add("--weights-dir", default="weights", metavar="DIR", help="where the checkpoints are")
    add("--no-show", action="store_true", help="open no window")
    options = parser.parse_args(argv)
    files = [only_local(name, "plot_loss.py") for name in dict.fromkeys(options.log_file)]
    files = [_log_in(path) if path.is_dir() else path for path in files]
    # Plots lie beside the logs, so `logs/*` names them too.
    logs = [path for path in files if path.suffix.lower() not in PLOT_FORMATS] or files
    beside = logs[0].with_name("loss.png" if logs[0].name == METRICS else f"{logs[0].name}.png")
    out = only_local(options.out, "plot_loss.py") if options.out else beside
    if out.suffix.lower() not in PLOT_FORMATS:
        raise UserError(f"{out}: the plot's name must end in .png or .svg")
    runs = [read_losses(log) for log in logs]
    if out.exists() and any(out.samefile(log) for log in logs):
        raise UserError(f"{out}: is one of the logs; it is not written over")
    if len(logs) < len(files):
        print(f"passed over: {len(files) - len(logs)} plots among the logs")

    drawing = {"fake_weight": options.fake_weight, "skip": options.skip_epochs, "count": options.choose}
    chosen = [choose(run, **drawing) for run in runs]
    if [] in chosen:
        raise UserError(f"{logs[chosen.index([])]}: all its losses are nan or inf")
    for run, label, choices in zip(runs, _labels(runs), chosen, strict=True):
        _report(run, one_line(label), choices, options.fake_weight, options.skip_epochs)
    with replacing(out) as temporary:
        plot(runs, **drawing).savefig(temporary, format=out.suffix.lower()[1:])
    line, missing = _models_line([best.checkpoint for choices in chosen for best in choices], Path(options.weights_dir))
    print(f"plot: {out}")
    print(f"for predict_folder.py{f' ({missing} of these files are not there)' if missing else ''}:\n{line}")
    if not options.no_show:
        _show(runs, **drawing)
    return 0


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
