"""Heads that were noted while a run went on: each says what the digest of one of its events was.

Nothing in a journal that was cut after one of its events, or written anew with care, says so. A head that somebody
else has kept does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


def about(run_id: str, heads: Iterable[Head]) -> dict[int, set[str]]:
    """The digests noted of a run's events, by seq."""
    found: dict[int, set[str]] = {}
    for head in heads:
        if head.run_id in ("", run_id):
            found.setdefault(head.seq, set()).add(head.digest)
    return found


def wrong(noted: dict[int, set[str]], digests: Sequence[str], head: str) -> list[str]:
    """What is not as it was noted, of a chain whose events have these digests and that ends with `head`."""
    found = [f"its head is {head}, not the expected {each}" for each in noted.get(0, ()) if each != head]
    kept = 0
    for seq in sorted(noted.keys() - {0}):
        here = digests[seq - 1] if seq <= len(digests) else ""
        others = noted[seq] - {here}
        if not others:
            kept = seq
        elif not here:
            found.append(
                f"event {seq} was noted, with the digest {min(others)}; the journal ends after event "
                f"{len(digests)}: its tail was cut off"
            )
        else:
            since = f"after event {kept}, which is as it was noted" if kept else "at the beginning or later"
            found.append(
                f"event {seq} is not the one that was noted, {min(others)}: the journal was rewritten, {since}"
            )
    return found
