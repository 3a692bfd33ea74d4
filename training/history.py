"""The losses of a run, as its log or its metrics.csv tells them, and which epochs to predict with."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError

# How the published solution chose its checkpoints, and named them.
FAKE_WEIGHT = 1.4
SKIP_EPOCHS = 16
CHOOSE = 5
PUBLISHED_NAME = "{run}_DeepFakeClassifier_tf_efficientnet_b7_ns_0_{epoch}"

METRICS = "metrics.csv"
COLUMNS = ("epoch", "fake_loss", "real_loss")
LOSS_LINE = re.compile(r"(fake_loss|real_loss)\s+(\S+)")
EPOCH_LINE = re.compile(r"epoch\s+(\d{1,6}):.*")
CHECKPOINT_LINE = re.compile(r"checkpoint\s+(.+)")


@dataclass(frozen=True)
class Run:
    """The validated epochs of a training run: 0-based and ascending, with the log losses of fake and real videos.

    Losses may be nan or inf. `checkpoints` maps epochs to the files that the log names for them. `unnumbered` counts
    the losses left out because the log does not say which epoch they belong to.
    """

    name: str
    epochs: list[int]
    fake: list[float]
    real: list[float]
    checkpoints: dict[int, str]
    unnumbered: int = 0


@dataclass(frozen=True)
class Choice:
    """An epoch to predict with, its losses, and its checkpoint as the log names it; else the name is derived."""

    epoch: int
    weighted: float
    fake: float
    real: float
    checkpoint: str


def read_rows(path: Path) -> list[dict[str, str]]:
    """The epochs of a metrics.csv, if it is there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdecimal()]


def read_losses(path: str | Path) -> Run:
    """The losses in what a run printed or in its metrics.csv; its content tells which of the two it is.

    A last line without its end is ignored: it may be in the middle of being written. Where a run went back to an
    epoch, resumed or begun anew, what the log told of it and of later ones before does not count. Raises UserError if
    there are no losses to read.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if b"\0" in content:
        raise UserError(f"{path}: is not a text file")
    # A progress bar ends its lines with a carriage return alone; file names may be in any encoding.
    text = re.sub(r"\r\n?", "\n", content.decode("utf-8-sig", errors="surrogateescape"))
    text = text[: text.rfind("\n") + 1]
    header = [cell.strip(' "') for cell in text.partition("\n")[0].split(",")]
    is_table = len(header) > 1 and not set(header).isdisjoint(COLUMNS)
    found = _read_table(text, path) if is_table else _read_printed(text)
    # The published log does not number its epochs. Where a log does, counting would misnumber those of a resumed run,
    # and a pair of losses without a number is one that the run was stopped at.
    if all(epoch is None for epoch, *_ in found):
        found = [[count, *losses] for count, (_, *losses) in enumerate(found)]
    numbered: dict[int, list] = {}
    for epoch, *row in found:
        if epoch is not None:
            # A run that goes back does these epochs anew, and those that followed are not of it.
            numbered = {known: other for known, other in numbered.items() if known < epoch} | {epoch: row}
    if not numbered:
        raise UserError(f"{path}: no losses in it, neither lines `fake_loss X`, `real_loss X` nor {','.join(COLUMNS)}")
    epochs = sorted(numbered)
    fake, real, names = (list(values) for values in zip(*(numbered[epoch] for epoch in epochs), strict=True))
    checkpoints = {epoch: name for epoch, name in zip(epochs, names, strict=True) if name}
    # A metrics.csv is called so in every run; its folder tells the runs apart.
    name = path.name == METRICS and path.parent.resolve().name
    return Run(name or path.name, epochs, fake, real, checkpoints, sum(epoch is None for epoch, *_ in found))


def _read_printed(text: str) -> list[list]:
    """[epoch or None, fake, real, checkpoint or None] of each pair of losses, in order."""
    found: list[list] = []
    fake = pair = None
    for line in map(str.strip, text.split("\n")):
        if match := LOSS_LINE.fullmatch(line):
            try:
                loss = float(match[2])
            except ValueError:
                continue
            if match[1] == "fake_loss":
                fake = loss
            elif fake is not None:
                pair, fake = [None, fake, loss, None], None
                found.append(pair)
        elif pair and (match := EPOCH_LINE.fullmatch(line)):
            if pair[0] is None:
                pair[0] = int(match[1])
            else:
                pair = None  # a later epoch, not validated: its checkpoint is not this pair's
        elif pair and (match := CHECKPOINT_LINE.fullmatch(line)):
            pair[3] = pair[3] or match[1]
    return found


def _read_table(text: str, path: Path) -> list[list]:
    """[epoch, fake, real, checkpoint or ""] of each row that has losses, in order."""
    rows = csv.reader(io.StringIO(text))
    found = []
    try:
        header = [cell.strip() for cell in next(rows)]
        if any(header.count(name) != 1 for name in COLUMNS):
            raise UserError(f"{path}: its columns are {','.join(header)}; each of {','.join(COLUMNS)} is needed once")
        for cells in filter(None, rows):
            row = dict(zip(header, map(str.strip, cells), strict=True))
            epoch, fake, real = (row[name] for name in COLUMNS)
            if not re.fullmatch(r"\d{1,6}", epoch):
                raise ValueError(epoch)
            if fake or real:
                found.append([int(epoch), float(fake), float(real), row.get("checkpoint")])
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: line {rows.line_num} is not a row of {','.join(header)}") from error
    return found


def weighted_loss(fake: float, real: float, fake_weight: float = FAKE_WEIGHT) -> float:
    """(fake_weight * fake + real) / 2: a missed fake counts for more than a false alarm."""
    return (fake_weight * fake + real) / 2


def choose(run: Run, fake_weight: float = FAKE_WEIGHT, skip: int = SKIP_EPOCHS, count: int = CHOOSE) -> list[Choice]:
    """The `count` epochs after epoch `skip` with the lowest weighted loss, lowest first.

    If there is none after `skip`, those of all epochs. Epochs whose loss is nan or inf are never chosen.
    """
    choices = []
    for epoch, fake, real in zip(run.epochs, run.fake, run.real, strict=True):
        name = run.checkpoints.get(epoch) or PUBLISHED_NAME.format(run=run.name, epoch=epoch)
        choices.append(Choice(epoch, weighted_loss(fake, real, fake_weight), fake, real, name))
    choices = [choice for choice in choices if math.isfinite(choice.weighted)]
    late = [choice for choice in choices if choice.epoch > skip]
    return sorted(late or choices, key=lambda choice: (choice.weighted, choice.epoch))[:count]
