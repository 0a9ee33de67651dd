"""Where a subscriber stands, as opaque text that outlives this process.

A cursor embeds the orchestrator's own cursor (from the last message boundary at or before the place) and the
position of the last change seen: a service that has just started can go on from it by asking the orchestrator
from there and skipping what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from interlock.common.paging import decode_cursor, encode_cursor

_SCOPE = "Approval/Subscribe"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed.

    Attributes:
        upstream: the orchestrator's cursor at or before this place.
        position: of the last change seen; changes up to it are skipped.
        generation: which in-memory view the subscriber's snapshot came from; empty when none did.
        after: inside a snapshot, the last approval id sent; None outside.
        standing: what the subscriber could approve by; empty where it did not ask for what it may approve.
    """

    upstream: str
    position: int
    generation: str = ""
    after: str | None = None
    standing: str = ""

    def within_snapshot(self, after: str) -> Cursor:
        """The same place, with the snapshot sent up to an approval."""
        return replace(self, after=after)

    def encode(self) -> str:
        """As opaque text. Remembered: whoever stands at the same place gets the same text."""
        return _encoded(self)


@lru_cache(maxsize=1024)
def _encoded(cursor: Cursor) -> str:
    payload: dict[str, str | int | bool | None] = {"u": cursor.upstream, "p": str(cursor.position)}
    if cursor.generation:
        payload["g"] = cursor.generation
    if cursor.after is not None:
        payload["a"] = cursor.after
    if cursor.standing:
        payload["s"] = cursor.standing
    return encode_cursor(_SCOPE, payload)


def decode(text: str) -> Cursor:
    """Read a cursor. Raises CURSOR_INVALID."""
    contents = decode_cursor(_SCOPE, text)
    position = contents.text("p", longest=19)
    if not (position.isascii() and position.isdecimal()):
        raise contents.refusal
    return Cursor(
        upstream=contents.text("u"),
        position=int(position),
        generation=contents.text("g", default="", longest=64),
        after=contents.text("a", longest=64) if "a" in contents else None,
        standing=contents.text("s", default="", longest=64),
    )
