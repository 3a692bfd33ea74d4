"""Disks that are full or cannot be written to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Impossible(Exception):
    """A fault that cannot be brought about here, and why."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own at `folder`, 4 GB at first. Raises Impossible where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", "size=4g", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def mount(*options: str) -> None:
    if os.geteuid() or not shutil.which("mount"):
        raise Impossible("mounting a small disk needs root")
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"mount: {done.stderr.strip()}")


def resize(disk: Path, megabytes: float) -> None:
    mount("-o", f"remount,size={int(megabytes * 1024)}k", str(disk))
