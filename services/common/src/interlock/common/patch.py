"""Unified diffs of one file: parsing and applying, strictly.

Format: POSIX `diff -u` with git's headers. Context must match exactly where the hunk says, or at one single other
place (line numbers in a written-by-hand patch are often off; two candidates are an ambiguity and refused). Content
is bytes; lines end with LF, and a CR before it belongs to the line.
"""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass
from typing import Final

from interlock.common.errors import InterlockError, Reason

_HUNK: Final = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_NO_NEWLINE: Final = b"\\ No newline at end of file"
_PREAMBLE: Final = (
    b"diff ", b"index ", b"old mode ", b"new mode ", b"new file mode ", b"deleted file mode ", b"similarity index ",
)  # fmt: skip
_REFUSED: Final = (b"rename ", b"copy ", b"Binary files ", b"GIT binary patch")
_DEV_NULL: Final = "/dev/null"
_MOST_COMPARED: Final = 20_000_000
"""Lines compared in all while looking for hunks that are not where they say: about a second."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines with their newlines. `start` is the 1-based line of `before` in the old file (0: before its first)."""

    number: int
    start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """`creates`: the old side is /dev/null. `deletes`: the new side is."""

    hunks: tuple[Hunk, ...]
    creates: bool
    deletes: bool


def parse_patch(data: bytes, path: str) -> Patch:
    """Parse a diff of the file `path`. Raises PATCH_INVALID, naming the line at fault."""
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return _Parser(lines, path).parse()


def apply_patch(patch: Patch, content: bytes | None, path: str) -> bytes | None:
    """The file after the patch; None stands for no file, before and after.

    Raises PATCH_DOES_NOT_APPLY, naming hunk and line.
    """
    if patch.creates != (content is None):
        there = "exists already" if patch.creates else "does not exist"
        raise _misfit(
            f"{path} {there}, and the patch {'creates it' if patch.creates else 'changes it'}.", 1, 0
        )
    lines = _split(content or b"")
    search = _Search(lines)
    result: list[bytes] = []
    done = 0
    for hunk in patch.hunks:
        at = _place(hunk, lines, done, search)
        result += lines[done:at]
        result += hunk.after
        done = at + len(hunk.before)
    result += lines[done:]
    after = b"".join(result)
    if patch.deletes and after:
        raise _misfit(f"The patch deletes {path}, and something of it would be left.", len(patch.hunks), done)
    return None if patch.deletes else after


def _split(content: bytes) -> list[bytes]:
    parts = content.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _place(hunk: Hunk, lines: list[bytes], done: int, search: _Search) -> int:
    """Where the hunk's old lines are, not before `done`."""
    size = len(hunk.before)
    stated = hunk.start - 1 if size else hunk.start
    if stated >= done and tuple(lines[stated : stated + size]) == hunk.before and stated + size <= len(lines):
        return stated
    if not size:
        raise _misfit(
            f"Hunk {hunk.number} adds lines after line {hunk.start}; the file is shorter.",
            hunk.number,
            stated,
        )
    places = search.places(hunk, done)
    if len(places) == 1:
        return places[0]
    if places:
        found = ", ".join(str(place + 1) for place in places[:5])
        raise _misfit(f"Hunk {hunk.number} fits at several places: lines {found}.", hunk.number, hunk.start)
    raise _mismatch(hunk, lines, max(stated, done))


class _Search:
    """Finds hunks that are not where they say.

    Each is looked for where its rarest line is. A patch can be made so that this takes for ever all the same, in a
    file of few different lines; what is compared in all is bounded.
    """

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._where: dict[bytes, list[int]] | None = None
        self._left = _MOST_COMPARED

    def places(self, hunk: Hunk, done: int) -> list[int]:
        """Where its old lines are, at or after `done`; of more than five, six. Raises PATCH_DOES_NOT_APPLY."""
        where = self._index()
        anchor = min(range(len(hunk.before)), key=lambda n: len(where.get(hunk.before[n], ())))
        size, found = len(hunk.before), []
        known = where.get(hunk.before[anchor], [])
        for place in itertools.islice(known, bisect.bisect_left(known, done + anchor), None):
            start = place - anchor
            self._pay(size, hunk)
            if tuple(self._lines[start : start + size]) == hunk.before:
                found.append(start)
                if len(found) > 5:
                    break
        self._pay(size, hunk)
        return found

    def _index(self) -> dict[bytes, list[int]]:
        if self._where is None:
            self._where = {}
            for number, line in enumerate(self._lines):
                self._where.setdefault(line, []).append(number)
        return self._where

    def _pay(self, cost: int, hunk: Hunk) -> None:
        self._left -= cost
        if self._left < 0:
            raise _misfit(
                f"Hunk {hunk.number} is not at line {hunk.start}, and looking for it takes too long.",
                hunk.number,
                hunk.start,
            )


def _mismatch(hunk: Hunk, lines: list[bytes], at: int) -> InterlockError:
    for offset, wanted in enumerate(hunk.before):
        found = lines[at + offset] if at + offset < len(lines) else None
        if found != wanted:
            line = at + offset + 1
            there = "the file ends" if found is None else f"the file has {_shown(found)}"
            return _misfit(
                f"Hunk {hunk.number} does not fit at line {line}: expected {_shown(wanted)}, {there}.",
                hunk.number,
                line,
            )
    return _misfit(f"Hunk {hunk.number} does not fit.", hunk.number, hunk.start)


class _Parser:
    def __init__(self, lines: list[bytes], path: str) -> None:
        self._lines, self._path, self._at = lines, path, 0

    def parse(self) -> Patch:
        old, new = self._header()
        hunks: list[Hunk] = []
        while self._at < len(self._lines):
            if self._lines[self._at].startswith((b"diff ", b"--- ")):
                raise self._bad("a second file; give a patch of one file")
            hunks.append(self._hunk(len(hunks) + 1))
        if not hunks:
            raise self._bad("no hunk (a line starting with @@)")
        creates, deletes = old == _DEV_NULL, new == _DEV_NULL
        if creates and deletes:
            raise self._bad("/dev/null on both sides")
        for name in (old, new):
            self._check_name(name)
        return Patch(tuple(hunks), creates, deletes)

    def _header(self) -> tuple[str, str]:
        while self._at < len(self._lines) and not self._lines[self._at].startswith((b"--- ", b"@@ ")):
            line = self._lines[self._at]
            if line.startswith(_REFUSED):
                raise self._bad("a rename, copy or binary patch; only text of one file can be patched")
            if line.strip() and not line.startswith(_PREAMBLE):
                raise self._bad(f"{_shown(line)} where `--- ` was expected")
            self._at += 1
        if self._at >= len(self._lines):
            raise self._bad("no `--- ` line")
        if self._lines[self._at].startswith(b"@@ "):
            return "", ""  # hunks without a header are unambiguous: the file is given
        old = self._name(b"--- ")
        return old, self._name(b"+++ ")

    def _name(self, prefix: bytes) -> str:
        line = self._lines[self._at] if self._at < len(self._lines) else b""
        if not line.startswith(prefix):
            raise self._bad(f"no `{prefix.decode()}` line")
        self._at += 1
        # A tab and a time may follow the name.
        return line[len(prefix) :].split(b"\t")[0].rstrip(b"\r ").decode("utf-8", "surrogateescape")

    def _check_name(self, name: str) -> None:
        if (
            name in ("", _DEV_NULL, self._path)
            or name.partition("/")[2] == self._path
            or name.startswith('"')
        ):
            return
        raise InterlockError(
            Reason.PATCH_INVALID,
            f"The patch is of {_shown(name.encode('utf-8', 'surrogateescape'))}, not of {self._path}.",
            field="patch",
            fix="Give a patch of the file that `path` names.",
        )

    def _hunk(self, number: int) -> Hunk:
        match = _HUNK.match(self._lines[self._at])
        if match is None:
            raise self._bad(
                f"{_shown(self._lines[self._at])} where `@@ -line,count +line,count @@` was expected"
            )
        counts = [1 if group is None else int(group) for group in (match[2], match[4])]
        header = self._at
        self._at += 1
        before, after = self._body(counts)
        if not before and not after:
            self._at = header
            raise self._bad("an empty hunk")
        if before and not int(match[1]):
            self._at = header
            raise self._bad("line 0 of a file that has lines")
        return Hunk(number, int(match[1]), tuple(before), tuple(after))

    def _body(self, counts: list[int]) -> tuple[list[bytes], list[bytes]]:
        before: list[bytes] = []
        after: list[bytes] = []
        while len(before) < counts[0] or len(after) < counts[1]:
            if self._at >= len(self._lines):
                raise self._bad("the end, within a hunk: its line counts are too high")
            line = self._lines[self._at]
            mark, text = line[:1], line[1:] + b"\n"
            # Some editors strip the space of an empty context line.
            if mark not in (b" ", b"-", b"+", b""):
                raise self._bad(f"{_shown(line)} where a line starting with space, + or - was expected")
            if mark != b"+":
                before.append(text if mark else b"\n")
            if mark != b"-":
                after.append(text if mark else b"\n")
            self._at += 1
            self._no_newline(mark, before, after)
        if len(before) != counts[0] or len(after) != counts[1]:
            self._at -= 1
            raise self._bad("more lines than the hunk's counts say")
        return before, after

    def _no_newline(self, mark: bytes, before: list[bytes], after: list[bytes]) -> None:
        if self._at < len(self._lines) and self._lines[self._at].startswith(b"\\"):
            if not self._lines[self._at].startswith(_NO_NEWLINE[:2]):
                raise self._bad("an unknown mark")
            if mark != b"+":
                before[-1] = before[-1][:-1]
            if mark != b"-":
                after[-1] = after[-1][:-1]
            self._at += 1

    def _bad(self, what: str) -> InterlockError:
        return InterlockError(
            Reason.PATCH_INVALID,
            f"Line {self._at + 1} of the patch: {what}.",
            field="patch",
            fix="Give a unified diff of one file, as `diff -u` or `git diff` write it.",
            metadata={"line": str(self._at + 1)},
        )


def _misfit(message: str, hunk: int, line: int) -> InterlockError:
    return InterlockError(
        Reason.PATCH_DOES_NOT_APPLY,
        message,
        field="patch",
        fix="Read the file as it is now and make the patch again.",
        metadata={"hunk": str(hunk), "line": str(line)},
    )


def _shown(line: bytes) -> str:
    text = line.rstrip(b"\n").decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 80 else text[:77] + "...")
