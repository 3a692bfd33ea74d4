"""Crops a second of one training step in each precision and memory layout, on a GPU or, to try it, on a CPU.

    python -m benchmarks.training_step [--encoder tf_efficientnet_b7_ns] [--size 380] [--batch-sizes 12 32 64]

Every variant takes the same steps from the same weights on the same crops, without drop path, so that the last column,
the loss after them, shows whether the numbers stay the same. On a GPU a single --batch-sizes is doubled until it
does not fit, and fp32 convolutions are torch's default, TF32. Prints a table and writes
<out>/training-step-<device>.json and .md.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from benchmarks.report import add_out_option, measured_with, write_report
from common.arguments import Parser, positive_int
from common.errors import run_command
from common.memory import keep_freed_memory

WARM_UP = 3


@dataclass(frozen=True)
class Variant:
    """One way of running the same training step."""

    name: str
    opt_level: str
    amp_dtype: str | None
    channels_last: bool
    compile: bool = False


VARIANTS = (
    Variant("O0, fp32", "O0", None, channels_last=False),
    Variant("O0, fp32, channels last", "O0", None, channels_last=True),
    Variant("plain autocast fp16", "O1", "fp16", channels_last=False),
    Variant("O1 fp16, channels last", "O1", "fp16", channels_last=True),
    Variant("O1 fp16, channels last, compiled", "O1", "fp16", channels_last=True, compile=True),
    Variant("O1 bf16, channels last", "O1", "bf16", channels_last=True),
    Variant("O1 bf16, channels last, compiled", "O1", "bf16", channels_last=True, compile=True),
)
BASE = "plain autocast fp16"
# What a CPU does natively; as published it trains in fp32.
ON_CPU = tuple(v for v in VARIANTS if v.amp_dtype != "fp16" and not v.compile)
BASE_ON_CPU = "O0, fp32"


def measure(variant: Variant, encoder: str, size: int, batch_size: int, steps: int) -> dict[str, float]:
    """Crops a second (median over `steps`), peak GPU memory in GiB and the loss after all steps of one variant."""
    import torch
    from timm.layers import DropPath

    from training.losses import BinaryCrossentropy, sided_loss
    from training.tools.config import TrainConfig
    from training.tools.optimizers import create_optimizer
    from training.tools.precision import choose_precision
    from training.zoo.classifiers import create_network

    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(777)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    network = create_network("DeepFakeClassifier", encoder).to(device, memory_format=layout).train()
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # compiled, it would draw differently
    images = torch.randn(batch_size, 3, size, size).to(device, memory_format=layout)
    labels = (torch.arange(batch_size, device=device) % 2).float()[:, None].clamp(0.01, 0.99)
    optimizer = create_optimizer(TrainConfig().optimizer, network)
    precision = choose_precision("torch", variant.opt_level, variant.amp_dtype, device, mixed=True)
    criterion, model = BinaryCrossentropy(), torch.compile(network) if variant.compile else network
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(WARM_UP + steps):
        start = time.perf_counter()
        with precision.autocast():
            logits = model(images)
        loss, _, _ = sided_loss(criterion, logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        precision.backward(loss, optimizer)
        precision.step(optimizer, 1.0)
        last = loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {"crops/s": batch_size / statistics.median(seconds[WARM_UP:]), "GiB": peak, "loss": last}


def run(
    encoder: str, size: int, batch_sizes: Sequence[int], steps: int, variants: Sequence[Variant] = VARIANTS
) -> list[dict]:
    """A row for every variant and batch size; a batch that does not fit is left out, and larger ones not tried."""
    import gc

    import torch

    rows = []
    for variant in variants:
        sizes = sorted(batch_sizes)
        if len(sizes) == 1 and torch.cuda.is_available():
            sizes = (sizes[0] * 2**k for k in count())
        for batch_size in sizes:
            try:
                figures = measure(variant, encoder, size, batch_size, steps)
            except torch.OutOfMemoryError:
                rows.append({"variant": variant.name, "batch": batch_size})
                break
            finally:
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            rows.append({"variant": variant.name, "batch": batch_size, **figures})
            print(rows[-1], flush=True)
    return rows


def report(encoder: str, size: int, device: str, rows: list[dict]) -> str:
    base = {row["batch"]: row["crops/s"] for row in rows if row["variant"] == BASE and "crops/s" in row}
    lines = [
        f"# One training step of {encoder} at {size} pixels on {device}",
        "",
        measured_with(("torch", "timm")),
        "",
        f"| variant | batch | crops/s | over {BASE} | peak GiB | loss after the steps |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "crops/s" not in row:
            lines.append(f"| {row['variant']} | {row['batch']} | does not fit | | | |")
            continue
        ratio = f"{row['crops/s'] / base[row['batch']]:.2f}" if row["batch"] in base else ""
        figures = f"{row['crops/s']:.1f} | {ratio} | {row['GiB']:.1f} | {row['loss']:.4f}"
        lines.append(f"| {row['variant']} | {row['batch']} | {figures} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmarks.training_step", description="Crops a second of one training step.")
    add = parser.add_argument
    add("--encoder", default="tf_efficientnet_b7_ns", metavar="NAME")
    add("--size", type=positive_int, default=380, metavar="N")
    add("--batch-sizes", type=positive_int, nargs="+", default=[12], metavar="N")
    add("--steps", type=positive_int, default=20, metavar="N")
    add_out_option(parser)
    options = parser.parse_args(argv)
    keep_freed_memory()
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    rows = run(options.encoder, options.size, options.batch_sizes, options.steps)
    stem = f"training-step-{device.lower().replace(' ', '-')}"
    write_report(options.out, stem, report(options.encoder, options.size, device, rows), rows)
    return 0


if __name__ == "__main__":
    run_command(main)
