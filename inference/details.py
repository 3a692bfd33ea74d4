"""Reading the details of a run: one JSON object a line, as `predict_folder.py --details` writes them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from common.errors import UserError, one_line
from common.places import Remote, local_copy, place

PROBABILITY = Field(ge=0, le=1)


def _text(value: Any) -> str:
    """A file name need not be valid Unicode, which pydantic's own strings must be."""
    if not isinstance(value, str):
        raise ValueError("is not a text")
    return value


Text = Annotated[str, PlainValidator(_text)]
Box = tuple[float, float, float, float]
# One for each model; None where the model is not shown such faces.
Probabilities = list[Annotated[float, PROBABILITY] | None]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Face(_Record):
    """A face in a frame; `box` is (xmin, ymin, xmax, ymax) in pixels, `track` says which person it is, if known."""

    frame: int
    box: Box
    score: float = 1.0
    track: int | None = None
    probabilities: Probabilities = []


class Track(_Record):
    """What a network of clips or sequences was shown: one person in consecutive `frames`, and what it said."""

    track: int | None = None
    input: Text = "clip"
    frames: list[int] = []
    boxes: list[Box] = []
    score: float | None = None
    probabilities: Probabilities = []


class Calibrated(_Record):
    """By what calibrated probabilities were made: a temperature, and the name of the file that has it."""

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(gt=0)
    file: Text = "a file not named"

    def __str__(self) -> str:
        return f"temperature {self.temperature:.3g}"


class VideoDetails(_Record):
    """What is known about a video. `error` says why it could not be scored; then `label` is 0.5 and says nothing.

    `aggregate` says of each model how tracks become a label; files of older versions do not, nor do they know tracks.
    """

    filename: Text
    label: Annotated[float, PROBABILITY]
    labels: dict[Text, Annotated[float, PROBABILITY]] = {}
    width: int = 0
    height: int = 0
    num_frames: int | None = None
    rate: float | None = None
    frames: list[int] = []
    faces: list[Face] = []
    tracks: list[Track] = []
    seconds: dict[Text, float] = {}
    warnings: list[Text] = []
    error: Text | None = None
    calibrated: Annotated[float, PROBABILITY] | None = None
    calibration: Calibrated | None = None
    models: list[Text] = []
    strategy: Text = "confident"
    aggregate: dict[Text, Text] = {}

    @property
    def scored(self) -> bool:
        """Whether the label says anything."""
        return self.error is None and bool(self.labels)


def json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """The records of a details file with the numbers of their lines. Raises UserError naming a line that is none."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise UserError(f"{path}: line {number} is no JSON object")
                    yield number, record
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {number} is not JSON ({error}); is it what --details wrote?") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # wrong UTF-8, or a number of thousands of digits
        raise UserError(f"{path}: cannot be read as JSON lines: {error}") from error


def read_details(path: str | Path | Remote) -> Iterator[dict]:
    """The records alone, also of a file at a URL."""
    with local_copy(place(path)) as local:
        yield from (record for _, record in json_lines(local))


def checked(records: Iterable[dict], source: object = "details") -> list[VideoDetails]:
    """The records as VideoDetails. Raises UserError with the number and field of the first that is none of ours, or
    that is of a video which another is of already."""
    videos, seen = [], {}
    for number, record in enumerate(records, 1):
        try:
            videos.append(VideoDetails.model_validate(record))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "it"
            raise UserError(f"{source}: record {number}: {field}: {one_line(first['msg'])}") from error
        name = videos[-1].filename
        if seen.setdefault(name, number) != number:
            raise UserError(f"{source}: records {seen[name]} and {number} are of the same video: {one_line(name)}")
    return videos
