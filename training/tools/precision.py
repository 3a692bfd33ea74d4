"""Number formats of training: what runs in which, and how gradients are scaled, clipped and applied."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from common.errors import UserError
from training.tools.optimizers import clip_gradients

AMP_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Precision(Protocol):
    """How a network is trained on its device: wrapped for the group, run, its gradients scaled, clipped, applied."""

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]: ...

    def synchronize_batchnorm(self, network: nn.Module) -> nn.Module: ...

    def distribute(self, network: nn.Module) -> nn.Module: ...

    def autocast(self) -> AbstractContextManager: ...

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None: ...

    def step(self, optimizer: Optimizer, max_norm: float) -> Tensor: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class TorchPrecision:
    """torch's automatic mixed precision.

    O0 runs in fp32. O1 runs convolutions and products in half precision, fp16 with dynamic loss scaling or bf16
    without. O2 and O3, whole networks in half precision, are apex's.
    """

    def __init__(self, device: torch.device, opt_level: str, amp_dtype: torch.dtype):
        if opt_level not in ("O0", "O1"):
            raise UserError(f"--opt-level {opt_level}: torch's mixed precision has O0 and O1; {opt_level} needs apex")
        self.device = device
        self.opt_level = opt_level
        self.amp_dtype = amp_dtype
        scaled = opt_level == "O1" and amp_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)

    def __str__(self) -> str:
        if self.opt_level == "O0":
            return "O0, fp32"
        name = str(self.amp_dtype).removeprefix("torch.")
        return f"O1, {name}{' with dynamic loss scaling' if self.scaler.is_enabled() else ''}"

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        return network, optimizer

    def synchronize_batchnorm(self, network: nn.Module) -> nn.Module:
        """The network with batch norms that share their statistics over the group (GPUs only: torch has none for CPUs).

        timm's conversion, because torch's would drop the activations that timm's batch norms carry.
        """
        from timm.layers import convert_sync_batchnorm

        return convert_sync_batchnorm(network)

    def distribute(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the group."""
        ids = [self.device.index] if self.device.type == "cuda" else None
        # timm's encoders keep a classifier that is not used: its parameters never get a gradient.
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.amp_dtype, enabled=self.opt_level == "O1")

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        self.scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, max_norm: float) -> Tensor:
        """Clip the gradients' norm and apply them; a step whose scaled gradients overflowed is left out.

        Returns the norm before clipping, a scalar on the device; 0 of a step that is left out.
        """
        self.scaler.unscale_(optimizer)
        norm = clip_gradients((p for group in optimizer.param_groups for p in group["params"]), max_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        return norm.nan_to_num(0, 0) if self.scaler.is_enabled() else norm

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler.is_enabled() and state:
            self.scaler.load_state_dict(state)


def choose_precision(
    backend: str, opt_level: str | None, amp_dtype: str | None, device: torch.device, mixed: bool
) -> Precision:
    """The precision for these options. Unset, `opt_level` is O1 on a GPU if the config says fp16 (`mixed`), else O0.

    Unset, `amp_dtype` is fp16 on a GPU and bf16 on a CPU. Raises UserError where it is not to be had here.
    """
    opt_level = opt_level or ("O1" if mixed and device.type == "cuda" else "O0")
    if backend == "apex":
        from training.tools.apex_backend import ApexPrecision

        return ApexPrecision(device, opt_level)
    dtype = AMP_DTYPES[amp_dtype or ("fp16" if device.type == "cuda" else "bf16")]
    return TorchPrecision(device, opt_level, dtype)
