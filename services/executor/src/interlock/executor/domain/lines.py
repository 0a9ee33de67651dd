"""Choosing lines of a file's content."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason


def select_lines(content: bytes, start: int, end: int, path: str) -> bytes:
    """Lines `start` to `end`, 1-based, inclusive, newlines kept; 0 leaves an end open.

    Raises INVALID_ARGUMENT for a range that is empty or begins after the last line.
    """
    if end and start > end:
        raise _bad(f"Line {start} comes after line {end}.")
    if start <= 1 and not end:
        return content
    lines = content.split(b"\n")
    count = len(lines) - (not lines[-1])
    if start > max(count, 1):
        raise _bad(f"{path} has {count} lines; line {start} does not exist.")
    keep = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return b"".join(keep[max(start - 1, 0) : end or None])


def _bad(message: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT, message, field="start_line", fix="Give a range within the file."
    )
