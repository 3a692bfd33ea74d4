"""What computes the networks: PyTorch, or OpenVINO on CPUs that do half precision natively."""

from dataclasses import dataclass, replace

import torch

from common.errors import UserError
from inference import openvino_engine
from inference.devices import PRECISIONS, choose_precision
from inference.ensemble import Member
from inference.views import TRACKED_FRAMES, picture_of
from training.families import family_of

ENGINES = ("auto", "torch", "openvino")
# Converting a network of images takes as long as PyTorch takes for so many of them more than OpenVINO, whatever its
# size (EfficientNet-B7: 6 s, Lite0: 0.9 s); fewer are enough if they are as much work as that many are to B7.
PAYS_FROM_PICTURES, PAYS_FROM_OPERATIONS = 25, 0.75e12
# Networks of frames with fewer parameters are fast enough in 32 bits, and lose more in bfloat16: the labels of the one
# in weights/embedded moved by up to 0.03.
SMALL = 10_000_000
NATIVELY = "which this CPU computes natively, small networks in fp32"


@dataclass(frozen=True)
class Engine:
    """How networks are computed: in PyTorch in the format `dtype`, or in OpenVINO in `converted` (None: never).

    Small networks of frames keep `dtype` in OpenVINO too, and with `small_exact` 32 bits in PyTorch. `always`: whether
    a network is converted though it has little to do.
    """

    dtype: torch.dtype
    converted: torch.dtype | None = None
    always: bool = False
    small_exact: bool = False

    def ready(self, member: Member, sha256: str, frames: int, videos: int) -> Member:
        """The member of a checkpoint with that hash, ready to score so many videos at so many frames each."""
        small = member.config.input == "frame" and sum(p.numel() for p in member.network.parameters()) < SMALL
        if self.converted is None or member.config.input not in openvino_engine.KINDS:
            return replace(member, exact=True) if small and self.small_exact else member
        pictures = {"frame": frames, "tracked": TRACKED_FRAMES, "clip": 2}[picture_of(member.config)] * videos
        pays = pictures >= PAYS_FROM_PICTURES or pictures * operations(member) >= PAYS_FROM_OPERATIONS
        if not (self.always or pays):
            return member
        dtype = self.dtype if small else self.converted
        network = openvino_engine.open_network(member.network, member.config, sha256, dtype)
        return Member(member.name, network, member.config)

    def format_of(self, member: Member) -> str:
        """Engine and number format in which a ready member is computed."""
        if isinstance(member.network, openvino_engine.OpenVinoNetwork):
            return f"openvino {_name(member.network.dtype)}"
        return f"torch {_name(torch.float32 if member.exact else self.dtype)}"


def choose_engine(name: str, precision: str, device: torch.device) -> tuple[Engine, str]:
    """The engine for `auto`, `torch` or `openvino`, the number format for `auto` or one of PRECISIONS, and why.

    By default a CPU that computes bfloat16 natively does so, in OpenVINO if it is installed (EfficientNet-B7: a tenth
    of PyTorch's time in fp32), else in PyTorch (about a quarter). Raises UserError for what is not there.
    """
    if name not in ENGINES:
        raise UserError(f"--engine {name}: not one of {', '.join(ENGINES)}")
    dtype = choose_precision(precision, device)
    if name == "openvino":
        if device.type != "cpu":
            raise UserError(f"--engine openvino: computes on the CPU, the device is {device.type}")
        if openvino_engine.core() is None:
            raise UserError("--engine openvino: is not installed (pip install openvino)")
        if dtype == torch.float16:
            raise UserError("--engine openvino: computes in fp32 or bf16, not fp16")
    if device.type != "cpu" or name == "torch" or precision == "fp16":
        if device.type == "cpu" and precision == "auto" and native_bfloat16():
            return Engine(torch.bfloat16, small_exact=True), f"PyTorch in bf16, {NATIVELY}"
        return Engine(dtype), f"PyTorch in {_name(dtype)}"
    if openvino_engine.core() is None:
        engine, why = choose_engine("torch", precision, device)
        return engine, f"{why} (OpenVINO, which is faster, is not installed)"
    if precision == "auto" and openvino_engine.has_bfloat16():
        why = f"OpenVINO in bf16, {NATIVELY}"
        return Engine(dtype, torch.bfloat16, name == "openvino"), why
    return Engine(dtype, dtype, name == "openvino"), f"OpenVINO in {_name(dtype)}"


def native_bfloat16() -> bool:
    """Whether PyTorch computes bfloat16 natively on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


def operations(member: Member) -> int:
    """Floating-point operations of one of a network's inputs, counted without computing it.

    Counting takes half a second for a B7; networks of one configuration are counted once.
    """
    kind = member.config.model_dump_json()
    if kind not in _operations:
        _operations[kind] = _counted_operations(member)
    return _operations[kind]


_operations: dict[str, int] = {}


def _counted_operations(member: Member) -> int:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    shape = family_of(member.config).input_shape(member.config)
    fake, counter = FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False)
    with torch.inference_mode(), fake, counter:
        member.network(torch.zeros(1, *shape))
    return counter.get_total_flops()


def _name(dtype: torch.dtype) -> str:
    return next(name for name, value in PRECISIONS.items() if value == dtype)
