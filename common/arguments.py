"""Command lines: options explained with their defaults, numbers with their bounds, and one line for what is wrong."""

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from common.errors import one_line

MOST_DIGITS = 20


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to an option's help where there is one to tell, and the help does not tell it itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default, told = action.default, "(default: " in (action.help or "")
        nothing = default is None or default is False or default in ([], ())
        return action.help if told or nothing else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse that shows defaults in its help and ends on a usage error with one line and exit code 2."""

    def __init__(self, **kwargs):
        super().__init__(formatter_class=_Help, allow_abbrev=False, **kwargs)

    def flags(self) -> set[str]:
        """All long options it knows."""
        return {flag for flag in self._option_string_actions if flag.startswith("--")}

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} (--help lists the options)\n")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument that is a whole number of at least `least` and at most `most`, if that is given."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        value = int(text) if text.isdecimal() and len(text) < MOST_DIGITS else -1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bounds}")
        return value

    return read


def decimal_number(fits: Callable[[float], bool], bounds: str) -> Callable[[str], float]:
    """An argument that is a number which `fits`; `bounds` says so in words. Neither NaN nor infinity fits any."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and fits(value)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {bounds}")
        return value

    return read


positive_int = whole_number(1)
# A seed, a fold, a number of processes: what it goes to takes no more.
count = whole_number(0, 2**31 - 1)
# By how much a label keeps its distance from 0 and 1.
under_half = decimal_number(lambda value: 0 <= value < 0.5, "from 0 to under 0.5")
