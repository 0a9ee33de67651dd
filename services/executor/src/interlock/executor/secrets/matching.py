"""Finding forms of secrets in text whose line breaks have been taken out. Pure.

The work is done by `bytes.find`, once a form: linear in the text (CPython's search is the two-way algorithm of
Crochemore and Perrin where that matters), and far faster than an automaton in Python would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from interlock.executor.secrets.encodings import LEAST, forms

_PROBE: Final = 64


class Match(NamedTuple):
    """Where a form was found: from `start`, `end` excluded, of the text without line breaks."""

    start: int
    end: int
    name: str


class Patterns:
    """The forms of some secrets, by name. Immutable; any number of searches at a time."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        named: dict[bytes, str] = {}
        for name in sorted(values):
            for form in forms(values[name]):
                named.setdefault(form, name)
        self._items = sorted(named.items(), key=lambda item: (-len(item[0]), item[0]))
        self._beginnings = [frozenset(form[:size] for form in named) for size in range(LEAST)]
        self.longest = len(self._items[0][0]) if self._items else 0

    def find(self, flat: bytes) -> list[Match]:
        """Every occurrence of every form, also overlapping ones; by start, then the longest first."""
        found: list[Match] = []
        for form, name in self._items:
            at = flat.find(form)
            while at >= 0:
                found.append(Match(at, at + len(form), name))
                at = flat.find(form, at + 1)
        found.sort(key=lambda match: (match.start, -match.end, match.name))
        return found

    def unfinished(self, flat: bytes) -> int:
        """Length of the longest end of `flat` that is the beginning, and not the whole, of a form; 0 for none."""
        size = len(flat)
        best = next((k for k in range(min(size, LEAST - 1), 0, -1) if flat[-k:] in self._beginnings[k]), 0)
        for form, _ in self._items:
            at = flat.find(form[:LEAST], max(0, size - len(form) + 1))
            while at >= 0 and size - at > best:
                if flat.startswith(form[: min(size - at, _PROBE)], at) and flat.startswith(
                    form[: size - at], at
                ):
                    best = size - at
                    break
                at = flat.find(form[:LEAST], at + 1)
        return best
