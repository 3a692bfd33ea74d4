"""The executor of `--executor ray`: every item is a task of a Ray cluster, which needs one CPU of any of its nodes."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from common.errors import one_line
from common.ray_cluster import RETRIES, begin_worker
from preprocessing.executors import Work, WorkerDied

# Items handed out beyond those being worked on, so that no node waits for this process.
AHEAD_PER_WORKER = 1


def run_on_ray(
    make_work: Callable[[], Work], items: Sequence[Any], workers: int | None, preload: Sequence[str] = ()
) -> Iterator[tuple[Any, Any]]:
    """An executor of tasks in the Ray cluster that this process is connected to.

    `workers` bounds the items that are worked on at the same time; None is as many as the cluster has CPUs, those of
    nodes that join later included. Ray does an item again whose process or node died, up to RETRIES times.
    """
    import ray

    shared = ray.put((make_work, Path.cwd()))
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
    remaining = iter(items)
    pending: dict[Any, Any] = {}
    try:
        while True:
            room = workers or int(ray.cluster_resources().get("CPU", 1)) * (1 + AHEAD_PER_WORKER)
            for item in islice(remaining, max(room - len(pending), 0)):
                # In a list, for its content to be fetched once by a process, not once by a task.
                pending[task.remote([shared], item)] = item
            if not pending:
                return
            done, _ = ray.wait(list(pending), num_returns=1)
            for reference in done:
                yield pending.pop(reference), _result(reference)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


def _result(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # an exception that cannot be sent
        return error
    except ray.exceptions.RayError as error:
        reason = one_line(str(error).partition("\n")[0])[:200]
        return WorkerDied(f"its worker or node died {RETRIES + 1} times (out of memory?): {reason}")


# In a worker process: the work of the stage that it was last used for.
_work: dict[Any, Work] = {}


def _call(shared: list, item: Any) -> Any:
    import ray

    try:
        (reference,) = shared
        if reference not in _work:
            _work.clear()
            make_work, folder = ray.get(reference)
            begin_worker(folder)
            _work[reference] = make_work()
        return _work[reference](item)
    except Exception as error:  # one item of many is isolated here; the runner records the reason
        return error
