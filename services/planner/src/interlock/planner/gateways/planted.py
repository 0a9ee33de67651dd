"""Keys in what a server sends back: some echo a request's headers in their errors, or in a reply."""

from __future__ import annotations

from collections.abc import Iterable

_LEAST = 6  # shorter texts are in every reply; no server gives such a key
_INSTEAD = b"***"


class Keys:
    """The secret values of one gateway's headers, taken out of bytes as they are and as JSON escapes them."""

    def __init__(self, values: Iterable[str]) -> None:
        known = {value.encode() for value in values if len(value) >= _LEAST}
        known |= {value.replace(b"/", rb"\/") for value in known}
        self._known = sorted(known, key=len, reverse=True)

    def out_of(self, body: bytes) -> bytes:
        """The same bytes with ``***`` in the place of each key."""
        for key in self._known:
            if key in body:
                body = body.replace(key, _INSTEAD)
        return body
