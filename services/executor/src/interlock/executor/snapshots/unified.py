"""Unified diff hunks of one file, and names quoted as git quotes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from interlock.executor.snapshots.lines import Block, changed_blocks

_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
_NO_NEWLINE = b"\\ No newline at end of file\n"


class Hunks(NamedTuple):
    """The text of all hunks, lines added and removed (whole, also when cut), and whether the text was cut."""

    text: bytes
    added: int
    removed: int
    truncated: bool


def quote(name: bytes) -> bytes:
    """A name as git's core.quotePath writes it: plain if it is printable ASCII, else a C string in quotes."""
    if all(32 <= byte < 127 and byte not in (34, 92) for byte in name):
        return name
    out = []
    for byte in name:
        if byte in _ESCAPES:
            out.append("\\" + _ESCAPES[byte])
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:03o}")
    return ('"' + "".join(out) + '"').encode("ascii")


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their newlines; only `\\n` ends a line, as for git."""
    lines = data.split(b"\n")
    last = lines.pop()
    lines = [line + b"\n" for line in lines]
    return [*lines, last] if last else lines


def hunks(old: bytes, new: bytes, *, context: int, max_bytes: int) -> Hunks:
    """The hunks that turn `old` into `new`, cut after the last whole hunk that fits in `max_bytes`.

    A first hunk that does not fit is cut inside, at a line.
    """
    a, b = split_lines(old), split_lines(new)
    blocks = changed_blocks(a, b)
    added = sum(block.new_end - block.new_start for block in blocks)
    removed = sum(block.old_end - block.old_start for block in blocks)
    out: list[bytes] = []
    size = 0
    for group in _groups(blocks, context):
        text = _hunk(a, b, group, context)
        if size + len(text) > max_bytes:
            if not out:
                out.append(_cut(text, max_bytes))
            return Hunks(b"".join(out), added, removed, True)
        out.append(text)
        size += len(text)
    return Hunks(b"".join(out), added, removed, False)


def _groups(blocks: list[Block], context: int) -> list[list[Block]]:
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and block.old_start - groups[-1][-1].old_end <= 2 * context:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups


def _hunk(old: Sequence[bytes], new: Sequence[bytes], group: list[Block], context: int) -> bytes:
    a = max(group[0].old_start - context, 0)
    c = group[0].new_start - (group[0].old_start - a)
    b = min(group[-1].old_end + context, len(old))
    d = group[-1].new_end + (b - group[-1].old_end)
    out = [f"@@ -{_range(a, b)} +{_range(c, d)} @@\n".encode("ascii")]
    at = a
    for block in group:
        out += [_line(b" ", line) for line in old[at : block.old_start]]
        out += [_line(b"-", line) for line in old[block.old_start : block.old_end]]
        out += [_line(b"+", line) for line in new[block.new_start : block.new_end]]
        at = block.old_end
    out += [_line(b" ", line) for line in old[at:b]]
    return b"".join(out)


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n" + _NO_NEWLINE


def _range(start: int, end: int) -> str:
    count = end - start
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"


def _cut(text: bytes, size: int) -> bytes:
    return text[: text.rfind(b"\n", 0, max(size, 0)) + 1]
