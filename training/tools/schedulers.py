"""Learning rates over a run: each schedule is a pure function of time, so that resuming needs to know the time alone.

Time is the iteration (mode step: epoch * batches_per_epoch + batch) or the epoch (mode epoch).
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch.optim import Optimizer

POLY_POWER = 0.9
Decay = Annotated[float, Field(gt=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Schedule(_Strict):
    mode: Literal["step", "epoch"] = "step"
    epochs: PositiveInt = 40

    def rate(self, base: float, t: int) -> float:
        """The learning rate at time `t`, from the group's base rate."""
        raise NotImplementedError


class ConstantParams(_Strict):
    pass


class StepParams(_Strict):
    step_size: PositiveInt
    gamma: Decay = 0.1


class MultistepParams(_Strict):
    milestones: list[PositiveInt] = Field(min_length=1)
    gamma: Decay = 0.1


class ExponentialParams(_Strict):
    gamma: Decay


class LinearParams(_Strict):
    max_iter: PositiveInt
    min_lr: float = Field(default=0.0, ge=0)


class PolyParams(_Strict):
    max_iter: PositiveInt = 100500
    power: PositiveFloat = POLY_POWER


class ClrParams(_Strict):
    max_lr: PositiveFloat
    step_size_up: PositiveInt = 2000
    step_size_down: PositiveInt | None = None


class OneCycleParams(_Strict):
    max_iter: PositiveInt
    warm_up: float = Field(default=0.3, gt=0, lt=1, description="share of the iterations in which the rate rises")
    start_divisor: PositiveFloat = 25.0
    end_divisor: PositiveFloat = Field(default=1e4, description="the last rate is the first one over this")


class ConstantSchedule(_Schedule):
    type: Literal["constant"]
    params: ConstantParams = ConstantParams()

    def rate(self, base: float, t: int) -> float:
        return base


class StepSchedule(_Schedule):
    """Times gamma every step_size."""

    type: Literal["step"]
    params: StepParams

    def rate(self, base: float, t: int) -> float:
        return base * self.params.gamma ** (t // self.params.step_size)


class MultistepSchedule(_Schedule):
    """Times gamma at each milestone."""

    type: Literal["multistep"]
    params: MultistepParams

    def rate(self, base: float, t: int) -> float:
        return base * self.params.gamma ** sum(milestone <= t for milestone in self.params.milestones)


class ExponentialSchedule(_Schedule):
    """Times gamma every time."""

    type: Literal["exponential"]
    params: ExponentialParams

    def rate(self, base: float, t: int) -> float:
        return base * self.params.gamma**t


class LinearSchedule(_Schedule):
    """Straight from the base rate to min_lr at max_iter."""

    type: Literal["linear"]
    params: LinearParams

    def rate(self, base: float, t: int) -> float:
        left = max(1 - t / self.params.max_iter, 0)
        return self.params.min_lr + (base - self.params.min_lr) * left


class PolySchedule(_Schedule):
    """base * (1 - t / max_iter) ** power, the published one; time 0 counts as 1, as there."""

    type: Literal["poly"] = "poly"
    params: PolyParams = PolyParams()

    def rate(self, base: float, t: int) -> float:
        return base * max(1 - max(t, 1) / self.params.max_iter, 0) ** self.params.power


class ClrSchedule(_Schedule):
    """Up from the base rate to max_lr in step_size_up, back in step_size_down (the same), and again."""

    type: Literal["clr"]
    params: ClrParams

    def rate(self, base: float, t: int) -> float:
        up = self.params.step_size_up
        down = self.params.step_size_down or up
        t %= up + down
        height = t / up if t <= up else 1 - (t - up) / down
        return base + (self.params.max_lr - base) * height


class OneCycleSchedule(_Schedule):
    """Up by a cosine to the base rate, the highest, and down to nearly nothing (Smith and Topin 2018)."""

    type: Literal["one_cycle"]
    params: OneCycleParams

    def rate(self, base: float, t: int) -> float:
        first = base / self.params.start_divisor
        last = first / self.params.end_divisor
        # As torch's OneCycleLR counts: the highest rate and the last fall on iterations.
        top = self.params.warm_up * self.params.max_iter - 1
        if t < top:
            return _cosine(first, base, t / top)
        return _cosine(base, last, min((t - top) / (self.params.max_iter - 1 - top), 1))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


Schedule = Annotated[
    ConstantSchedule
    | StepSchedule
    | MultistepSchedule
    | ExponentialSchedule
    | LinearSchedule
    | PolySchedule
    | ClrSchedule
    | OneCycleSchedule,
    Field(discriminator="type"),
]


def set_learning_rates(optimizer: Optimizer, schedule: Schedule, iteration: int, epoch: int) -> None:
    """Give each parameter group, by its `initial_lr`, the rate of this iteration (or, in mode epoch, this epoch)."""
    t = iteration if schedule.mode == "step" else epoch
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(group["initial_lr"], t)
