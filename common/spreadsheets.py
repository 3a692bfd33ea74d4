"""Cells that a spreadsheet shows as text: one that begins like a formula is computed there, whoever chose the name.

Tables that people open have an apostrophe before such a cell, which spreadsheets take for "text follows". Programs that
read them take it away again.
"""

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def as_text(cell: str) -> str:
    """`cell` for a table that people open in a spreadsheet."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA_BEGINS) else cell


def from_text(cell: str) -> str:
    """What `as_text` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_BEGINS) else cell
