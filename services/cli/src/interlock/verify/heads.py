"""Heads that were noted while a run went on: each says what the digest of one of its events was.

Nothing in a journal that was cut after one of its events, or written anew with care, says so. A head that somebody
else has kept does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_NOTE = re.compile(r"(sha256:[0-9a-f]{64})(?:@([1-9][0-9]{0,15}))?")
_LINE = re.compile(r"(\S{1,64}) ([1-9][0-9]{0,15}) (sha256:[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """That event `seq` (0 = the last one) has this digest; of any run when `run_id` is empty."""

    digest: str
    seq: int = 0
    run_id: str = ""


def parse(text: str) -> Head:
    """`sha256:…` or `sha256:…@N`. Raises ValueError."""
    found = _NOTE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:100]!r} is not a head: sha256: and 64 hex digits, and @N for event N")
    return Head(found[1], int(found[2] or 0))


def read(path: str | Path) -> list[Head]:
    """The heads in a file: lines of `RUN SEQ DIGEST`, as a subscriber records them.

    A last line without its newline was cut off while it was written: it is left out. Raises OSError, ValueError.
    """
    heads: dict[Head, None] = {}
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            found = _LINE.fullmatch(line.removesuffix("\n"))
            if not line.endswith("\n"):
                break
            if found is None:
                raise ValueError(f"{path}, line {number} is not RUN SEQ DIGEST")
            heads[Head(found[3], int(found[2]), found[1])] = None
    return list(heads)


def line(run_id: str, seq: int, digest: str) -> str:
    """A line of such a file."""
    return f"{run_id} {seq} {digest}\n"


@dataclass(slots=True)
class Noted:
    """Compares the heads with a chain as it goes by: `at` with each event, `wrong` when it has ended."""

    heads: Iterable[Head]
    run_id: str = ""
    _digests: dict[int, str] = field(default_factory=dict)
    _wanted: dict[int, set[str]] = field(default_factory=dict)

    def begin(self, run_id: str) -> None:
        """The run is known now: only heads of it count."""
        self.run_id = run_id
        for head in self.heads:
            if head.run_id in ("", run_id):
                self._wanted.setdefault(head.seq, set()).add(head.digest)

    def at(self, seq: int, digest: str) -> None:
        """The next event."""
        if seq in self._wanted:
            self._digests[seq] = digest

    @property
    def count(self) -> int:
        """How many heads are about this run."""
        return sum(map(len, self._wanted.values()))

    def wrong(self, length: int, head: str) -> list[str]:
        """What is not as it was noted, of a chain of `length` events that ends with `head`."""
        found = [
            f"its head is {head}, not the expected {each}" for each in self._wanted.get(0, ()) if each != head
        ]
        kept = 0
        for seq, digests in sorted(self._wanted.items()):
            here = self._digests.get(seq)
            if seq == 0:
                continue
            if digests == {here}:
                kept = seq
            elif seq > length:
                found.append(
                    f"event {seq} was noted, with the digest {min(digests)}; the journal ends after event {length}: "
                    "its tail was cut off"
                )
            else:
                since = (
                    f"after event {kept}, which is as it was noted" if kept else "at the beginning or later"
                )
                found.append(
                    f"event {seq} is not the one that was noted, {min(digests - {here or ''})}: "
                    f"the journal was rewritten, {since}"
                )
        return found
