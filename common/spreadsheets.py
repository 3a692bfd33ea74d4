"""Cells that a spreadsheet shows as text: one that begins like a formula is computed there, whoever chose the name.

Tables that people open have an apostrophe before such a cell, which spreadsheets take for "text follows". Programs that
read them take it away again.
"""

import csv
from collections.abc import Callable, Sequence
from typing import TextIO

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def row_writer(file: TextIO) -> Callable[[Sequence[str]], object]:
    """What writes rows of CSV to `file`, which is open with `newline=""`."""
    writer = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    # csv forgets to quote a lone carriage return, which readers take for the end of a line.
    return lambda row: (quoting if any("\r" in cell for cell in row) else writer).writerow(row)


def as_text(cell: str) -> str:
    """`cell` for a table that people open in a spreadsheet."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA_BEGINS) else cell


def from_text(cell: str) -> str:
    """What `as_text` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_BEGINS) else cell
