"""Running a network over many items in batches that shrink when the device's memory runs out."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    run: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    size: int,
    what: str,
    constant: bool = False,
) -> tuple[list[Result], int]:
    """Results of `run` over consecutive batches of at most `size` items, and the batch size that worked.

    With `constant` every batch has `size` items: the last is filled up with its last item, of which only the first
    result is kept. When a batch does not fit into the device's memory the size is halved, a line on stderr says so, and
    the batch is tried again; a single item that does not fit raises torch.OutOfMemoryError.
    """
    import torch

    results: list[Result] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + size]
        wanted = len(batch)
        if constant:
            batch = [*batch, *[batch[-1]] * (size - wanted)]
        try:
            results += run(batch)[:wanted]
            continue
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        # Outside the handler: the exception's traceback would keep the failed batch's tensors alive.
        size = len(batch) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{what}: out of device memory, batch reduced to {size}", file=sys.stderr)
    return results, size
