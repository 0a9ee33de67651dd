"""Unified diffs, coloured and safe."""

from __future__ import annotations

from typing import TextIO

from interlock.cli.output import use_colour
from interlock.cli.safe import escape_block

_STYLES = (("+++", "1"), ("---", "1"), ("diff ", "1"), ("@@", "36"), ("+", "32"), ("-", "31"))


def print_diff(diff: str, stream: TextIO, limit: int = 0) -> None:
    """Write a diff, coloured on a terminal; `limit` lines at most (0 = all), saying how many are left out."""
    for line in diff_lines(diff, colour=use_colour(stream), limit=limit):
        print(line, file=stream)


def diff_lines(diff: str, *, colour: bool, limit: int = 0) -> list[str]:
    """The lines of a diff, escaped; each coloured by its first characters."""
    lines = diff.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    shown = lines[:limit] if limit else lines
    result = [_paint(escape_block(line)) if colour else escape_block(line) for line in shown]
    if len(shown) < len(lines):
        result.append(f"… {len(lines) - len(shown)} more lines")
    return result


def style_of(line: str) -> str:
    """The ANSI style of a line of a diff; empty for context."""
    return next((style for prefix, style in _STYLES if line.startswith(prefix)), "")


def _paint(line: str) -> str:
    style = style_of(line)
    return f"\x1b[{style}m{line}\x1b[0m" if style else line
