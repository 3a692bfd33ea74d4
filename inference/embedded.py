"""The small network that comes along, for a first run without a download."""

from pathlib import Path

from common.errors import UserError

CHECKPOINT = Path(__file__).resolve().parent.parent / "weights" / "embedded"

TRUST = (
    "the small network that comes along, weights/embedded, learned from few people: take its labels as a hint, never as"
    " proof (weights/README.md tells how often it is right)"
)


def checkpoint() -> Path:
    """Where it is. Raises UserError if this copy of the project came without it."""
    if not CHECKPOINT.is_file():
        raise UserError(f"{CHECKPOINT}: is missing; name other networks with --models")
    return CHECKPOINT
