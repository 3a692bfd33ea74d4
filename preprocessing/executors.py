"""Where a stage's work is done. An executor takes the items one by one and gives back what became of each."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any, Protocol

from common.errors import one_line
from common.limits import how_it_ended
from common.memory import be_killed_first, keep_freed_memory
from common.processes import leave_signals_to_parent, start_fork_server

Work = Callable[[Any], Any]


class WorkerDied(Exception):
    """The process that worked on an item has ended; the message says how."""


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
    waiting = deque(items)
    idle: list[_Worker] = []
    busy: dict[connection.Connection, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else _Worker(make_work)
                worker.begin(waiting.popleft())
                busy[worker.pipe] = worker
            for pipe in connection.wait(list(busy)):
                worker = busy.pop(pipe)
                item, result = worker.item, worker.result()
                if _is_of_no_use_after(result):
                    worker.end()
                else:
                    idle.append(worker)
                yield item, result
    finally:
        # Interrupted, they finish what they have begun: half of it would have to be removed.
        workers_left = [*idle, *busy.values()]
        for worker in workers_left:
            worker.pipe.close()
        for worker in workers_left:
            worker.process.join()


def _is_of_no_use_after(result: Any) -> bool:
    """Whether a worker ends with such a result: one that was refused memory may keep what it has for ever, and after
    most errors of CUDA all that is asked of it fails, at once, so that it would take the items from the others.
    """
    of_cuda = isinstance(result, RuntimeError) and "CUDA" in str(result)
    return of_cuda or isinstance(result, (WorkerDied, MemoryError))


class _Worker:
    """A process that does one item at a time."""

    def __init__(self, make_work: Callable[[], Work]):
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        # The server that forks it may be older than what the run has in its environment.
        self.process = context.Process(target=_serve, args=(theirs, make_work, dict(os.environ)), daemon=True)
        try:
            self.process.start()
        except (EOFError, OSError):
            # The server that forks it was killed meanwhile (out of memory?); it is started again for the next attempt.
            self.process.start()
        theirs.close()  # so that it is noticed when the process ends
        self.item: Any = None

    def begin(self, item: Any) -> None:
        self.item = item
        with suppress(OSError):  # that it has ended is noticed when its result is awaited
            self.pipe.send(item)

    def result(self) -> Any:
        """What became of the item: the work's result, the exception it raised, or WorkerDied."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return WorkerDied(how_it_ended(self.process.exitcode))
        except Exception as error:  # the result cannot be read, which is this item's fault alone
            return error

    def end(self) -> None:
        self.pipe.close()
        self.process.join()


def _serve(pipe: connection.Connection, make_work: Callable[[], Work], environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    leave_signals_to_parent()
    be_killed_first()
    keep_freed_memory()
    work: Work | None = None
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            work = work or make_work()
            result = work(item)
        except Exception as error:  # one item of many is isolated here; the runner records the reason
            result = error
        try:
            _tell(pipe, result)
        except OSError:  # nobody wants to know
            return


def _tell(pipe: connection.Connection, result: Any) -> None:
    try:
        pipe.send(result)
    except OSError:
        raise
    except Exception as error:  # an exception may hold anything
        pipe.send(RuntimeError(f"{type(result).__name__}: {one_line(result)} ({type(error).__name__} in sending it)"))
