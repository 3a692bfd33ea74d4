"""What all plots have in common."""

# Okabe and Ito's palette, which colour-blind readers can tell apart; the line style changes when it is used up.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", ":")


def look_of(index: int) -> dict[str, str]:
    """Colour and line style of the index-th curve, as matplotlib's arguments."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINE_STYLES[index // len(COLOURS) % len(LINE_STYLES)],
    }


def drawable(name: str) -> str:
    """`name` as a plot and an SVG file can hold it; dollars would start a formula, a first underscore hides a curve."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    shown = shown if len(shown) <= 50 else f"{shown[:24]}...{shown[-24:]}"
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")
