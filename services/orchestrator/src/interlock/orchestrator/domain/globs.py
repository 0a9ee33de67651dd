"""Globs over workspace paths: `*` and `?` stay within a name, `**` spans directories, `[ab]` is one of the characters.

Matching takes time proportional to the product of the lengths at most, whatever the pattern: both levels, names in a
path and characters in a name, are the greedy match with one point to go back to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interlock.common.errors import InterlockError, Reason

_ANY = "*"
_ACROSS = "**"


def matches(glob: str, path: str) -> bool:
    """Whether a glob that `check_glob` lets pass is about a path. `a/**` is everything below `a`, not `a` itself."""
    names, parts = path.split("/"), glob.split("/")
    if parts[-1] == _ACROSS:
        parts.insert(-1, _ANY)  # something has to be there
    return _greedy(parts, names, lambda part: part == _ACROSS, _name)


def check_glob(glob: str, field: str) -> None:
    """Raises INVALID_ARGUMENT for one that could be about no path in a workspace."""
    parts = glob.split("/")
    wrong = (
        "is absolute; paths are relative to the workspace root"
        if glob.startswith("/")
        else "has an empty name in it"
        if "" in parts
        else "has . or .. in it"
        if {".", ".."} & set(parts)
        else "has ** as a part of a name; it stands for whole directories"
        if any(_ACROSS in part and part != _ACROSS for part in parts)
        else ""
    )
    if wrong:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The glob {glob[:80]!r} {wrong}.",
            field=field,
            fix="Write src/**, *.md.",
        )


def _name(part: str, name: str) -> bool:
    return _greedy(_tokens(part), name, lambda token: token == _ANY, _character)


def _tokens(part: str) -> list[str]:
    """Single characters, `*`, `?`, and classes `[…]`; a bracket without its end is itself."""
    found, at = [], 0
    while at < len(part):
        end = part.find("]", at + 2) if part[at] == "[" else -1
        stop = end + 1 if end > 0 else at + 1
        found.append(part[at:stop])
        at = stop
    return found


def _character(token: str, character: str) -> bool:
    if token == "?":  # noqa: S105 (a piece of a pattern)
        return True
    if len(token) < 3:
        return token == character
    inside = token[1:-1]
    unwanted = inside[0] in "!^" and len(inside) > 1
    return _in_class(inside[1:] if unwanted else inside, character) is not unwanted


def _in_class(inside: str, character: str) -> bool:
    at = 0
    while at < len(inside):
        if at + 2 < len(inside) and inside[at + 1] == "-":
            if inside[at] <= character <= inside[at + 2]:
                return True
            at += 3
        elif inside[at] == character:
            return True
        else:
            at += 1
    return False


def _greedy(
    pattern: Sequence[str],
    items: Sequence[str],
    is_star: Callable[[str], bool],
    fits: Callable[[str, str], bool],
) -> bool:
    """A star stands for any number of items; on a mismatch the last star takes one more."""
    at = item = 0
    back: tuple[int, int] | None = None
    while item < len(items):
        if at < len(pattern) and is_star(pattern[at]):
            back = (at + 1, item)
            at += 1
        elif at < len(pattern) and fits(pattern[at], items[item]):
            at, item = at + 1, item + 1
        elif back is not None:
            back = (back[0], back[1] + 1)
            at, item = back
        else:
            return False
    return all(is_star(each) for each in pattern[at:])
