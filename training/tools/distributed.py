"""Processes that train together, started by torchrun: one on its own is a group of one."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from common.errors import UserError


@dataclass
class Group:
    """This process's place in the group, and what the group does together."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _control: Any = None  # a gloo group, for what must not wait for a GPU

    def __str__(self) -> str:
        if self.device.type == "cuda":
            where = f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        else:
            where = f"cpu, {torch.get_num_threads()} threads"
        return f"device: {where}{f', {self.world} processes' if self.world > 1 else ''}"

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether any process says yes; all get the same answer."""
        if self.world == 1:
            return flag
        votes = torch.tensor([int(flag)])
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._control)
        return bool(votes.item())

    def gather(self, value: Any) -> list[Any]:
        """Everybody's `value`, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self._control)
        return values

    def share_buffers(self, network: nn.Module) -> None:
        """Give everybody the main process's running statistics, which differ where batch norms are not synced."""
        if self.world > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def agree(self, value: Any, what: str) -> None:
        """UserError if `value` is not the same in all processes."""
        values = list(dict.fromkeys(map(str, self.gather(value))))
        if len(values) > 1:
            different = " and ".join(values)
            raise UserError(f"{what} is not the same in all processes: {different}; machines need a shared disk")

    def close(self) -> None:
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join_group(gpu: str, local_rank: int, distributed: bool) -> Group:
    """The group that torchrun's variables describe, or a group of one on device `gpu` (a number, or cpu).

    NCCL where every process has a GPU of its own, else gloo on the CPU. Raises UserError where `--distributed` was
    given without torchrun, and where torchrun has started the processes again without being told how.
    """
    if gpu != "cpu" and not gpu.isdecimal():
        raise UserError(f"--gpu {gpu}: is neither the number of a GPU nor cpu")
    try:
        world = int(os.environ.get("WORLD_SIZE", 1))
        local_rank = int(os.environ.get("LOCAL_RANK", local_rank))
    except ValueError as error:
        raise UserError(f"WORLD_SIZE and LOCAL_RANK must be numbers: {error}") from error
    if distributed and "WORLD_SIZE" not in os.environ:
        raise UserError("--distributed: start it with torchrun (train.sh does), which gives each process its rank")
    on_gpu = gpu != "cpu" and torch.cuda.is_available()
    if world == 1:
        return Group(device=_cuda(int(gpu)) if on_gpu else torch.device("cpu"))
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {world}, but {', '.join(missing)} is not set: torchrun (train.sh) sets all of them"
        )
    restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if restarted and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # They would look for each other where those were that died, and wait.
        raise UserError(
            "torchrun restarts processes only with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 set (train.sh does)"
        )
    device = _cuda(local_rank) if on_gpu else torch.device("cpu")
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
    control = dist.new_group(backend="gloo") if on_gpu else dist.group.WORLD
    return Group(dist.get_rank(), dist.get_world_size(), device, control)


def _cuda(index: int) -> torch.device:
    count = torch.cuda.device_count()
    if index >= count:
        raise UserError(f"GPU {index} was asked for, but there are {count}")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
