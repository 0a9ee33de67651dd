"""Keys in what a server sends back: some echo a request's headers in their errors, or in a reply."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LEAST = 6  # shorter texts are in every reply; no server gives such a key
_INSTEAD = b"***"


class Keys:
    """The secret values of one gateway's headers, taken out of bytes, as they are and as JSON may escape them."""

    def __init__(self, values: Iterable[str]) -> None:
        known = sorted({value for value in values if len(value) >= _LEAST}, key=len, reverse=True)
        forms = "|".join("".join(_form(char) for char in value) for value in known)
        self._pattern = re.compile(forms.encode(), re.IGNORECASE) if known else None

    def out_of(self, body: bytes) -> bytes:
        """The same bytes with ``***`` in the place of each key."""
        return self._pattern.sub(_INSTEAD, body) if self._pattern else body


def _form(char: str) -> str:
    """A character of a key; JSON in JSON puts backslashes before some, or writes them as ``\\u00XX``."""
    if char.isalnum():
        return char
    return rf"\\*(?:{re.escape(char)}|u00{ord(char):02x})"
