"""The sequence system's network: an image network on every frame, and an LSTM over what it says."""

from torch import Tensor, nn

from training.zoo.classifiers import create_encoder

HIDDEN = 64
LAYERS = 5


class MixNetLSTM(nn.Module):
    """(n, frames, 3, h, w) floats, raw RGB from 0 to 255, to (n, 1) logits at the last frame, above 0 for fake.

    The image network keeps its 1000 ImageNet outputs, and they are what the LSTM reads, each clip from a fresh state.
    Made for 10 frames of 160x160. `encoder` is any image network of timm. Raises ValueError if timm has none of that
    name, or on an input that is no clip.
    """

    def __init__(self, encoder: str = "mixnet_m", lstm_dropout: float = 0.5, dropout: float = 0.75):
        super().__init__()
        self.encoder = create_encoder(encoder)
        self.lstm = nn.LSTM(self.encoder.num_classes, HIDDEN, LAYERS, dropout=lstm_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.Linear(HIDDEN, 32), nn.ELU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5 or x.shape[1] == 0 or x.shape[2] != 3:
            raise ValueError(f"clips are (n, frames, 3, h, w) with at least one frame, not {tuple(x.shape)}")
        outputs = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        steps, _ = self.lstm(outputs)
        return self.head(self.dropout(steps[:, -1]))
