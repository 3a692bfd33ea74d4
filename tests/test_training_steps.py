"""Training steps against a reference written with plain operations; number formats; frozen epochs."""

import copy
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from common.errors import UserError
from tests.generated_crops import make_crops
from training.datasets.classifier_dataset import DeepFakeClassifierDataset
from training.tools.config import TrainConfig
from training.tools.distributed import Group
from training.tools.optimizers import create_optimizer
from training.tools.precision import TorchPrecision, choose_precision
from training.trainer import Settings, Trainer

CPU = torch.device("cpu")
LR, MAX_ITER, MOMENTUM, WEIGHT_DECAY = 0.05, 10, 0.9, 1e-4


class TinyClassifier(nn.Module):
    """Batch norm and a logit, with weights so large that gradients must be clipped and decay shows."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 1)
        nn.init.normal_(self.fc.weight, std=3)

    def forward(self, x):
        return self.fc(self.encoder(x).mean((2, 3)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Training and validation sets of 24 crops each."""
    root = tmp_path_factory.mktemp("crops")
    rows = make_crops(root)
    return tuple(DeepFakeClassifierDataset(rows, root, mode, size=32, seed=5) for mode in ("train", "val"))


@pytest.fixture
def network():
    torch.manual_seed(1)
    return TinyClassifier()


@pytest.fixture
def train(data, tmp_path, monkeypatch):
    """Trains a copy of a network for 2 epochs of 2 batches of 8; returns the copy and what each step left."""

    def call(network, opt_level="O0", dtype=torch.bfloat16, freeze_epochs=0, only_changed_frames=False, **changes):
        network = copy.deepcopy(network)
        schedule = {"type": "poly", "epochs": 2, "params": {"max_iter": MAX_ITER}}
        optimizer = {"batch_size": 8, "learning_rate": LR, "schedule": schedule}
        config = TrainConfig(batches_per_epoch=2, optimizer=optimizer, **changes)
        settings = Settings(
            "net",
            tmp_path,
            workers=0,
            save_every=0,
            freeze_epochs=freeze_epochs,
            only_changed_frames=only_changed_frames,
        )
        optimizer = create_optimizer(config.optimizer, network)
        trainer = Trainer(config, settings, Group(), network, optimizer, TorchPrecision(CPU, opt_level, dtype), *data)
        steps = []
        train_step = trainer.train_step

        def record(batch):
            losses = train_step(batch)
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()
            state = {name: value.clone() for name, value in network.state_dict().items()}
            steps.append({"batch": batch, "losses": [loss.item() for loss in losses], "norm": norm, "state": state})
            return losses

        monkeypatch.setattr(trainer, "train_step", record)
        trainer.run()
        assert len(steps) == 4
        return network, steps

    return call


def reference_losses(logits, labels):
    """Loss, fake loss and real loss, by the formulas."""
    p = 1 / (1 + torch.exp(-logits))
    entropy = -(labels * torch.log(p) + (1 - labels) * torch.log(1 - p))
    fake = (labels > 0.5).float()
    fake_loss = (entropy * fake).sum() / fake.sum()
    real_loss = (entropy * (1 - fake)).sum() / (1 - fake).sum()
    return (fake_loss + real_loss) / 2, fake_loss, real_loss


def reference_steps(network, batches):
    """What SGD with Nesterov momentum, weight decay, clipping and the poly schedule does, step by step."""
    parameters = list(network.parameters())
    velocities = [torch.zeros_like(p) for p in parameters]
    for t, batch in enumerate(batches):
        losses = reference_losses(network(batch["image"]), batch["labels"])
        gradients = torch.autograd.grad(losses[0], parameters)
        norm = sum((g**2).sum() for g in gradients) ** 0.5
        gradients = [g / max(norm, 1) for g in gradients]
        lr = LR * (1 - max(t, 1) / MAX_ITER) ** 0.9
        with torch.no_grad():
            for p, g, v in zip(parameters, gradients, velocities, strict=True):
                g = g + WEIGHT_DECAY * p
                v.mul_(MOMENTUM).add_(g)
                p -= lr * (g + MOMENTUM * v)
        clipped = sum((g**2).sum() for g in gradients) ** 0.5
        yield [loss.item() for loss in losses], norm.item(), clipped.item(), network.state_dict()


def test_steps_are_those_of_the_recipe(train, network):
    """Losses, clipped gradients, weights and batch statistics over two epochs, with a validation between."""
    _, steps = train(network)
    norms = []
    for step, (losses, norm, clipped, state) in zip(
        steps, reference_steps(network, [step["batch"] for step in steps]), strict=True
    ):
        assert step["losses"] == pytest.approx(losses, rel=1e-5)
        assert step["norm"] == pytest.approx(clipped, rel=1e-4)
        for name, value in state.items():
            assert torch.allclose(step["state"][name], value, rtol=0, atol=5e-6), name
        norms.append(norm)
    assert max(norms) > 1.5, "the reference did not clip"


def test_small_gradients_are_left_as_they_are(train, network):
    nn.init.normal_(network.fc.weight, std=0.01)
    _, steps = train(network)
    norms = [norm for _, norm, _, _ in reference_steps(network, [step["batch"] for step in steps])]
    assert max(norms) < 1
    assert [step["norm"] for step in steps] == pytest.approx(norms, rel=1e-4)


def test_the_same_run_gives_the_same_numbers(train, network):
    first, second = (train(network)[1][-1] for _ in range(2))
    assert first["losses"] == second["losses"]
    assert all(torch.equal(first["state"][name], value) for name, value in second["state"].items())


def test_unchanged_fakes_can_be_left_out(train, network, data):
    """Fakes that do not visibly differ have no part in the loss."""
    _, steps = train(network, only_changed_frames=True)
    batch = steps[0]["batch"]
    assert batch["valid"].all()
    diffs = data[0].data_dir / "diffs"
    hidden = diffs.rename(diffs.with_name("hidden"))
    try:
        _, steps = train(network, only_changed_frames=True)
    finally:
        hidden.rename(diffs)
    batch = steps[0]["batch"]
    fake = batch["labels"] > 0.5
    assert torch.equal(batch["valid"], ~fake.flatten()) and fake.any()
    _, _, real_loss = reference_losses(network.train()(batch["image"]), batch["labels"])
    assert steps[0]["losses"] == pytest.approx([real_loss.item() / 2, 0, real_loss.item()], rel=1e-5)


def test_hard_example_mining_reaches_the_loss(train, network):
    _, steps = train(network, ohem_samples=1)
    batch = steps[0]["batch"]
    logits, labels = network(batch["image"]), batch["labels"]
    p = torch.sigmoid(logits)
    entropy = -(labels * p.log() + (1 - labels) * (1 - p).log())
    hardest = [entropy[labels > 0.5].max().item(), entropy[labels < 0.5].max().item()]
    assert steps[0]["losses"] == pytest.approx([sum(hardest) / 2, *hardest], rel=1e-5)


def test_the_configs_losses_are_the_ones_taken(train, network):
    _, steps = train(network, losses={"FocalLoss": 2.0})
    batch = steps[0]["batch"]
    p, labels = torch.sigmoid(network(batch["image"])), batch["labels"]
    right = p * labels + (1 - p) * (1 - labels)
    focal = -((1 - right) ** 3) * (labels * p.log() + (1 - labels) * (1 - p).log())
    fake_loss, real_loss = (2 * focal[side].mean().item() for side in (labels > 0.5, labels < 0.5))
    assert steps[0]["losses"] == pytest.approx([(fake_loss + real_loss) / 2, fake_loss, real_loss], rel=1e-4)


def test_bf16_gives_close_losses_and_keeps_weights_in_fp32(train, network):
    _, exact = train(network)
    trained, rounded = train(network, "O1", torch.bfloat16)
    assert rounded[0]["losses"] == pytest.approx(exact[0]["losses"], rel=0.03)
    assert rounded[0]["losses"] != exact[0]["losses"]
    assert all(p.dtype == torch.float32 for p in trained.parameters())
    assert all(torch.isfinite(p).all() for p in trained.parameters())


def test_frozen_epochs_leave_the_encoder_as_it_is(train, network, tmp_path):
    """Weights and batch statistics; the rest learns meanwhile, and the encoder afterwards."""
    train(network, freeze_epochs=1)
    states = [torch.load(tmp_path / f"net_{epoch}", weights_only=True)["state_dict"] for epoch in (0, 1)]
    for name, value in network.state_dict().items():
        frozen = name.startswith("encoder.")
        assert torch.equal(states[0][name], value) == frozen, name
        assert not torch.equal(states[1][name], states[0][name]), name


def scaled_step(precision, weight, factor):
    """One step on a weight of 1 with the gradient `factor`; returns the norm that the step tells."""
    optimizer = torch.optim.SGD([weight], lr=0.1)
    precision.backward(factor * weight.sum(), optimizer)
    return precision.step(optimizer, 1.0)


class InfiniteSlope(torch.autograd.Function):
    """Nothing forwards, without end backwards, as the square root of 0."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


def test_gradients_that_are_not_finite_show_in_the_loss_of_their_step(train, network, monkeypatch):
    forward = TinyClassifier.forward
    monkeypatch.setattr(TinyClassifier, "forward", lambda self, x: InfiniteSlope.apply(forward(self, x)))
    with pytest.raises(UserError, match="the loss of epoch 0 is not finite"):
        train(network)


def test_fp16_gradients_are_scaled_back_before_they_are_clipped():
    precision = TorchPrecision(CPU, "O1", torch.float16)
    small, large = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    assert scaled_step(precision, small, 0.5).item() == pytest.approx(0.5)
    assert small.item() == pytest.approx(1 - 0.1 * 0.5)
    assert scaled_step(precision, large, 4.0).item() == pytest.approx(4)
    assert large.item() == pytest.approx(1 - 0.1)


def test_fp16_steps_that_overflow_are_left_out_and_the_scale_is_halved():
    precision = TorchPrecision(CPU, "O1", torch.float16)
    weight = nn.Parameter(torch.ones(1))
    scale = precision.state_dict()["scale"]
    assert scaled_step(precision, weight, float("inf")) == 0
    assert weight.item() == 1 and precision.state_dict()["scale"] == scale / 2
    other = TorchPrecision(CPU, "O1", torch.float16)
    other.load_state_dict(precision.state_dict())
    assert other.state_dict() == precision.state_dict()


@pytest.mark.parametrize(("opt_level", "dtype"), [("O0", torch.float16), ("O1", torch.bfloat16)])
def test_fp32_and_bf16_are_not_scaled(opt_level, dtype):
    precision = TorchPrecision(CPU, opt_level, dtype)
    assert precision.state_dict() == {}
    precision.load_state_dict({"scale": 4.0})
    assert precision.state_dict() == {}


@pytest.mark.parametrize(
    ("opt_level", "dtype", "mixed", "chosen"),
    [
        (None, None, True, "O0, fp32"),
        ("O1", None, True, "O1, bfloat16"),
        ("O1", "fp16", False, "O1, float16 with dynamic loss scaling"),
        ("O0", "bf16", True, "O0, fp32"),
    ],
)
def test_formats_on_a_cpu(opt_level, dtype, mixed, chosen):
    assert str(choose_precision("torch", opt_level, dtype, CPU, mixed=mixed)) == chosen


@pytest.mark.parametrize(("mixed", "opt_level"), [(True, "O1"), (False, "O0")])
@pytest.mark.filterwarnings("ignore:.*GradScaler")
def test_the_config_decides_on_a_gpu(mixed, opt_level):
    precision = choose_precision("torch", None, None, torch.device("cuda"), mixed=mixed)
    assert (precision.opt_level, precision.amp_dtype) == (opt_level, torch.float16)


@pytest.mark.parametrize("opt_level", ["O2", "O3"])
def test_levels_that_only_apex_has_are_refused(opt_level):
    with pytest.raises(UserError) as error:
        choose_precision("torch", opt_level, None, CPU, mixed=True)
    assert str(error.value) == (
        f"--opt-level {opt_level}: torch's mixed precision has O0 and O1; {opt_level} needs apex"
    )


@pytest.mark.parametrize("module", [None, ModuleType("apex")], ids=["not installed", "another package"])
def test_missing_apex_is_told_with_how_to_get_it(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "apex", module)
    with pytest.raises(UserError, match=r"--amp-backend apex: .* not installed .*25\.04.*; or use --amp-backend torch"):
        choose_precision("apex", "O2", None, CPU, mixed=True)


def test_apex_without_a_gpu_is_refused(monkeypatch):
    apex = ModuleType("apex")
    apex.amp = apex.parallel = ModuleType("part of apex")
    monkeypatch.setitem(sys.modules, "apex", apex)
    with pytest.raises(UserError, match="apex needs a CUDA GPU; --amp-backend torch runs everywhere"):
        choose_precision("apex", "O2", None, CPU, mixed=True)
