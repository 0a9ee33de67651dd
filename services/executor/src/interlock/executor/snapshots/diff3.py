"""Three-way merge of texts by lines: both sides' changes where they are apart, nothing where they are not.

The classical diff3 (S. Khanna, K. Kunal, B. Pierce, "A Formal Investigation of Diff3", 2007) made strict: two changes
that overlap or merely touch are a conflict, unless they are the same change. What is merged is therefore each side's
change applied once, with at least one unchanged line between any two changes of different sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from interlock.executor.snapshots.lines import Block, changed_blocks

MAX_BYTES: Final = 4 << 20
"""Largest text that is merged by lines; a larger one conflicts as a whole."""


def is_text(content: bytes) -> bool:
    """Whether the content may be merged by lines: not too large, and without a NUL byte."""
    return len(content) <= MAX_BYTES and b"\0" not in content


def merge_texts(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """`theirs` with what changed from `base` to `ours`; None where the two cannot be told apart by lines."""
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    if not (is_text(base) and is_text(ours) and is_text(theirs)):
        return None
    merged = merge_lines(split(base), split(ours), split(theirs))
    return None if merged is None else b"".join(merged)


def split(content: bytes) -> list[bytes]:
    """Lines with their newlines; the last one may have none."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def merge_lines(base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]) -> list[bytes] | None:
    """The merge of lists of lines; None when a change of one side overlaps or touches another one of the other."""
    merged: list[bytes] = []
    at = 0
    for start, end, lines in _changes(base, ours, theirs):
        if lines is None:
            return None
        merged.extend(base[at:start])
        merged.extend(lines)
        at = end
    merged.extend(base[at:])
    return merged


def _changes(
    base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]
) -> Iterator[tuple[int, int, Sequence[bytes] | None]]:
    """Both sides' changes of the base in order; None as lines of one that conflicts."""
    sides = ((changed_blocks(base, ours), ours), (changed_blocks(base, theirs), theirs))
    (mine, _), (others, _) = sides
    i = j = 0
    while i < len(mine) or j < len(others):
        a = mine[i] if i < len(mine) else None
        b = others[j] if j < len(others) else None
        if a is not None and b is not None and _touch(a, b):
            same = _change(a, ours) == _change(b, theirs)
            yield a.old_start, a.old_end, ours[a.new_start : a.new_end] if same else None
            i, j = i + 1, j + 1
        elif b is None or (a is not None and a.old_start < b.old_start):
            assert a is not None
            yield _change(a, ours)
            i += 1
        else:
            yield _change(b, theirs)
            j += 1


def _change(block: Block, side: Sequence[bytes]) -> tuple[int, int, Sequence[bytes]]:
    return block.old_start, block.old_end, side[block.new_start : block.new_end]


def _touch(a: Block, b: Block) -> bool:
    return a.old_start <= b.old_end and b.old_start <= a.old_end
