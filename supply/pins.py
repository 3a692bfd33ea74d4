"""The exact versions that the requirement files name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
# What the pipeline runs on: all of it, and what is installed without its own requirements.
RUNTIME = (ROOT / "requirements-lock.txt", ROOT / "requirements-nodeps.txt")


class Pin(NamedTuple):
    """A package, by its normalised name, and a version of it."""

    package: str
    version: str


def read_pins(*paths: str | Path) -> list[Pin]:
    """What the lines `name==version` of the files name, each once, in order; several versions if markers choose.

    Raises UserError at a line that pins nothing.
    """
    return list(dict.fromkeys(pin for path in paths for pin in _pins_of(path)))


def _pins_of(path: str | Path) -> Iterator[Pin]:
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", "--hash=")):
            continue
        found = re.match(r"([\w.-]+)(?:\[[\w,.-]+\])?==([\w.+!-]+)\s*(?:[;#\\].*)?$", line)
        if not found:
            raise UserError(f"{path}: line {number} is not 'name==version'")
        yield Pin(canonicalize_name(found[1]), found[2])
