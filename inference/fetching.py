"""Videos that lie in an object store are decoded from a temporary copy, one for each that is being decoded."""

from collections.abc import Callable, Iterable
from pathlib import Path

from common.places import Remote, RemoteError, local_copy
from faces.video import Frames, VideoError

Choose = Callable[[int], Iterable[int]]


def fetching(read: Callable[[Path, Choose], Frames]) -> Callable[[Path | Remote, Choose], Frames]:
    """`read`, of a Remote too: it is copied first, in the thread that reads, and the copy removed afterwards.

    Raises VideoError if it cannot be copied.
    """

    def read_copy(path: Path | Remote, choose: Choose) -> Frames:
        try:
            with local_copy(path) as local:
                return read(local, choose)
        except RemoteError as error:
            raise VideoError(f"cannot be fetched: {error}") from error

    return read_copy
