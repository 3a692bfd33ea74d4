"""An evaluation as a table for the terminal, and as plain data for metrics.json."""

import textwrap
from collections.abc import Sequence

from common.errors import one_line
from evaluation.judge import Evaluation, Judged
from evaluation.metrics import CONFUSION, ECE_BINS, LABELS, OF_BOTH_CLASSES, THRESHOLD
from evaluation.problems import some

WIDTH = 100
SIDE_BY_SIDE = 3
HEAD_WIDTH = 28
CELL_WIDTH = 24
MOST_GROUPS = 40
HEADINGS = {
    "accuracy": f"called fake above {THRESHOLD}",
    "best_threshold": "called fake above the best threshold",
}
CONFUSION_LABELS = {
    "real_as_real": "  real, called real",
    "real_as_fake": "  real, called fake",
    "fake_as_real": "  fake, called real",
    "fake_as_fake": "  fake, called fake",
}
GROUP_COLUMNS = (
    *("videos", "real", "fake", "log loss", "AUC", "accuracy", "precision", "recall"),
    *("r>r", "r>f", "f>r", "f>f"),
)
GROUPS_NOTE = "r>f: real videos called fake. Accuracy, precision, recall and these counts are at 0.5. -: not defined."


def table(evaluation: Evaluation) -> str:
    """The whole evaluation in lines of at most 100 characters, apart from names of files."""
    blocks = [_head(evaluation)]
    rows = evaluation.rows
    blocks += [_metrics_block(rows[i : i + SIDE_BY_SIDE]) for i in range(0, len(rows), SIDE_BY_SIDE)]
    blocks.append(_notes(evaluation))
    blocks += [_groups_block(by, row) for by in evaluation.by for row in rows]
    blocks.append(GROUPS_NOTE if evaluation.by else "")
    return "\n\n".join(block for block in blocks if block)


def _head(evaluation: Evaluation) -> str:
    real, fake = evaluation.counts
    head = f"{real + fake} videos, {real} real and {fake} fake, labelled by {evaluation.labels}"
    left_out = [f"left out: {sentence}" for sentence in evaluation.problems.sentences()]
    return "\n".join(map(_wrapped, [head, *left_out]))


def _metrics_block(rows: Sequence[Judged]) -> str:
    names = [_short(row.name, CELL_WIDTH - 2) for row in rows]
    lines = [_line("", names)]
    for key, label in LABELS.items():
        if key in HEADINGS:
            lines.append(HEADINGS[key])
        lines.append(_line(label, [_cell(row.metrics[key], row.intervals.get(key)) for row in rows]))
        if key == "f1":
            for count, text in CONFUSION_LABELS.items():
                lines.append(_line(text, [str(row.confusion[count]) for row in rows]))
    return "\n".join(lines)


def _line(label: str, cells: Sequence[str]) -> str:
    return (label.ljust(HEAD_WIDTH) + "".join(cell.ljust(CELL_WIDTH) for cell in cells)).rstrip()


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return number(value) + (f" [{number(interval[0])}, {number(interval[1])}]" if interval else "")


def number(value: float | None) -> str:
    """Four digits after the point, or as many as stay within six characters."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 9.99995 else f"{value:.3f}"


def _notes(evaluation: Evaluation) -> str:
    """What must be known to read the numbers."""
    clip = evaluation.clip
    notes = [f"Log loss: scores clipped to [{clip:g}, 1 - {clip:g}]; lower is better, 0.6931 is guessing."]
    if evaluation.bootstrap:
        notes.append(f"In brackets: 95 % intervals from {evaluation.bootstrap} bootstrap draws of the videos.")
    if (applied := evaluation.calibration) and applied.clip > clip:
        notes.append(
            f"Calibrated: scores clipped to [{applied.clip:g}, 1 - {applied.clip:g}] first, which lowers the log loss "
            f"by itself where scores are certain and wrong; --clip {applied.clip:g} does that to all."
        )
    without_interval = "; no interval, as drawing only raises it" if evaluation.bootstrap else ""
    notes.append(f"Calibration error: over {ECE_BINS} bins of equal width{without_interval}.")
    if missing := evaluation.missing_class:
        needing = f"{', '.join(LABELS[key].strip() for key in OF_BOTH_CLASSES[:4])} and the best threshold"
        there = "fake" if missing == "real" else "real"
        notes.append(f"All videos are {there}: without {missing} ones, {needing} are not defined (-).")
    else:
        notes.append(
            "The best threshold has the highest balanced accuracy on these very videos: on others expect less."
        )
    for row in {row.source: row for row in reversed(evaluation.rows)}.values():  # the first row of each file
        if row.unscored:
            names = [f"{name} ({reason})" for name, reason in row.unscored.items()]
            verb = "counts" if len(names) == 1 else "count"
            notes.append(f"{row.name}: {len(names)} of the videos could not be scored and {verb} as 0.5: {some(names)}")
        if row.unexplained:
            verb = "is" if row.unexplained == 1 else "are"
            notes.append(
                f"{row.name}: {row.unexplained} of the scores {verb} exactly 0.5, which often means: not scored"
            )
    if without := evaluation.without_details:
        verb = "has" if len(without) == 1 else "have"
        notes.append(f"{len(without)} of the videos {verb} no details: {some(without)}")
    return "\n".join(map(_wrapped, notes))


def _wrapped(text: str) -> str:
    return textwrap.fill(one_line(text), WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _groups_block(by: str, row: Judged) -> str:
    groups = row.groups[by]
    shown = dict(sorted(groups.items(), key=lambda item: -item[1]["videos"])[:MOST_GROUPS])
    title = f"{row.name} by {by}" + (": each kind of fake against all the real videos" if by == "manipulation" else "")
    lines = [(by, GROUP_COLUMNS)]
    for name, group in groups.items():
        if name in shown:
            values = [str(group[key]) for key in ("videos", "real", "fake")]
            values += [number(group[key]) for key in ("log_loss", "auc", "accuracy", "precision", "recall")]
            lines.append((name, [*values, *(str(group["confusion"][key]) for key in CONFUSION)]))
    lines = [one_line(title), *_aligned(lines)]
    if len(groups) > len(shown):
        lines.append(f"... and {len(groups) - len(shown)} smaller groups, in metrics.json")
    return "\n".join(lines)


def _aligned(lines: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Columns as wide as what is in them; the first gives way where all would not fit into a line."""
    widths = [max(map(len, column)) + 1 for column in zip(*(cells for _, cells in lines), strict=True)]
    first = min(max(len(one_line(name)) for name, _ in lines), max(WIDTH - sum(widths), 12))
    return [_short(name, first).ljust(first) + "".join(map(str.rjust, cells, widths)) for name, cells in lines]


def _short(name: str, width: int) -> str:
    name = one_line(name)
    half = (width - 2) // 2
    return name if len(name) <= width else f"{name[: width - 2 - half]}..{name[-half:]}"


def as_data(evaluation: Evaluation) -> dict:
    """Everything, as JSON can hold it: what is not defined is None."""
    real, fake = evaluation.counts
    problems = {kind: {"count": len(names), "names": names} for kind, names in evaluation.problems.named().items()}
    return {
        "labels": str(evaluation.labels),
        "videos": {"evaluated": real + fake, "real": real, "fake": fake},
        "settings": {
            "log_loss_clip": evaluation.clip,
            "called_fake": f"score > threshold, {THRESHOLD} unless it is the best",
            "calibration_bins": ECE_BINS,
            "bootstrap_draws": evaluation.bootstrap,
            "interval_percent": 95,
        },
        "left_out": problems,
        "without_details": evaluation.without_details,
        "predictions": [_row_data(row) for row in evaluation.rows],
    }


def _row_data(row: Judged) -> dict:
    values = {
        key: {"value": row.metrics[key], "interval": None if not row.intervals.get(key) else list(row.intervals[key])}
        for key in LABELS
    }
    return {
        "name": row.name,
        "file": None if row.source is None else str(row.source),
        "metrics": values,
        "confusion": row.confusion,
        "not_scored": row.unscored,
        "groups": row.groups,
    }
