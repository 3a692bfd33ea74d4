"""NVIDIA's apex, which the winning solution was trained with: its amp, its DDP, its SyncBatchNorm.

Only imported with --amp-backend apex. Its last releases with amp are 25.04 and 25.05.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from common.errors import UserError
from training.tools.optimizers import clip_gradients

MISSING = (
    "--amp-backend apex: NVIDIA's apex with amp is not installed (the package apex of the Python registry is something"
    " else); build release 25.04 or 25.05, the last ones with amp, from source: https://github.com/NVIDIA/apex; or use"
    " --amp-backend torch"
)


class ApexPrecision:
    """All opt levels of apex's amp, fp16, with dynamic loss scaling above O0."""

    def __init__(self, device: torch.device, opt_level: str):
        try:
            from apex import amp, parallel
        except ImportError as error:
            raise UserError(MISSING) from error
        if device.type != "cuda":
            raise UserError("--amp-backend apex: apex needs a CUDA GPU; --amp-backend torch runs everywhere")
        self.opt_level = opt_level
        self.amp = amp
        self.parallel = parallel

    def __str__(self) -> str:
        return f"{self.opt_level} of apex, {'fp32' if self.opt_level == 'O0' else 'fp16'}"

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        scale = 1.0 if self.opt_level == "O0" else "dynamic"
        return self.amp.initialize(network, optimizer, opt_level=self.opt_level, loss_scale=scale, verbosity=0)

    def synchronize_batchnorm(self, network: nn.Module) -> nn.Module:
        return with_sync_batchnorm(network, self.parallel.SyncBatchNorm)

    def distribute(self, network: nn.Module) -> nn.Module:
        # Delayed: reductions as gradients appear need every parameter to have one, and timm's classifier has none.
        return self.parallel.DistributedDataParallel(network, delay_allreduce=True)

    def autocast(self) -> AbstractContextManager:
        return nullcontext()  # apex has patched torch's functions

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        with self.amp.scale_loss(loss, optimizer) as scaled:
            scaled.backward()

    def step(self, optimizer: Optimizer, max_norm: float) -> Tensor:
        norm = clip_gradients(self.amp.master_params(optimizer), max_norm)
        optimizer.step()
        return norm if self.opt_level == "O0" else norm.nan_to_num(0, 0)  # there it leaves out what overflows

    def state_dict(self) -> dict[str, Any]:
        return self.amp.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.amp.load_state_dict(state)


def with_sync_batchnorm(network: nn.Module, sync_batchnorm: type[nn.Module]) -> nn.Module:
    """`network` with its 2-D batch norms exchanged for `sync_batchnorm`, weights, names and activations kept.

    apex's own conversion knows nothing of the activations that timm's batch norms carry, and would drop them.
    """

    class WithActivation(sync_batchnorm):
        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.drop(super().forward(x)))

    def exchanged(module: nn.Module) -> nn.Module:
        for name, child in module.named_children():
            setattr(module, name, exchanged(child))
        if not isinstance(module, nn.BatchNorm2d):
            return module
        synced = WithActivation(module.num_features, module.eps, module.momentum, module.affine)
        synced.drop, synced.act = getattr(module, "drop", nn.Identity()), getattr(module, "act", nn.Identity())
        synced.load_state_dict(module.state_dict())
        synced.weight, synced.bias = module.weight, module.bias  # the very parameters: the optimizer has them already
        return synced

    return exchanged(network)
