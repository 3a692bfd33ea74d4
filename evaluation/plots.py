"""ROC, precision-recall, reliability and histogram of scores, of one prediction or of several."""

import math
from collections.abc import Callable

import numpy as np

from common.figures import COLOURS, drawable, look_of
from evaluation.judge import Evaluation, Judged
from evaluation.metrics import ECE_BINS, THRESHOLD, calibration_bins
from evaluation.report import number

HISTOGRAM_BINS = 20
REAL_COLOUR, FAKE_COLOUR = COLOURS[0], COLOURS[1]
GRAY = "0.55"
LEGEND_LINE = 0.19  # inches
LEGEND_SIZE = 9  # points
# A legend is as wide as its longest line, and the layout makes no room for it in a figure of 7 inches.
LEGEND_WIDTH = 6.2  # inches


def plots(evaluation: Evaluation) -> dict[str, Callable]:
    """By name, what draws each plot that these videos allow and returns it as a matplotlib Figure."""
    of_both = {"roc": roc, "precision_recall": precision_recall} if evaluation.missing_class is None else {}
    return {**of_both, "reliability": reliability, "histogram": histogram}


def roc(evaluation: Evaluation):
    """Fakes found over false alarms; the diagonal is guessing, the marks are the calls at 0.5."""
    from sklearn.metrics import roc_curve

    figure, axes = _square(evaluation, "ROC curve")
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=(0, (2, 2)), linewidth=1, label="guessing")
    for index, row in enumerate(evaluation.rows):
        alarms, hits, _ = roc_curve(evaluation.fake, row.scores, drop_intermediate=False)
        look = look_of(index)
        axes.plot(alarms, hits, **look, linewidth=1.8, label=_named(row, "AUC", "auc"))
        at = row.confusion
        alarm = at["real_as_fake"] / (at["real_as_fake"] + at["real_as_real"])
        hit = at["fake_as_fake"] / (at["fake_as_fake"] + at["fake_as_real"])
        axes.plot(alarm, hit, "o", color=look["color"], ms=6, mec="white", zorder=4, clip_on=False)
    axes.set(xlabel="share of the real videos called fake", ylabel="share of the fake videos called fake (recall)")
    return _with_legend(figure, axes, f"dots: called fake above {THRESHOLD}")


def precision_recall(evaluation: Evaluation):
    """Precision over recall as the steps whose area is the average precision."""
    from sklearn.metrics import precision_recall_curve

    figure, axes = _square(evaluation, "Precision and recall")
    axes.axhline(evaluation.fake.mean(), color=GRAY, linestyle=(0, (2, 2)), linewidth=1, label="everything called fake")
    for index, row in enumerate(evaluation.rows):
        precision, recall, _ = precision_recall_curve(evaluation.fake, row.scores)
        label = _named(row, "average precision", "average_precision")
        axes.plot(recall, precision, drawstyle="steps-post", **look_of(index), linewidth=1.8, label=label)
    axes.set(
        xlabel="recall: share of the fake videos called fake", ylabel="precision: share of the calls that are right"
    )
    return _with_legend(figure, axes)


def reliability(evaluation: Evaluation):
    """The share of fakes among videos of about the same score, and how many videos there are of each."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(evaluation, "Reliability", 7, 8)
    axes, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=(0, (2, 2)), linewidth=1, label="as often fake as the score says")
    edges = np.linspace(0, 1, ECE_BINS + 1)
    for index, row in enumerate(evaluation.rows):
        bins = calibration_bins(row.scores)
        counts = np.bincount(bins, minlength=ECE_BINS)
        there = counts > 0
        mean = np.bincount(bins, row.scores, ECE_BINS)[there] / counts[there]
        share = np.bincount(bins, evaluation.fake, ECE_BINS)[there] / counts[there]
        look = look_of(index)
        label = _named(row, "calibration error", "ece")
        axes.plot(mean, share, **look, linewidth=1.3, label=label, zorder=3)
        # A bin of few videos jumps about: it shall not catch the eye like one of many.
        sizes = 8 + 72 * counts[there] / counts.max()
        axes.scatter(mean, share, sizes, color=look["color"], ec="white", lw=0.7, clip_on=False, zorder=4)
        below.stairs(counts, edges, **look, linewidth=1.5, fill=len(evaluation.rows) == 1, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), ylabel="share of fakes")
    below.set(xlabel="score, P(fake)", ylabel="videos per bin")
    below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    for each in (axes, below):
        each.grid(color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
    return _with_legend(figure, axes, f"{ECE_BINS} bins of equal width; larger dots: more videos")


def histogram(evaluation: Evaluation):
    """How the scores of real and of fake videos are spread, a panel for each prediction.

    Each has its own scale: to that of a prediction with nearly all scores in one bar, the others would be flat.
    """
    from matplotlib.ticker import MaxNLocator

    count = len(evaluation.rows)
    columns = 1 if count == 1 else 2
    lines = math.ceil(count / columns)
    figure = _figure(evaluation, "Scores by class", 4.6 * columns + 2.4 * (columns == 1), 1.6 + 2.8 * lines)
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    for axes, row in zip(panels, evaluation.rows, strict=False):
        for chosen, colour, name, hatch in (
            (~evaluation.fake, REAL_COLOUR, "real videos", "//"),
            (evaluation.fake, FAKE_COLOUR, "fake videos", None),
        ):
            heights = np.histogram(row.scores[chosen], edges)[0]
            # The hatching tells the classes apart where a print has no colours.
            axes.stairs(heights, edges, fill=True, fc=(colour, 0.3), ec=colour, hatch=hatch, lw=1.5, label=name)
        axes.axvline(THRESHOLD, color=GRAY, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_title(drawable(row.name), fontsize=LEGEND_SIZE)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[max(count - columns, 0) : count]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("score, P(fake)")
    for axes in panels[::columns]:
        axes.set_ylabel("videos")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _figure(evaluation: Evaluation, title: str, width: float, height: float):
    """An empty figure, width and height in inches, under a title that says how many videos it is about."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    real, fake = evaluation.counts
    figure.suptitle(f"{title}\n{real + fake} videos: {real} real, {fake} fake", fontsize=12)
    return figure


def _square(evaluation: Evaluation, title: str):
    """A figure with axes from 0 to 1 on both sides."""
    figure = _figure(evaluation, title, 7, 7.4)
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _named(row: Judged, what: str, key: str) -> str:
    interval = row.intervals.get(key)
    from matplotlib.textpath import TextPath

    text = f"{what} {number(row.metrics[key])}"
    text += f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    line = f"{drawable(row.name)}: {text}"
    fits = TextPath((0, 0), line, size=LEGEND_SIZE).get_extents().width <= 72 * LEGEND_WIDTH
    return line if fits else f"{drawable(row.name)}:\n{text}"


def _with_legend(figure, axes, remark: str = ""):
    """The legend below the axes, where it covers nothing; the figure grows by it."""
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(1, len(handles)), 0]  # the line to compare with comes last
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        frameon=False,
        borderaxespad=1,
        fontsize=LEGEND_SIZE,
        title=remark or None,
        title_fontsize=LEGEND_SIZE,
    )
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * sum(label.count("\n") + 1 for label in labels))
    return figure
