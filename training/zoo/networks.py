"""A config's network, whatever its family."""

from torch import nn

from training.tools.config import NetworkConfig


def network_of(config: NetworkConfig) -> nn.Module:
    """The network that `config` names, randomly initialised; nothing is downloaded. Raises ValueError on a bad name."""
    if config.input == "frame":
        from training.zoo.classifiers import create_network

        return create_network(config.network, config.encoder)
    if config.input == "clip":
        from training.zoo.clips import create_clip_network

        return create_clip_network(config.network)
    from training.zoo.sequences import MixNetLSTM

    if config.network != MixNetLSTM.__name__:
        raise ValueError(f"unknown sequence network {config.network!r}: {MixNetLSTM.__name__} is there")
    return MixNetLSTM(config.encoder)
