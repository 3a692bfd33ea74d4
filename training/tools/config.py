"""What a checkpoint must know about itself so that inference needs no flags."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class Normalize(BaseModel):
    """Mean and standard deviation per RGB channel, for pixels in 0-1."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: Triple = IMAGENET_MEAN
    std: tuple[
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
    ] = IMAGENET_STD


class NetworkConfig(BaseModel):
    """A frame classifier and its input. The defaults describe the seven released checkpoints."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    network: str = "DeepFakeClassifier"
    encoder: str = "tf_efficientnet_b7_ns"
    size: int = Field(default=380, ge=32, le=2048, description="side of the square input, pixels")
    normalize: Normalize = Normalize()
