"""Identifiers: `<prefix>-<ulid>`, lower case, sortable by creation time within one process.

ULID (https://github.com/ulid/spec): 48 bits of Unix milliseconds, then 80 random bits, as 26 characters of
Crockford's base 32. Within one millisecond, or when the clock goes back, the random part is incremented, so
that one generator never repeats itself nor goes backwards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Protocol

from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_RANDOM_BITS = 80
_RANDOM_LIMIT = 1 << _RANDOM_BITS
_ULID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")


class Ids(Protocol):
    """A source of new identifiers."""

    def new(self, prefix: str) -> str:
        """A new id, for example `run-01jd9yq8x0c3v7m5k2h4n6p8rs` for the prefix `run`."""
        ...


class UlidIds:
    """ULIDs from a clock and a source of random bytes (`os.urandom` by default)."""

    def __init__(self, clock: Clock, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._randomness = randomness
        self._millis = -1
        self._random = 0

    def new(self, prefix: str) -> str:
        """A ULID later than every earlier one of this object."""
        millis = int(self._clock.now().timestamp() * 1000)
        if millis > self._millis:
            self._millis = millis
            self._random = int.from_bytes(self._randomness(_RANDOM_BITS // 8), "big")
        else:
            self._random += 1
            if self._random == _RANDOM_LIMIT:
                # 2**80 ids in one millisecond do not happen; a random part that began at the top does.
                self._millis, self._random = self._millis + 1, 0
        return f"{prefix}-{_encode((self._millis << _RANDOM_BITS) | self._random)}"


class SequentialIds:
    """Predictable ids for tests: 1, 2, 3 … per prefix, in the form of real ones."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        """The next number of this prefix, written as a ULID."""
        count = self._counts.get(prefix, 0) + 1
        self._counts[prefix] = count
        return f"{prefix}-{_encode(count)}"


def check_id(text: str, prefix: str, *, field: str = "") -> str:
    """Return `text` if it is `<prefix>-<ulid>`; otherwise raise INVALID_ARGUMENT naming `field`."""
    head, _, tail = text.partition("-")
    if head != prefix or not _PREFIX.fullmatch(head) or not _ULID.fullmatch(tail):
        shown = text[:64]
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{shown!r} is not an id of the form {prefix}-<ulid>.",
            field=field,
            fix=f"Copy the id as it was given out; it starts with {prefix}- and has 26 more characters.",
        )
    return text


def _encode(value: int) -> str:
    # Two characters at a time; 130 bits hold the 128 of a ULID.
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])
