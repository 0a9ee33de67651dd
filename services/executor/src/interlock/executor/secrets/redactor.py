"""Taking secrets out of a stream, however it is cut into chunks.

Every occurrence of a form (see `encodings`) becomes `[secret:NAME]`; occurrences that share bytes become one. Line
breaks are no part of a form: up to eight CR and LF in a row may stand between any two of its bytes. The result
depends on the stream only, not on its chunks. Held back is the shortest end of the stream that may be the beginning of
a form, with its line breaks: at most nine times the longest form. Everything else goes on at once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from interlock.executor.secrets.encodings import LINE_BREAKS
from interlock.executor.secrets.matching import Match, Patterns

MOST_BREAKS: Final = 8
"""Line breaks in a row within a form; more of them end it, so that what is held back is bounded."""

_RUN: Final = re.compile(rb"[\r\n]+")
_LONG_RUN: Final = re.compile(rb"[\r\n]{%d,}" % (MOST_BREAKS + 1))


def marker(name: str) -> bytes:
    """What stands in place of a secret."""
    return b"[secret:" + name.encode() + b"]"


class Redactor:
    """One stream: `feed` its chunks, then `finish`. `found` are the names of the secrets that were in it."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._held = b""
        self._covered = 0  # bytes at the beginning of `_held` that a marker given out before stands for
        self.found: set[str] = set()

    def feed(self, data: bytes) -> bytes:
        """The next part of the redacted stream; empty while nothing is certain."""
        return self._take(self._held + data, final=False)

    def finish(self) -> bytes:
        """What was held back. The stream has ended."""
        return self._take(self._held, final=True)

    def _take(self, text: bytes, *, final: bool) -> bytes:
        flat = text.translate(None, LINE_BREAKS)
        matches = self._patterns.find(flat)
        left = 0 if final else self._patterns.unfinished(flat)
        if matches or self._covered:
            return self._replace(text, flat, matches, final=final)
        if not left:
            self._held = b""
            return text
        tail = _tail(text, left)
        if _LONG_RUN.search(text, len(text) - tail):
            return self._replace(text, flat, matches, final=final)
        self._held = text[-tail:]
        return text[:-tail]

    def _replace(self, text: bytes, flat: bytes, matches: list[Match], *, final: bool) -> bytes:
        places = _Places(text)
        matches = [match for match in matches if not places.cut(match)]
        self.found.update(match.name for match in matches)
        last = places.last_cut(len(flat))
        hold = len(flat) - (0 if final else self._patterns.unfinished(flat[last:]))
        held_from = places.raw(hold) if hold < len(flat) else len(text)
        pieces: list[bytes] = []
        done = 0
        for start, end, name in self._merged(text, matches):
            if start >= hold:
                break
            if name:
                pieces += (text[done : places.raw(start)], marker(name))
            done = places.raw(end - 1) + 1
        pieces.append(text[done:held_from])
        self._held, self._covered = text[held_from:], max(done - held_from, 0)
        return b"".join(pieces)

    def _merged(self, text: bytes, matches: list[Match]) -> list[Match]:
        """Matches that share bytes as one, under the name of the first; without a name where it was given out."""
        merged: list[Match] = []
        if self._covered:
            # Before everything, also before what is held back from the very beginning.
            merged.append(Match(-1, len(text[: self._covered].translate(None, LINE_BREAKS)), ""))
        for match in matches:
            if merged and match.start < merged[-1].end:
                merged[-1] = merged[-1]._replace(end=max(match.end, merged[-1].end))
            else:
                merged.append(match)
        return merged


class _Places:
    """From positions in the text without line breaks to positions in the text."""

    def __init__(self, text: bytes) -> None:
        self._at: list[int] = []
        self._removed: list[int] = []
        self._cuts: list[int] = []
        removed = 0
        for run in _RUN.finditer(text):
            self._at.append(run.start() - removed)
            if run.end() - run.start() > MOST_BREAKS:
                self._cuts.append(run.start() - removed)
            removed += run.end() - run.start()
            self._removed.append(removed)

    def raw(self, flat: int) -> int:
        """Where the byte at `flat` is in the text."""
        index = bisect_right(self._at, flat) - 1
        return flat + (self._removed[index] if index >= 0 else 0)

    def cut(self, match: Match) -> bool:
        """Whether too many line breaks stand within a match."""
        index = bisect_right(self._cuts, match.start)
        return index < len(self._cuts) and self._cuts[index] < match.end

    def last_cut(self, size: int) -> int:
        """Where the last part begins that a form can be in."""
        return min(self._cuts[-1], size) if self._cuts else 0


def _tail(text: bytes, wanted: int) -> int:
    """Length of the shortest end of `text` with so many bytes that are no line breaks."""
    size = wanted
    while (have := len(text[-size:].translate(None, LINE_BREAKS))) < wanted:
        size += wanted - have
    return size


def redact(patterns: Patterns, text: bytes) -> bytes:
    """A whole text at once."""
    redactor = Redactor(patterns)
    return redactor.feed(text) + redactor.finish()
