"""The configs: what a checkpoint must know about itself, and what a training run is told. Read strictly from JSON."""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from common.errors import UserError, one_line
from training.tools.schedulers import PolySchedule, Schedule

SEQUENCE_FRAMES = 10  # faces.clips makes no others
Triple = tuple[float, float, float]
Probability = Annotated[float, Field(ge=0, le=1)]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class Normalize(BaseModel):
    """Mean and standard deviation per RGB channel, for pixels in 0-1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    mean: Triple = IMAGENET_MEAN
    std: tuple[
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
    ] = IMAGENET_STD


class TrackLimits(BaseModel):
    """Which face tracks count: faces printed on shirts or hanging on walls are seen seldom, or with less certainty."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    min_detections: int = Field(default=3, ge=1, le=10, description="frames of ten looked at that must show the face")
    min_probability: Probability = Field(default=0.0, description="the detector's mean certainty")


class NetworkConfig(BaseModel):
    """A network and its input. The defaults describe the seven released checkpoints.

    `frames` is for clips and sequences, `tracked` for networks of single frames, `tracks` for clips and tracked frames.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    input: Literal["frame", "clip", "sequence"] = "frame"
    frames: PositiveInt = Field(default=1, le=150, description="frames of a clip or sequence")
    network: str = "DeepFakeClassifier"
    encoder: str = "tf_efficientnet_b7_ns"
    size: int = Field(default=380, ge=32, le=2048, description="side of the square input, pixels")
    normalize: Normalize = Normalize()
    tracked: bool = Field(default=False, description="score a face's median over its track, every other frame mirrored")
    tracks: TrackLimits = TrackLimits()

    @model_validator(mode="after")
    def _inputs_that_exist(self) -> "NetworkConfig":
        if self.input == "sequence" and self.frames != SEQUENCE_FRAMES:
            raise ValueError(f"a sequence has {SEQUENCE_FRAMES} frames, not {self.frames}")
        if self.tracked and self.input != "frame":
            raise ValueError(f"tracked is for networks of single frames, this is one of {self.input}s")
        return self

    @property
    def title(self) -> str:
        """The network and, unless its name says all, its encoder."""
        return self.network if self.input == "clip" else f"{self.network}_{self.encoder}"

    @property
    def short_title(self) -> str:
        """What the run's folder of logs is named after."""
        return self.network if self.input == "clip" else self.encoder

    @property
    def description(self) -> str:
        """The same in words."""
        return self.network if self.input == "clip" else f"{self.network} with {self.encoder}"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimizerConfig(_Strict):
    """The optimizer and its schedule. `classifier_lr` gives everything but the encoder a learning rate of its own."""

    type: Literal["SGD", "Adam", "AdamW", "RmsProp", "FusedSGD", "FusedAdam"] = "SGD"
    batch_size: PositiveInt = Field(default=12, description="crops a GPU (or process) takes per step")
    learning_rate: PositiveFloat = 0.01
    classifier_lr: PositiveFloat | None = None
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=1e-4, ge=0)
    schedule: Schedule = PolySchedule()

    @field_validator("schedule", mode="before")
    @classmethod
    def _poly_unless_named(cls, value: Any) -> Any:
        return {"type": "poly", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "OptimizerConfig":
        if self.type in ("SGD", "FusedSGD") and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Augmentation(_Strict):
    """Probabilities of what the published training provides and leaves off."""

    half_blackout: Probability = 0.0
    resize_4x_and_back: Probability = 0.0
    random_sized_crop: Probability = 0.0
    quarter_turns: Probability = 0.0
    self_blending: Probability = Field(default=0.0, description="share of the real crops that become fakes")
    blending: Literal["published", "hull"] = Field(default="published", description="how they do")
    video_compression: Probability = Field(default=0.0, description="share of the crops that become frames of H.264")
    shuffled_frames: Probability = Field(default=0.0, description="share of the real sequences put in another order")


class Pairs(_Strict):
    """What an epoch of pairs is made of: how many, and of which sources, whose weights are shares of those there are.

    Videos of one kind give equally many crops, as far as they have them, and no crop twice in an epoch; a kind that has
    not enough gives all.
    """

    per_epoch: PositiveInt = 500
    with_fakes: NonNegativeFloat = Field(default=0.5, description="real videos of which the table has fakes")
    without_fakes: NonNegativeFloat = Field(default=0.25, description="other real videos")
    stills: NonNegativeFloat = Field(default=0.25, description="real ones of a single frame")

    @property
    def weights(self) -> Triple:
        return self.with_fakes, self.without_fakes, self.stills

    @model_validator(mode="after")
    def _something(self) -> "Pairs":
        if not any(self.weights):
            raise ValueError("with_fakes, without_fakes and stills cannot all be 0")
        return self


class TrainConfig(NetworkConfig):
    """A training run, apart from where its data lie. The defaults are the published EfficientNet-B7's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    fp16: bool = Field(default=True, description="mixed precision where --opt-level does not say otherwise")
    batches_per_epoch: PositiveInt = 2500
    optimizer: OptimizerConfig = OptimizerConfig()
    losses: dict[Literal["BinaryCrossentropy", "FocalLoss"], PositiveFloat] = Field(
        default={"BinaryCrossentropy": 1.0}, min_length=1
    )
    cutmix: bool = Field(default=False, description="paste a box of one clip into another")
    gradient_clip: PositiveFloat = Field(default=1.0, description="largest norm of the gradients")
    ohem_samples: PositiveInt | None = Field(default=None, description="hardest items of each side that count")
    augmentation: Augmentation = Augmentation()
    sampling: Literal["published", "pairs"] = Field(default="published", description="what an epoch is made of")
    pairs: Pairs = Pairs()

    @model_validator(mode="after")
    def _pairs_that_can_be(self) -> "TrainConfig":
        if self.sampling == "pairs":
            if self.input != "frame":
                raise ValueError(f"sampling by pairs is for networks of single frames, this is one of {self.input}s")
            if self.optimizer.batch_size % 2:
                raise ValueError(
                    f"sampling by pairs needs an even optimizer.batch_size, not {self.optimizer.batch_size}"
                )
            if self.augmentation.self_blending and self.augmentation.blending != "hull":
                raise ValueError('sampling by pairs blends by hulls: augmentation.blending must be "hull"')
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "TrainConfig":
        default = TrainConfig.model_construct()
        names = {
            "frame": ("cutmix", "frames", *(() if self.tracked else ("tracks",))),
            "clip": ("losses", "ohem_samples", "encoder"),
            "sequence": ("cutmix", "normalize", "tracks"),
        }
        wrong = [name for name in names[self.input] if getattr(self, name) != getattr(default, name)]
        for name, field in Augmentation.model_fields.items():
            known = self.input != "clip" and (self.input == "sequence") == (name == "shuffled_frames")
            if not known and getattr(self.augmentation, name) != field.default:
                wrong.append(f"augmentation.{name}")
        if wrong:
            raise ValueError(f"{wrong[0]} does nothing with networks of {self.input}s")
        if self.sampling == "published" and self.pairs != default.pairs:
            raise ValueError('pairs does nothing without "sampling": "pairs"')
        return self


def read_config(path: str | Path) -> TrainConfig:
    """A training config from a JSON file. Raises UserError naming the file and every field that is wrong."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        there = ", ".join(sorted(str(other) for other in Path("configs").glob("*.json")))
        raise UserError(f"{path}: no such config{f'; there: {there}' if there else ''}") from error
    except (OSError, ValueError, RecursionError) as error:  # wrong JSON and wrong UTF-8 are ValueErrors
        raise UserError(f"{path}: not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a config is a JSON object, this is a {type(content).__name__}")
    try:
        # Strict: "12" is no number and "no" is not false. As JSON, because only there may lists be strict tuples.
        return TrainConfig.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {'; '.join(_complaint(e, content) for e in error.errors())}") from error


def _complaint(error: dict[str, Any], content: dict[str, Any]) -> str:
    """One wrong field in words, with the nearest valid name where the name is unknown."""
    # pydantic puts the schedule's type and the key marker of dicts into the location; no file has those levels.
    location, here = [], content
    for part in error["loc"]:
        if isinstance(here, dict) and part not in here and part != error["loc"][-1]:
            continue
        here = here.get(part) if isinstance(here, dict) else None
        location.append(str(part))
    field = ".".join(part for part in location if part != "[key]") or "config"
    if error["type"] == "extra_forbidden":
        return f"{field}: unknown field, {_nearest(location[-1], _fields_beside(error['loc']))}"
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        return f"{field}: {error['input']!r} is not one of {error['ctx']['expected']}"
    if error["type"] == "union_tag_invalid":
        return f"{field}.type: {error['ctx']['tag']!r} is not one of {error['ctx']['expected_tags']}"
    return f"{field}: {one_line(error['msg'])}, not {json.dumps(error['input'], default=str)[:60]}"


def _nearest(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(valid) or 'none'}"


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """Names that are valid where the last part of an error's location stands."""
    schema = TrainConfig.model_json_schema()
    node = schema
    for part in location[:-1]:
        schedules = node.get("discriminator", {}).get("mapping", {})
        node = {"$ref": schedules[part]} if part in schedules else node.get("properties", {}).get(part, {})
        node = schema["$defs"].get(node.get("$ref", "").rpartition("/")[2], node)
    return sorted(node.get("properties", {}))
