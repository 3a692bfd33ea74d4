"""Where a stage's work is done. An executor takes the items one by one and gives back what became of each."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Protocol

from common.memory import keep_freed_memory
from common.processes import leave_signals_to_parent, start_fork_server
from common.ray_cluster import connect

Work = Callable[[Any], Any]
# Items handed out beyond those being worked on, so that no process waits for the parent.
AHEAD_PER_WORKER = 1


class WorkerDied(Exception):
    """The process that worked on an item was killed, most likely for want of memory."""


class Executor(Protocol):
    """Does `make_work()(item)` for every item, in worker processes that call `make_work` once.

    Yields (item, result) in any order; an item whose work raised yields its exception as the result. `preload` names
    modules that every worker needs. `workers` None is as many as there are CPUs.
    """

    def __call__(
        self, make_work: Callable[[], Work], items: Sequence[Any], workers: int | None, preload: Sequence[str] = ()
    ) -> Iterator[tuple[Any, Any]]: ...


def run_locally(
    make_work: Callable[[], Work], items: Sequence[Any], workers: int | None, preload: Sequence[str] = ()
) -> Iterator[tuple[Any, Any]]:
    """An executor of processes on this machine. A process that dies costs its item, not the run."""
    workers = min(workers or os.cpu_count() or 1, len(items))
    start_fork_server(preload)
    suspects: list[Any] = []
    remaining = iter(items)
    while True:
        try:
            yield from _run_pool(make_work, remaining, workers, suspects)
        except BrokenProcessPool:
            # Some item in flight brought its process down; alone in a pool each shows whether it was the one.
            for item in list(suspects):
                try:
                    yield from _run_pool(make_work, iter([item]), 1, [])
                except BrokenProcessPool:
                    yield item, WorkerDied("its worker process was killed (out of memory?)")
            continue
        return


def _run_pool(
    make_work: Callable[[], Work], items: Iterator[Any], workers: int, in_flight: list[Any]
) -> Iterator[tuple[Any, Any]]:
    """Results of one pool of processes; `in_flight` always holds the items whose results are not out yet."""
    in_flight.clear()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(make_work,)) as pool:
        pending = {}
        try:
            while True:
                for item in islice(items, workers * (1 + AHEAD_PER_WORKER) - len(pending)):
                    in_flight.append(item)
                    pending[pool.submit(_call, item)] = item
                if not pending:
                    return
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    item = pending.pop(future)
                    in_flight.remove(item)
                    yield item, result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_work: Work | None = None


def _start(make_work: Callable[[], Work]) -> None:
    global _work
    leave_signals_to_parent()
    keep_freed_memory()
    _work = make_work()


def _call(item: Any) -> Any:
    try:
        return _work(item)
    except Exception as error:  # one item of many is isolated here; the runner records the reason
        return error


def choose_executor(name: str, ray_address: str | None) -> Executor:
    """The executor `local`, or `ray` on the cluster at the address. Raises UserError if it cannot be had."""
    if name == "local":
        return run_locally
    from preprocessing.ray_executor import run_on_ray

    connect(ray_address)
    return run_on_ray
