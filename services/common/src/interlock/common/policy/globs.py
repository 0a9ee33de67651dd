"""Paths by patterns, as `.gitignore` has them: `*` and `?` within a name, `**` for any number of directories.

A pattern without `/` is about names anywhere (`*.pem`); one with a `/` is about paths from the workspace's root
(`docs/**`, `src/*.py`); one that ends in `/` is about everything below (`.git/`). Matching takes time in proportion to
path times pattern, whatever either is: paths are what a step makes them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_PATTERN_CHARS: Final = 500
MAX_PATTERNS: Final = 100
_ANY: Final = "**"


class Glob:
    """One pattern. Raises ValueError for an empty or overlong one."""

    __slots__ = ("_parts", "expression")

    def __init__(self, pattern: str) -> None:
        if not 0 < len(pattern) <= MAX_PATTERN_CHARS:
            raise ValueError(f"a pattern has 1 to {MAX_PATTERN_CHARS} characters, not {len(pattern)}")
        self._parts = _parts(pattern)
        self.expression = _expression(self._parts)

    def matches(self, path: str) -> bool:
        """Whether the whole path is one of those meant."""
        return _match(self._parts, path.split("/"))


def _parts(pattern: str) -> tuple[str, ...]:
    below = pattern.endswith("/")
    parts = [part for part in pattern.split("/") if part]
    anywhere = "/" not in pattern.rstrip("/") and not pattern.startswith("/")
    found = ([_ANY] if anywhere and parts[:1] != [_ANY] else []) + parts + ([_ANY] if below else [])
    return tuple(part for at, part in enumerate(found) if part != _ANY or found[at - 1 : at] != [_ANY])


def _expression(parts: tuple[str, ...]) -> str:
    """A regular expression for what needs no search: one `*` a name, and `**` at the ends alone; else empty."""
    if any(part.count("*") > 1 for part in parts if part != _ANY) or _ANY in parts[1:-1]:
        return ""
    if parts == (_ANY,):
        return ".*"
    head, tail = parts[:1] == (_ANY,), len(parts) > 1 and parts[-1] == _ANY
    names = "/".join(_name(part) for part in parts[head : len(parts) - tail])
    return ("(?:.*/)?" if head else "") + names + ("(?:/.*)?" if tail else "")


def _name(part: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part)


def _match(parts: tuple[str, ...], names: list[str]) -> bool:
    """By a table over parts and names (dynamic programming): reached[n] = the parts so far match the first n names."""
    reached = [True] + [False] * len(names)
    for part in parts:
        if part == _ANY:
            first = reached.index(True) if True in reached else len(reached)
            reached = [n >= first for n in range(len(reached))]
            continue
        reached = [False] + [reached[n] and _fits(part, names[n]) for n in range(len(names))]
    return reached[-1]


def _fits(pattern: str, name: str) -> bool:
    """Whether a name matches, going back to the last `*` only."""
    p = n = 0
    star = mark = -1
    while n < len(name):
        if p < len(pattern) and pattern[p] == "*":
            star, mark, p = p, n, p + 1
        elif p < len(pattern) and pattern[p] in ("?", name[n]):
            p, n = p + 1, n + 1
        elif star >= 0:
            p, mark = star + 1, mark + 1
            n = mark
        else:
            return False
    return all(char == "*" for char in pattern[p:])


class Globs:
    """Several patterns as one."""

    __slots__ = ("_fast", "_slow")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        if len(patterns) > MAX_PATTERNS:
            raise ValueError(f"at most {MAX_PATTERNS} patterns, not {len(patterns)}")
        globs = [Glob(pattern) for pattern in patterns]
        fast = "|".join(glob.expression for glob in globs if glob.expression)
        self._fast = re.compile(fast, re.DOTALL) if fast else None
        self._slow = tuple(glob for glob in globs if not glob.expression)

    def matches(self, path: str) -> bool:
        """Whether any of them is about the path."""
        if self._fast is not None and self._fast.fullmatch(path):
            return True
        return any(glob.matches(path) for glob in self._slow)


_compiled = lru_cache(maxsize=512)(Globs)


def any_match(paths: list[str], patterns: list[str]) -> bool:
    """Whether any of the paths matches any of the patterns."""
    return any(map(_compiled(tuple(patterns)).matches, paths))


def all_match(paths: list[str], patterns: list[str]) -> bool:
    """Whether every path matches some pattern; true without paths."""
    return all(map(_compiled(tuple(patterns)).matches, paths))


def one_match(path: str, patterns: list[str]) -> bool:
    """Whether the path matches some pattern."""
    return _compiled(tuple(patterns)).matches(path)
