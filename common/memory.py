"""How the process holds on to memory it has freed, and who is killed when there is none left."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

# <malloc.h>: blocks above a size are mapped and unmapped one by one; free memory at the top goes back to the system.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
THRESHOLD_BYTES = 1 << 30
MORE_LIKELY = 500  # to be killed, as if it took half of the machine's memory more than it does; the most is 1000


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the system and having them zeroed again.

    Networks and video frames free and take megabytes many times a second; this makes P-Net a third faster. Peak
    memory stays as it is, it is only not given back in between. Does nothing where there is no glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
            mallopt(M_TRIM_THRESHOLD, THRESHOLD_BYTES)


def be_killed_first() -> None:
    """In a worker: if the machine's memory runs out, the system kills it, which costs an item, and not the run.

    Does nothing where the system is not Linux.
    """
    setting = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        if int(setting.read_text()) < MORE_LIKELY:
            setting.write_text(str(MORE_LIKELY))
