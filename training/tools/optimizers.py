"""The optimizers a config can name, and the clipping of what they apply."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from common.errors import UserError
from training.tools.config import OptimizerConfig


def create_optimizer(config: OptimizerConfig, network: nn.Module, apex: bool = False) -> Optimizer:
    """The config's optimizer over all parameters of `network` that are not fixed for good.

    With `classifier_lr` there are two groups, the encoder and all else. FusedSGD and FusedAdam are torch's fused
    kernels, or apex's with `apex`. Frozen encoders are switched on and off later: their parameters are in.
    """
    fixed = {id(p) for name, module in network.named_modules() if name == "srm_conv" for p in module.parameters()}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in network.named_parameters():
        if id(parameter) not in fixed:
            groups[config.classifier_lr is not None and not name.startswith("encoder.")].append(parameter)
    parameters = [
        {"params": members, "lr": config.classifier_lr if apart else config.learning_rate}
        for apart, members in sorted(groups.items())
        if members
    ]
    optimizer = _optimizer(config, parameters, apex)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def learning_rate_at_end(config: OptimizerConfig, batches_per_epoch: int) -> float:
    """The learning rate of a run's last iteration, if its epochs are full."""
    epochs = config.schedule.epochs
    end = epochs * batches_per_epoch if config.schedule.mode == "step" else epochs
    return config.schedule.rate(config.learning_rate, end - 1)


def _optimizer(config: OptimizerConfig, parameters: list[dict], apex: bool) -> Optimizer:
    common = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    momentum = {"momentum": config.momentum, "nesterov": config.nesterov}
    if config.type in ("FusedSGD", "FusedAdam") and apex:
        from apex import optimizers

        if config.type == "FusedSGD":
            return optimizers.FusedSGD(parameters, **common, **momentum)
        return optimizers.FusedAdam(parameters, **common)
    match config.type:
        case "SGD":
            return torch.optim.SGD(parameters, **common, **momentum)
        case "FusedSGD":
            return torch.optim.SGD(parameters, **common, **momentum, fused=True)
        case "Adam":
            return torch.optim.Adam(parameters, **common)
        case "FusedAdam":  # apex's decays the weights apart from the gradients
            return torch.optim.AdamW(parameters, **common, fused=True)
        case "AdamW":
            return torch.optim.AdamW(parameters, **common)
        case "RmsProp":
            return torch.optim.RMSprop(parameters, **common, momentum=config.momentum)
    raise UserError(f"unknown optimizer {config.type!r}")


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to a norm of `max_norm` if it is larger; returns the norm before, a scalar."""
    return nn.utils.clip_grad_norm_(list(parameters), max_norm)
