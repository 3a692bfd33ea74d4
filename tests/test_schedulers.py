"""Learning rates and optimizers: what a config's names stand for."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop, lr_scheduler

from training.tools.config import OptimizerConfig, TrainConfig
from training.tools.optimizers import create_optimizer
from training.tools.schedulers import set_learning_rates
from training.zoo.classifiers import DeepFakeClassifierSRM

BASE = 0.1


def schedule(type, mode="step", **params):
    return OptimizerConfig(schedule={"type": type, "mode": mode, "params": params}).schedule


def rates_of_torch(make, count):
    """Rates that a scheduler of torch gives at the times 0, 1, ..."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_published_rates(golden):
    published = golden("dataset.json")["poly lr used at iteration"]
    assert len(published) == 6
    poly = TrainConfig().optimizer.schedule
    for iteration, rate in published.items():
        assert poly.rate(0.01, int(iteration)) == pytest.approx(rate, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (schedule("constant"), lambda o: lr_scheduler.ConstantLR(o, factor=1)),
        (schedule("step", step_size=7), lambda o: lr_scheduler.StepLR(o, 7)),
        (schedule("step", step_size=7, gamma=0.5), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.5)),
        (schedule("multistep", milestones=[4, 9]), lambda o: lr_scheduler.MultiStepLR(o, [4, 9])),
        (schedule("multistep", milestones=[9, 4], gamma=0.3), lambda o: lr_scheduler.MultiStepLR(o, [4, 9], gamma=0.3)),
        (schedule("exponential", gamma=0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        (schedule("linear", max_iter=20), lambda o: lr_scheduler.PolynomialLR(o, 20, power=1)),
        (
            schedule("linear", max_iter=20, min_lr=0.02),
            lambda o: lr_scheduler.LinearLR(o, start_factor=1, end_factor=0.2, total_iters=20),
        ),
        (
            schedule("clr", max_lr=0.5, step_size_up=6),
            lambda o: lr_scheduler.CyclicLR(o, BASE, 0.5, step_size_up=6, cycle_momentum=False),
        ),
        (
            schedule("clr", max_lr=0.5, step_size_up=6, step_size_down=3),
            lambda o: lr_scheduler.CyclicLR(o, BASE, 0.5, step_size_up=6, step_size_down=3, cycle_momentum=False),
        ),
    ],
)
def test_schedules_agree_with_torch(ours, torchs):
    rates = rates_of_torch(torchs, 30)
    assert [ours.rate(BASE, t) for t in range(30)] == pytest.approx(rates, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("power", [0.9, 2.0])
def test_poly_agrees_with_torch_but_for_time_0(power):
    rates = rates_of_torch(lambda o: lr_scheduler.PolynomialLR(o, 20, power=power), 30)
    ours = [schedule("poly", max_iter=20, power=power).rate(BASE, t) for t in range(30)]
    assert ours[1:] == pytest.approx(rates[1:], rel=1e-9, abs=1e-12)
    assert ours[0] == ours[1] < rates[0]


def test_poly_ends_at_zero_and_stays_there():
    poly = schedule("poly", max_iter=20)
    assert [poly.rate(BASE, t) for t in (20, 21, 1000)] == [0, 0, 0]


def test_one_cycle_agrees_with_torch_and_stays_at_its_end():
    expected = rates_of_torch(lambda optimizer: lr_scheduler.OneCycleLR(optimizer, BASE, total_steps=41), 40)
    ours = schedule("one_cycle", max_iter=41)
    assert [ours.rate(BASE, t) for t in range(40)] == pytest.approx(expected, rel=1e-9)
    assert max(ours.rate(BASE, t) for t in range(41)) <= BASE
    assert ours.rate(BASE, 1000) == ours.rate(BASE, 40) == pytest.approx(BASE / 25 / 1e4)


@pytest.mark.parametrize(("max_iter", "warm_up"), [(10, 0.1), (2, 0.5)])
def test_one_cycle_may_begin_at_the_top(max_iter, warm_up):
    ours = schedule("one_cycle", max_iter=max_iter, warm_up=warm_up)
    assert ours.rate(BASE, 0) == BASE > ours.rate(BASE, 1)


def one_group(lr=BASE):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    optimizer.param_groups[0]["initial_lr"] = lr
    return optimizer


@pytest.mark.parametrize(("mode", "expected"), [("step", 1e-3), ("epoch", 1e-1)])
def test_time_is_the_iteration_or_the_epoch(mode, expected):
    optimizer = one_group(lr=1.0)
    set_learning_rates(optimizer, schedule("step", mode, step_size=10), iteration=35, epoch=12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_rates_do_not_build_on_each_other():
    optimizer = one_group()
    for _ in range(3):
        set_learning_rates(optimizer, schedule("exponential", gamma=0.5), iteration=2, epoch=0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(BASE / 4)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.encoder_norm = nn.LayerNorm(4)  # not part of the encoder, whatever its name begins with
        self.fc = nn.Linear(4, 1)


def members(network, optimizer):
    """Names of the parameters in each group."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [{names[id(p)] for p in group["params"]} for group in optimizer.param_groups]


def test_all_parameters_are_in_one_group():
    network = Network()
    assert members(network, create_optimizer(OptimizerConfig(), network)) == [
        {name for name, _ in network.named_parameters()}
    ]


def test_classifier_rate_gives_all_but_the_encoder_a_group_of_its_own():
    network = Network()
    config = OptimizerConfig(
        learning_rate=0.01, classifier_lr=0.2, schedule={"type": "poly", "params": {"max_iter": 10}}
    )
    optimizer = create_optimizer(config, network)
    encoder, rest = members(network, optimizer)
    assert encoder == {"encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias"}
    assert rest == {"encoder_norm.weight", "encoder_norm.bias", "fc.weight", "fc.bias"}
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.2]
    for _ in range(2):
        set_learning_rates(optimizer, config.schedule, iteration=5, epoch=0)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01 * 0.5**0.9, 0.2 * 0.5**0.9])


def test_frozen_encoders_are_in_and_fixed_kernels_are_out():
    network = DeepFakeClassifierSRM("mobilenetv3_small_050")
    network.encoder.requires_grad_(False)
    (names,) = members(network, create_optimizer(OptimizerConfig(), network))
    assert names == {name for name, _ in network.named_parameters()} - {"srm_conv.weight"}


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("SGD", SGD, {"momentum": 0.8, "nesterov": True, "fused": None}),
        ("FusedSGD", SGD, {"momentum": 0.8, "nesterov": True, "fused": True}),
        ("Adam", Adam, {"fused": None}),
        ("FusedAdam", AdamW, {"fused": True}),
        ("AdamW", AdamW, {}),
        ("RmsProp", RMSprop, {"momentum": 0.8}),
    ],
)
def test_names_of_optimizers(name, kind, settings):
    network = nn.Linear(3, 1)
    optimizer = create_optimizer(
        OptimizerConfig(type=name, learning_rate=0.03, momentum=0.8, weight_decay=0.02), network
    )
    assert type(optimizer) is kind
    expected = {"lr": 0.03, "initial_lr": 0.03, "weight_decay": 0.02, **settings}
    assert {key: optimizer.param_groups[0][key] for key in expected} == expected
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in network.parameters())
