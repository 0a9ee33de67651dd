"""Secrets in names of hosts, which have no case, few characters, and dots where one gets too long. Pure.

What carries a secret out in a name (`<secret>.example.org`) is refused or on the list; either way it is recorded. Here
forms (see `encodings`, and base32) are compared in lower case and without dots, and what holds one is not shown at all.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Final

from interlock.executor.secrets.encodings import LEAST, forms
from interlock.executor.secrets.redactor import marker

CUT: Final = 200
"""Characters after which a name may have been cut off before it came here, and a secret with it."""

_BEGINNING: Final = 4
_LONGEST: Final = 300


class HostNames:
    """Finds the secrets of a step in what it called a host."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        named: dict[str, str] = {}
        for name in sorted(values):
            for form in (*forms(values[name]), *_base32(values[name])):
                folded = _fold(form.decode("latin-1"))
                if len(folded) >= LEAST:
                    named.setdefault(folded, name)
        self._forms = sorted(named.items(), key=lambda item: (-len(item[0]), item[0]))
        self._beginnings = {
            form[:size]: name
            for form, name in reversed(self._forms)
            for size in range(_BEGINNING, min(len(form), _LONGEST) + 1)
        }

    def clean(self, text: str) -> str:
        """The text, or in place of all of it the secret's name."""
        name = self.found(text)
        return marker(name).decode() if name else text

    def found(self, text: str) -> str:
        """The name of a secret that is in it; empty for none."""
        flat = _fold(text)
        for form, name in self._forms:
            if form in flat:
                return name
        sizes = range(_BEGINNING, min(len(flat), _LONGEST) + 1) if len(text) >= CUT else ()
        return next((name for size in sizes if (name := self._beginnings.get(flat[-size:], ""))), "")


def _fold(text: str) -> str:
    return text.lower().replace(".", "")


def _base32(value: bytes) -> Iterator[bytes]:
    """Alone and at each of the five places in a longer text, without the characters that it shares with others."""
    for encode in (base64.b32encode, base64.b32hexencode):
        for before in range(5):
            first, last = -(-before * 8 // 5), (before + len(value)) * 8 // 5
            yield encode(bytes(before) + value)[first:last]
