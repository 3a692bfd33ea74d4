"""Which state of the project is tried out: long runs name it in their tables."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def commit_here() -> str:
    """The commit that is checked out, with a + if files differ from it."""
    git = ["git", "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(git, cwd=REPOSITORY, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
