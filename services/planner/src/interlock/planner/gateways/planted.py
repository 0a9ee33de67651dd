"""Keys in what a server sends back: some echo a request's headers in their errors, or in a reply."""

from __future__ import annotations

import re
from collections.abc import Iterable

from interlock.planner.gateways.base import Listener

_LEAST = 6  # shorter texts are in every reply; no server gives such a key
_INSTEAD = b"***"


class Keys:
    """The secret values of one gateway's headers, taken out of bytes, as they are and as JSON may escape them."""

    def __init__(self, values: Iterable[str]) -> None:
        known = sorted({value for value in values if len(value) >= _LEAST}, key=len, reverse=True)
        self._values = known
        forms = "|".join("".join(_form(char) for char in value) for value in known)
        self._pattern = re.compile(forms.encode(), re.IGNORECASE) if known else None

    def out_of(self, body: bytes) -> bytes:
        """The same bytes with ``***`` in the place of each key."""
        return self._pattern.sub(_INSTEAD, body) if self._pattern else body

    def live(self, listener: Listener) -> LiveText:
        """A listener that is told a text without the keys."""
        return LiveText(listener, self._values)


def _form(char: str) -> str:
    """A character of a key; JSON in JSON puts backslashes before some, or writes them as ``\\u00XX``."""
    if char.isalnum():
        return char
    return rf"\\*(?:{re.escape(char)}|u00{ord(char):02x})"


class LiveText:
    """Tells a listener a text that comes in pieces, without the keys that may be split over them."""

    def __init__(self, listener: Listener, keys: Iterable[str]) -> None:
        self._listener = listener
        self._keys = [key for key in keys if len(key) >= _LEAST]
        self._held = ""

    def add(self, text: str) -> None:
        """The next piece; what could be the beginning of a key waits for the piece after it."""
        known = self._held + text
        for key in self._keys:
            known = known.replace(key, _INSTEAD.decode())
        held = max((_begun(known, key) for key in self._keys), default=0)
        self._held = known[len(known) - held :]
        self._tell(known[: len(known) - held])

    def flush(self) -> None:
        """Nothing comes any more."""
        self._tell(self._held)
        self._held = ""

    def _tell(self, text: str) -> None:
        if text:
            self._listener.add(text)


def _begun(text: str, key: str) -> int:
    """How many characters at the end of a text are the beginning of a key."""
    return next((size for size in range(min(len(key) - 1, len(text)), 0, -1) if text.endswith(key[:size])), 0)
