"""The nodes of a Ray cluster score the videos of one folder: an actor for each GPU, or for a few cores where none is.

Each is given a group of videos, and tells every score as it comes. The groups become smaller towards the end, so that
nodes of different speed are done at the same time. What an actor that dies had not told is given to others.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from common.errors import KEPT, UserError, one_line
from common.ray_cluster import RETRIES, begin_worker, connect
from inference.scoring import Scorer, Scoring
from inference.stream import Video, VideoScore

DEVICES = ("auto", "cpu", "cuda")
# One process keeps about so many cores busy; on a larger node several share them.
CPUS_OF_LANE = 8
# Large enough for a GPU's batches and for what is decoded ahead, small enough to be done again.
LARGEST_GROUP = 64
# An actor is started again so often; what kills more often is not a video here and there.
RESTARTS = 20
# How long to wait in seconds for the next lane to start when others have, and for a node to come back if none is left.
PATIENCE = 300


@dataclass(frozen=True)
class Place:
    """Room for a lane on a node: how many CPUs, and whether a GPU."""

    node: str
    cpus: int
    gpu: bool


@dataclass(frozen=True)
class About:
    """What an open lane says of itself, see `Scorer`."""

    lines: list[str]
    models: list[str]
    aggregates: dict[str, str]
    device: str


@contextmanager
def opened_on_ray(
    make_scoring: Callable[..., Scoring],
    address: str | None,
    device: str,
    engine: str,
    precision: str,
    videos: int,
    say: Callable[[str], object],
) -> Iterator["RayLanes"]:
    """What scores videos on the cluster; `make_scoring` makes a Scoring of an Engine, which each node chooses itself.

    `device` auto is every GPU, and the CPU of nodes without one; cpu or cuda are those alone. There are no more lanes
    than `videos`. Nothing is left at work when the block ends. Raises UserError for what `Scoring.open` refuses, and if
    there is no such node.
    """
    if device not in DEVICES:
        raise UserError(f"--device {device}: on Ray it is one of {', '.join(DEVICES)}; each worker has one of its own")
    ray = connect(address)
    places = [place for node in ray.nodes() if node["Alive"] for place in places_of(node, device)]
    if not places:
        raise UserError(f"--executor ray: no node of the cluster has a {'GPU' if device == 'cuda' else 'CPU'}")
    lanes = RayLanes(say)
    try:
        places.sort(key=lambda place: not place.gpu)
        # One at least: what it says of the networks stands in the results of no videos, too.
        lanes.start(places[: max(videos, 1)], (make_scoring, engine, precision, Path.cwd()), strict=device == "cuda")
        yield lanes
    finally:
        lanes.end()


def places_of(node: dict, device: str) -> list[Place]:
    """The lanes of a node as `ray.nodes` describes it; all its CPUs are shared out among them."""
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    gpus = 0 if device == "cpu" else gpus
    count = gpus or (0 if device == "cuda" else -(-cpus // CPUS_OF_LANE))
    return [Place(node["NodeID"], (cpus + rank) // count, gpus > 0) for rank in range(count)]


class RayLanes:
    """Lanes open in a Ray cluster, to score videos once; `models`, `aggregates` and `device` are those of all of them.

    Where lanes differ in what computes, in GPU or CPU or in the number format, `models` and `device` name all.
    """

    models: list[str]
    aggregates: dict[str, str]
    device: str

    def __init__(self, say: Callable[[str], object]):
        self.say = say
        self.lanes, self.free = [], []
        self.starting: dict[Any, Any] = {}

    def start(self, places: Sequence[Place], description: tuple, strict: bool) -> None:
        """Start a lane at each place, and wait until the networks are loaded; what the first one says is passed on.

        One that has no room, or whose node died before it was noticed, is not waited for longer than PATIENCE seconds;
        it joins the others whenever it starts, if it computes as one of them.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = len({place.node for place in places})
        self.say(f"ray: {len(places)} workers on {nodes} nodes are starting, as soon as the cluster has room for them")
        kind = ray.remote(max_restarts=RESTARTS)(_Lane)
        self.shared = [ray.put((*description, strict))]
        for place in places:
            options = {"num_cpus": place.cpus, "num_gpus": int(place.gpu)}
            # Soft: when a node is gone for good, Ray starts the lane again where there is room.
            where = NodeAffinitySchedulingStrategy(place.node, soft=True)
            lane = kind.options(**options, scheduling_strategy=where).remote(place.cpus, place.gpu)
            self.lanes.append(lane)
            self.starting[self._open(lane)] = lane
        heard = []
        while self.starting:
            done, _ = ray.wait(list(self.starting), timeout=PATIENCE if heard else None)
            if not done:
                self.say(f"{len(self.starting)} workers have not started yet; the others begin")
                break
            lane = self.starting.pop(done[0])
            try:
                about = ray.get(done[0])
            except ray.exceptions.RayError as error:
                self.lanes.remove(lane)
                reason = _reason(error)
                self.say(f"a worker did not start: {reason}")
                continue
            if isinstance(about, UserError):
                raise about
            heard.append(about)
            self.free.append(lane)
        if not heard:
            raise UserError(f"--executor ray: no worker could be started: {reason}")
        self._describe(heard)

    def _describe(self, heard: Sequence[About]) -> None:
        kinds = Counter(about.lines[0] for about in heard)
        self.say(f"ray: {'; '.join(f'{number} x {line}' for line, number in sorted(kinds.items()))}")
        for line in heard[0].lines[1:]:
            self.say(line)
        self.models = [
            " or ".join(sorted(set(names))) for names in zip(*(about.models for about in heard), strict=True)
        ]
        self.kinds = [about.models for about in heard]
        self.aggregates = heard[0].aggregates
        self.device = " or ".join(sorted({about.device for about in heard}))
        if any(about.models != heard[0].models or about.device != heard[0].device for about in heard):
            self.say("the nodes compute differently: in the last digits a label depends on which of them scored it")

    def score(self, videos: Iterable[Video]) -> Iterator[VideoScore]:
        """The scores of the videos, each as soon as it is there, in no particular order.

        A video on which lanes die RETRIES + 1 times has that for its error. Raises UserError when no lane is left, and
        none comes back within PATIENCE seconds.
        """
        import ray

        waiting, came_back, deaths = deque(videos), deque(), Counter()
        free, starting, running = self.free, self.starting, {}
        while waiting or came_back or running:
            while free and (waiting or came_back):
                group = self._group(waiting, came_back)
                lane = free.pop()
                running[lane.score.options(num_returns="streaming").remote(self.shared, group)] = lane, deque(group)
            if not running and not starting:
                raise UserError(f"--executor ray: no worker is left; {KEPT}")
            ready, _ = ray.wait([*running, *starting], timeout=None if running else PATIENCE)
            if not ready:
                raise UserError(f"--executor ray: no worker is left, and none has come back; {KEPT}")
            if ready[0] in starting:
                lane = starting.pop(ready[0])
                if self._is_alike(ready[0]):
                    free.append(lane)
                else:
                    self.say("a worker that started late cannot take part: it has died, or computes otherwise")
                continue
            lane, group = running[ready[0]]
            try:
                score = ray.get(next(ready[0]))
            except StopIteration:
                del running[ready[0]]
                free.append(lane)
            except ray.exceptions.RayTaskError as error:
                raise UserError(f"--executor ray: {_reason(error)}; {KEPT}") from error
            except ray.exceptions.RayError as error:
                del running[ready[0]]
                self.say(f"a worker or its node died, its {len(group)} videos go to others ({_reason(error)})")
                starting[self._open(lane)] = lane
                # The first is the one it was at, or had begun with others: each shows alone whether it was the one.
                deaths.update(video.name for video in islice(group, 1))
                if group and deaths[group[0].name] > RETRIES:
                    reason = f"its worker died {RETRIES + 1} times (out of memory?)"
                    yield VideoScore(group.popleft().name, error=reason)
                came_back.extend(group)
            else:
                group.popleft()
                yield score

    def _group(self, waiting: deque[Video], came_back: deque[Video]) -> list[Video]:
        if came_back:
            return [came_back.popleft()]
        size = -(-len(waiting) // (2 * len(self.lanes)))
        return [waiting.popleft() for _ in range(min(size, LARGEST_GROUP))]

    def _open(self, lane: Any) -> Any:
        """The lane's answer to come when it has loaded its networks, after a restart as well."""
        return lane.open.options(max_task_retries=-1).remote(self.shared)

    def _is_alike(self, opened: Any) -> bool:
        """Whether a lane has started, late or again, and on a node that computes as the run's settings say."""
        import ray

        try:
            about = ray.get(opened)
        except ray.exceptions.RayError:
            return False
        return isinstance(about, About) and about.models in self.kinds

    def end(self) -> None:
        """End the lanes, whatever they are doing: what they have told is all there is to keep."""
        import ray

        for lane in self.lanes:
            ray.kill(lane)


def _reason(error: Exception) -> str:
    """The last line of what Ray says: the exception itself, below the traceback of a task."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__)[:200]


class _Lane:
    """An actor: a Scoring on the CPUs or the GPU that Ray has given it. `shared` holds a reference: what to open."""

    def __init__(self, cpus: int, gpu: bool):
        self.cpus, self.gpu = cpus, gpu
        self.scorer: Scorer | None = None

    def open(self, shared: Sequence[Any]) -> About | UserError:
        """Load the networks. What the user can put right is returned: raised, it would come with a traceback."""
        try:
            return self._open(shared)
        except UserError as error:
            return error

    def _open(self, shared: Sequence[Any]) -> About:
        import ray
        import torch

        from inference.devices import choose_device
        from inference.engines import choose_engine

        make_scoring, engine, precision, folder, strict = ray.get(shared[0])
        begin_worker(folder)
        torch.set_num_threads(max(self.cpus, 1))
        device, why = choose_device("cuda:0" if self.gpu else "cpu")
        if strict and device.type != "cuda":
            raise UserError(f"--device cuda: a node's GPU cannot be used by PyTorch there ({why})")
        chosen, how = choose_engine(engine, precision, device)
        lines = [f"{why.removeprefix('device: ')}, {how}"]
        if self.scorer is None:
            self.scorer = make_scoring(engine=chosen).open(device, lines.append)
        return About(lines, self.scorer.models, self.scorer.aggregates, device.type)

    def score(self, shared: Sequence[Any], videos: Sequence[Video]) -> Iterator[VideoScore]:
        if self.scorer is None:  # started again unnoticed
            self._open(shared)
        yield from self.scorer.score(videos)
