"""Memory that one process fills with frames and another one reads, used again for the next video.

It belongs to no name in any folder and is gone with the processes that hold it. That it is used again is what makes it
as fast as memory of one's own: the system need not clear the pages for every video.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np

from common.memory import THRESHOLD_BYTES


class FrameMemory:
    """A file that only exists in memory, as large as what was ever written into it."""

    def __init__(self):
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("frames")
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        self._mapping: mmap.mmap | None = None

    def __del__(self) -> None:
        os.close(self.descriptor)

    def images(self, sizes: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[np.ndarray]]:
        """All bytes, and the frames of these heights and widths one after another, (h, w, 3) uint8: no copies."""
        lengths = [height * width * 3 for height, width in sizes]
        if self._mapping is None or len(self._mapping) < sum(lengths):
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._mapping = mmap.mmap(self.descriptor, sum(lengths), flags=flags)
        content = np.frombuffer(self._mapping, np.uint8)
        ends = np.cumsum(lengths)
        parts = zip(sizes, lengths, ends, strict=True)
        return content, [content[end - length : end].reshape(*size, 3) for size, length, end in parts]

    @property
    def is_large(self) -> bool:
        return os.fstat(self.descriptor).st_size > THRESHOLD_BYTES


class FrameMemories:
    """Memory for as many videos as have frames at a time."""

    def __init__(self):
        self._free: list[FrameMemory] = []

    def take(self) -> FrameMemory:
        try:
            return self._free.pop()
        except IndexError:
            return FrameMemory()

    def give_back(self, memory: FrameMemory) -> None:
        """What a huge video has taken is returned to the system, all other memory kept for the next one."""
        if not memory.is_large:
            self._free.append(memory)

    def lend(self, memory: FrameMemory, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """The frames in it; it is given back with the last reference to one of them."""
        content, images = memory.images(sizes)
        weakref.finalize(content, self.give_back, memory)
        return images
