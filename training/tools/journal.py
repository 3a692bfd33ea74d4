"""What a run leaves for people to read: stdout, metrics.csv, TensorBoard, and what the latest validation found."""

import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.files import replacing
from training.history import METRICS, read_rows
from training.tools.metrics import FaceCount, Verdict, roc_points

COLUMNS = (
    "epoch",
    "iteration",
    "lr",
    "train_loss",
    "train_fake_loss",
    "train_real_loss",
    "fake_loss",
    "real_loss",
    "bce",
    "auc",
    "best",
    "items_per_second",
    "checkpoint",
)
FACE_COLUMNS = [field.name for field in fields(FaceCount)]
GRID_CROPS = 16


class Journal:
    """The records of one run, in one folder; what it has of epochs from `first_epoch` on is dropped."""

    def __init__(self, folder: Path, first_epoch: int):
        self.path = folder / METRICS
        self.rows = [row for row in read_rows(self.path) if int(row["epoch"]) < first_epoch]
        folder.mkdir(parents=True, exist_ok=True)
        self.board = _Board(folder, first_epoch)
        self.folder = folder

    def show_crops(self, pictures: torch.Tensor, epoch: int) -> None:
        """The first augmented crops of an epoch, (n, 3, h, w) in 0-1, as one picture."""
        from torchvision.utils import make_grid

        self.board.image("train/crops", make_grid(pictures[:GRID_CROPS], nrow=4).numpy(), epoch)

    def write_epoch(self, row: dict[str, Any], lrs: list[float], verdict: Verdict | None, fold: int) -> None:
        """Record an epoch: `row` holds values of COLUMNS, `verdict` its validation if there was one."""
        epoch = row["epoch"]
        self.board.scalar("train/loss", row["train_loss"], epoch)
        self.board.scalar("train/fake_loss", row["train_fake_loss"], epoch)
        self.board.scalar("train/real_loss", row["train_real_loss"], epoch)
        for i, lr in enumerate(lrs):
            self.board.scalar(f"group{i}/lr", lr, epoch)
        if verdict:
            self._write_verdict(verdict, epoch, fold)
        self.board.flush()
        self.rows.append({name: _text(row.get(name)) for name in COLUMNS})
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)

    def _write_verdict(self, verdict: Verdict, epoch: int, fold: int) -> None:
        for name in ("bce", "auc", "fake_loss", "real_loss"):
            self.board.scalar(f"val/{name}", getattr(verdict, name), epoch)
        if not math.isnan(verdict.auc):
            self.board.figure("val/roc", _roc_figure(verdict), epoch)
        with replacing(self.folder / f"predictions_{fold}.json") as temporary:
            temporary.write_text(json.dumps({"probs": verdict.probabilities, "targets": verdict.targets}))
        if verdict.by_faces:
            path = self.folder / f"faces_{fold}.csv"
            with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(FACE_COLUMNS)
                writer.writerows([_text(value) for value in astuple(row)] for row in verdict.by_faces)

    def close(self) -> None:
        self.board.close()


class _Board:
    """TensorBoard's file, written in this thread: that of tensorboardX's own writer dies of a full disk unheard."""

    def __init__(self, folder: Path, first_epoch: int):
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.summary, self.event = summary, Event
        self.events = EventsWriter(str(folder / "events"))
        # What a run before wrote of these epochs is hidden.
        self._add(first_epoch, session_log=SessionLog(status=SessionLog.START))

    def _add(self, step: int, **content: Any) -> None:
        self.events.write_event(self.event(wall_time=time.time(), step=step, **content))

    def scalar(self, name: str, value: float, step: int) -> None:
        self._add(step, summary=self.summary.scalar(name, value))

    def image(self, name: str, image: np.ndarray, step: int, dataformats: str = "CHW") -> None:
        self._add(step, summary=self.summary.image(name, image, dataformats=dataformats))

    def figure(self, name: str, figure: Any, step: int) -> None:
        figure.canvas.draw()
        self.image(name, np.asarray(figure.canvas.buffer_rgba())[..., :3], step, "HWC")

    def flush(self) -> None:
        self.events.flush()

    def close(self) -> None:
        self.events.close()


def _roc_figure(verdict: Verdict):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    false_rate, true_rate = roc_points(verdict.targets, verdict.scores)
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle=":", color="gray")
    axes.plot(false_rate, true_rate, marker=".")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"videos, AUC {verdict.auc:.3f}")
    axes.set_aspect("equal")
    return figure


def face_table(by_faces: Sequence[FaceCount]) -> list[str]:
    """The results by number of faces as aligned lines, `-` for NaN; no line where there are none."""
    if not by_faces:
        return []
    table = [FACE_COLUMNS, *([_shown(value) for value in astuple(row)] for row in by_faces)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]


def _shown(value: int | float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.4f}"


def _text(value: Any) -> str:
    """A number so that it reads back exactly; nothing for nothing."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)
