"""What a network starts from: ImageNet weights that timm publishes or a package holds, a file, or chance."""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from common.errors import UserError, one_line
from common.files import sha256_of
from common.redaction import without_secrets
from training.tools.checkpoints import CheckpointError, load_weights, read_checkpoint
from training.tools.config import NetworkConfig
from training.zoo.classifiers import ENCODERS
from training.zoo.packaged_weights import PACKAGES, weights_file, with_timm_names

NOISY_STUDENT = "ns_jft_in1k"
CONNECT_SECONDS = 10
ADVICE = "; --initial-weights FILE takes a file you fetched elsewhere, --initial-weights none trains from random ones"


def initialize(network: nn.Module, config: NetworkConfig, source: str) -> str:
    """Give the `network` of `config` its initial weights and say in a line which.

    `source` is `imagenet` (timm's weights for the encoder, noisy student for the published names; torchvision's from
    Kinetics-400 for its 3-D networks), `none` (as drawn), a package of PACKAGES, or a file: weights of the whole
    network, or of its encoder, as .pth, .safetensors or a checkpoint. 3-D networks keep their own last layer where the
    file's has other classes.
    Raises UserError where they cannot be had or do not fit.
    """
    if source == "none":
        return "initial weights: random"
    if source == "imagenet":
        return _from_torchvision(network, config.network) if config.input == "clip" else _from_timm(network, config)
    if source in PACKAGES:
        return _from_package(network, config, source)
    return _from_file(network, config, Path(source))


def _from_package(network: nn.Module, config: NetworkConfig, package: str) -> str:
    if config.input == "clip":
        raise UserError(f"{package} has weights of {PACKAGES[package].encoder}, not of {config.network}")
    path = weights_file(package, config.encoder)
    state = with_timm_names(network.encoder, _content_of(path)["state_dict"], path)
    load_weights(network.encoder, {"state_dict": state}, path, config.encoder)
    return f"initial weights: {config.encoder} of {package}"


def _from_torchvision(network: nn.Module, name: str) -> str:
    import torchvision

    from training.zoo.clips import TORCHVISION_WEIGHTS

    if name not in TORCHVISION_WEIGHTS:
        raise UserError(f"nobody publishes weights of {name} by name; --initial-weights takes a file, or none")
    published = TORCHVISION_WEIGHTS[name]
    path = _fetched(torchvision.models.get_weight(published).url, published)
    load_weights(network, {"state_dict": _with_own_classes(network, read_checkpoint(path))}, path, name)
    return f"initial weights: {published} of torchvision"


def _fetched(url: str, what: str) -> Path:
    """The file in torchvision's cache, whose name holds the beginning of its SHA-256, fetched if it is not there.

    Raises UserError if it cannot be had, or is not what was published.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    beginning = path.stem.rpartition("-")[2]
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), beginning, progress=False)
        sound = sha256_of(path).startswith(beginning)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{what} could not be fetched ({one_line(error)[:150]}){ADVICE}") from error
    if not sound:
        raise UserError(f"{path}: is not the file that torchvision published; delete it and start again{ADVICE}")
    return path


def _from_timm(network: nn.Module, config: NetworkConfig) -> str:
    encoder = config.encoder
    name = f"{ENCODERS[encoder][0]}.{NOISY_STUDENT}" if encoder in ENCODERS else encoder
    if not timm.is_model_pretrained(name):  # nor is it by its old name, under which timm may have made the encoder
        made = network.encoder.pretrained_cfg
        name = f"{made['architecture']}.{made['tag']}" if made.get("tag") else name
    if not timm.is_model_pretrained(name):
        raise UserError(f"timm has no ImageNet weights for {encoder}; --initial-weights none trains from random ones")
    published = timm.get_pretrained_cfg(name)
    reason = _unreachable(published.hf_hub_id) if published.hf_hub_id else None
    if reason:
        raise UserError(f"ImageNet weights of {name} are not in the cache and cannot be fetched ({reason}){ADVICE}")
    timm.models.set_pretrained_check_hash()  # of files that come from no hub and have their hash in their name
    try:
        pretrained = timm.create_model(name, pretrained=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, UnpicklingError) as error:
        _refuse_altered(published.hf_hub_id)
        raise UserError(
            f"ImageNet weights of {name} could not be loaded ({without_secrets(one_line(error))[:150]}){ADVICE}"
        ) from error
    _refuse_altered(published.hf_hub_id)
    network.encoder.load_state_dict(pretrained.state_dict(), strict=True)
    return f"initial weights: {name} of timm"


def _unreachable(repository: str) -> str | None:
    """Why the model hub cannot be reached; None if it can be, or if the weights are cached."""
    import requests
    from huggingface_hub import constants

    if _cached(repository):
        return None
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        requests.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except requests.RequestException as error:
        return f"no connection to {without_secrets(constants.ENDPOINT)}: {type(error).__name__}"
    return None


def _cached(repository: str) -> Path | None:
    """The file of weights in the model hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in ("model.safetensors", "pytorch_model.bin"))
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _refuse_altered(repository: str | None) -> None:
    """Raise UserError if the bytes of the cached file of weights are not those that were published.

    The hub's client compares sizes only. It names the bytes by the SHA-256 that the hub announced and links to them;
    where a file system has no links, nothing is left to compare with.
    """
    path = _cached(repository) if repository else None
    announced = path.readlink().name if path and path.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", announced) and sha256_of(path) != announced:
        raise UserError(f"{path}: is not the file that the model hub published; delete it and start again{ADVICE}")


def _with_own_classes(network: nn.Module, found: Mapping) -> dict[str, Tensor]:
    """The weights `found`, with the network's own last layer if theirs has other classes, such as Kinetics' 400."""
    own = network.state_dict()
    last = list(own)[-1].rpartition(".")[0]
    return {
        key: own[key] if key.startswith(f"{last}.") and key in own and _other_shape(value, own[key]) else value
        for key, value in ((str(key).removeprefix("module."), value) for key, value in found.items())
    }


def _other_shape(found: Any, own: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape != own.shape


def _from_file(network: nn.Module, config: NetworkConfig, path: Path) -> str:
    content = _content_of(path)
    if config.input == "clip":
        load_weights(network, {"state_dict": _with_own_classes(network, content["state_dict"])}, path, config.network)
        return f"initial weights: {config.network} from {path}"
    whole = any(str(key).removeprefix("module.").startswith("encoder.") for key in content["state_dict"])
    target, what = (network, "the network") if whole else (network.encoder, "the encoder")
    load_weights(target, content, path, what)
    return f"initial weights: {what} from {path}"


def _content_of(path: Path) -> Mapping:
    """The file as a dictionary that holds a `state_dict`."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return {"state_dict": load_file(path)}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file: {one_line(error)}") from error
    content = read_checkpoint(path)
    return content if isinstance(content.get("state_dict"), Mapping) else {"state_dict": content}
