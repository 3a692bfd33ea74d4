"""Which device and number format to use, chosen once and said in a line."""

import torch

from common.errors import KEPT, UserError, one_line

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
KINDS = ("cpu", "cuda", "mps")


def choose_device(name: str) -> tuple[torch.device, str]:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, and a line that says which and why.

    A CUDA device or MPS that is not there gives the CPU. Raises UserError on any other name.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0"), f"device: cuda:0 ({torch.cuda.get_device_name(0)})"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "device: mps"
        return torch.device("cpu"), f"device: cpu, {torch.get_num_threads()} threads (no GPU found)"
    kind, _, number = name.partition(":")
    # PyTorch's own reading takes cuda:256 for cuda:0.
    if kind not in KINDS or (name != kind and not (kind != "mps" and number.isdecimal())):
        raise UserError(f"--device {name}: not one of auto, cpu, cuda, cuda:N, mps")
    if kind == "cpu":
        return torch.device("cpu"), f"device: cpu, {torch.get_num_threads()} threads"
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(number or 0)
        if index < count:
            return torch.device("cuda", index), f"device: cuda:{index} ({torch.cuda.get_device_name(index)})"
        return torch.device("cpu"), f"device: cpu ({name} was asked for, but {count} CUDA devices are usable)"
    if torch.backends.mps.is_available():
        return torch.device("mps"), "device: mps"
    return torch.device("cpu"), "device: cpu (mps was asked for, but it is not usable here)"


def choose_devices(names: str) -> tuple[list[torch.device], str]:
    """The devices for what `choose_device` takes, or for several such names with commas between them, and the line.

    Of several none is replaced by the CPU, and all must be of one kind, since kinds differ in what they compute in the
    last digits or in the number format. Raises UserError.
    """
    if "," not in names:
        device, why = choose_device(names)
        return [device], why
    devices, lines = [], []
    for name in names.split(","):
        if name == "auto":
            raise UserError(f"--device {names}: auto stands alone")
        if not name:
            raise UserError(f"--device {names}: a comma without a device beside it")
        device, why = choose_device(name)
        if device.type != name.partition(":")[0]:
            raise UserError(f"--device {names}: {name} is not there")
        devices.append(device)
        lines.append("cpu" if device.type == "cpu" else why.removeprefix("device: "))  # whose threads are shared out
    if len({device.type for device in devices}) > 1:
        raise UserError(f"--device {names}: several devices must be of one kind, or labels would depend on chance")
    return devices, f"{len(devices)} devices: {'; '.join(lines)}"


def check_alive(device: torch.device) -> None:
    """Raises UserError if a CUDA device cannot be used any more: after some errors all that is asked of it fails."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"{device} has failed: {one_line(error)}; {KEPT}") from error


def detector_device(device: torch.device) -> torch.device:
    """Where faces are detected when the networks run on `device`: MTCNN is written for CUDA and the CPU."""
    return torch.device("cpu") if device.type == "mps" else device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The networks' number format: `auto` is half precision on a CUDA device, as published, and fp32 elsewhere."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in PRECISIONS:
        raise UserError(f"--precision {name}: not one of auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
