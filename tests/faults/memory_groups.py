"""A group of processes that together get no more than so much memory: beyond it the system kills one of them."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.disks import Impossible

CONTROL = Path("/sys/fs/cgroup")
STEP = 1 << 20
PATIENCE = 30  # seconds for processes to end


class MemoryGroup:
    """A memory control group of Linux, of the first or the second version, in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        first = (folder / "memory.limit_in_bytes").exists()
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
        self._limit, self._usage, self._events = names if first else ("memory.max", "memory.current", "memory.events")
        if not (folder / self._limit).exists():
            raise Impossible("the system does not hand out control of memory here")

    @property
    def enter(self) -> str:
        """Shell that puts the shell into the group, and so what it starts."""
        return f"echo $$ > '{self.folder}/cgroup.procs'"

    def allow_no_more(self) -> None:
        """Limit the group to what it has now; what the system can do without it gives back first."""
        allowed = int((self.folder / self._usage).read_text()) // 2
        while True:
            try:
                (self.folder / self._limit).write_text(str(allowed))
                return
            except OSError:  # so much is needed at this moment, says the first version; the second kills
                allowed += STEP

    def kills(self) -> int:
        """How many processes the system has killed for want of memory."""
        events = dict(line.split() for line in (self.folder / self._events).read_text().splitlines())
        return int(events.get("oom_kill", 0))


@contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """A group while the block runs. Raises Impossible where the system does not allow it."""
    parent = CONTROL / "memory" if (CONTROL / "memory").is_dir() else CONTROL
    try:
        folder = Path(tempfile.mkdtemp(prefix="faults_", dir=parent))
    except OSError as error:
        raise Impossible(f"a group with a memory limit needs root and {parent} to be writable: {error}") from error
    try:
        yield MemoryGroup(folder)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(OSError):  # what was killed is not gone at once
            return folder.rmdir()
        time.sleep(0.05)
