"""How the videos of a run are scored: a description that can be sent anywhere, and what it becomes on a device."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from common.errors import UserError
from common.limits import Limits
from faces.decoders import Decoders
from faces.torchcodec_video import video_opener
from inference.devices import detector_device
from inference.engines import Engine
from inference.ensemble import Ensemble, Member
from inference.fetching import fetching
from inference.strategies import STRATEGIES, Rule
from inference.stream import Video, VideoScore, score_videos
from inference.views import picture_of, reader_for, views_for
from training.tools.checkpoints import load_checkpoint


@dataclass(frozen=True)
class Scoring:
    """Checkpoints, the engine of their networks, and the settings of `predict_folder`; it can be pickled.

    `videos`, how many are to be scored in all, decides whether it pays to convert a network.
    """

    checkpoints: Sequence[Path]
    engine: Engine
    frames: int
    strategy: str
    aggregate: str
    clip_labels: float
    detector_scale: float | None
    batch_size: int | None
    workers: int
    videos: int
    limits: Limits
    decoder: str = "pyav"
    cuda_graphs: str = "auto"

    def open(self, device: torch.device, say: Callable[[str], object]) -> "Scorer":
        """Networks and detectors on `device`; `say` is told of every checkpoint. Raises UserError."""
        if device.type == "cuda":
            torch.cuda.set_device(device)  # else a process of another GPU takes memory on the first as well
        elif self.cuda_graphs == "on":
            raise UserError(f"--cuda-graphs on: the device is {device.type}")
        decoding = str(device) if device.type == "cuda" else "cpu"
        video_opener(self.decoder, decoding)  # whose reason a decoder process could not tell
        members, models = [], []
        with ExitStack() as stack:
            # They start while the networks are loaded.
            ready = min(self.workers, self.videos)
            decoders = stack.enter_context(Decoders(self.limits, ready, self.decoder, decoding))
            for path in self.checkpoints:
                checkpoint = load_checkpoint(path)
                member = Member.from_checkpoint(checkpoint)
                members.append(self.engine.ready(member, checkpoint.sha256, self.frames, self.videos))
                computed = self.engine.format_of(members[-1])
                say(f"{checkpoint.describe()}, computed in {computed}")
                models.append(f"{checkpoint.name} {checkpoint.sha256[:12]} in {computed}")
            ensemble = Ensemble(members, device, self.engine.dtype, self.batch_size)
            if graphs := ensemble.use_cuda_graphs(self.cuda_graphs):
                say(graphs)
            scorer = Scorer(self, device, ensemble, decoders, models)
            stack.pop_all()
        return scorer


class Scorer:
    """A Scoring open on a device of the kind `device` (cpu, cuda, mps).

    `models` says of each network what decides its numbers: name, hash, engine and number format; `aggregates`, by
    network, what is done about several people.
    """

    def __init__(
        self, scoring: Scoring, device: torch.device, ensemble: Ensemble, decoders: Decoders, models: list[str]
    ):
        configs = [member.config for member in ensemble.members]
        self.decoders = decoders
        self.ensemble, self.models, self.workers = ensemble, models, scoring.workers
        self.device = device.type
        self.views = views_for(configs, scoring.frames, detector_device(device), scoring.detector_scale)
        self.rule = Rule(STRATEGIES[scoring.strategy], scoring.aggregate, scoring.clip_labels)
        aggregates = [self.rule.aggregate_of(picture_of(config)) for config in configs]
        self.aggregates = dict(zip(ensemble.names, aggregates, strict=True))

    def score(self, videos: Iterable[Video]) -> Iterator[VideoScore]:
        """The scores of the videos, in their order, each as soon as it is there."""
        read = reader_for(self.views, fetching(self.decoders.read))
        return score_videos(videos, read, self.views, self.ensemble, self.rule, self.workers)

    def close(self) -> None:
        """End the processes that read videos."""
        self.decoders.close()
