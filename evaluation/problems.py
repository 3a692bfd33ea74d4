"""What keeps videos out of an evaluation, by kind: each counted and named."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import one_line

KINDS = {
    "unknown": "predicted but not labelled",
    "missing": "labelled but not predicted",
    "ambiguous": "predicted under a name that several labelled videos have (give the labels of that one folder)",
    "duplicate prediction": "predicted more than once",
    "duplicate label": "labelled more than once",
    "bad label": "labelled neither REAL nor FAKE nor 0 nor 1",
    "bad probability": "predicted with what is no number from 0 to 1",
}
MOST_NAMES_SHOWN = 5


@dataclass
class Problems:
    """Names of the videos concerned, each with remarks, by the kinds of `KINDS`."""

    found: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, name: str, *remarks: str) -> None:
        self.found[kind].append((name, *remarks))

    def extend(self, other: "Problems", *remarks: str) -> None:
        for kind, found in other.found.items():
            self.found[kind] += [(*each, *remarks) for each in found]

    def __bool__(self) -> bool:
        return any(self.found.values())

    def named(self) -> dict[str, list[str]]:
        """By kind, in the order of KINDS: all names with their remarks in brackets."""
        return {
            kind: [f"{name} ({', '.join(remarks)})" if remarks else name for name, *remarks in self.found[kind]]
            for kind in KINDS
            if self.found.get(kind)
        }

    def sentences(self) -> list[str]:
        """One for each kind there is: how many videos, with the first names."""
        counts = {kind: len({name for name, *_ in found}) for kind, found in self.found.items()}
        return [f"{counts[kind]} {KINDS[kind]}: {some(names)}" for kind, names in self.named().items()]


def some(names: Sequence[str]) -> str:
    """The first names of many, on one line."""
    more = f" and {len(names) - MOST_NAMES_SHOWN} more" if len(names) > MOST_NAMES_SHOWN else ""
    return ", ".join(one_line(name) for name in names[:MOST_NAMES_SHOWN]) + more
