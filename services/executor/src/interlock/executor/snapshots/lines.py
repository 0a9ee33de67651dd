"""Which lines differ between two texts, in bounded time.

Common head and tail are cut off; lines that occur once on each side anchor the rest (patience diff, Bram Cohen), found
by a longest increasing subsequence in O(n log n); small gaps between anchors are solved by Myers' O(ND) algorithm
(E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986) up to a bound on D. A gap beyond the bound
is shown as replaced whole: longer than need be, never wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

_MAX_D: Final = 200
_MAX_STEPS: Final = 3_000_000
"""Steps of Myers' algorithm for one pair of texts, about two seconds; later gaps are shown replaced whole."""


class Block(NamedTuple):
    """Lines `[old_start, old_end)` were replaced by `[new_start, new_end)`; one side may be empty."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changed_blocks(old: Sequence[bytes], new: Sequence[bytes]) -> list[Block]:
    """The blocks that differ, in order, not touching each other."""
    blocks: list[Block] = []
    budget = [_MAX_STEPS]
    waiting = [(0, len(old), 0, len(new))]
    while waiting:
        a, b, c, d = _trim(old, new, *waiting.pop())
        if a == b and c == d:
            continue
        if a == b or c == d:
            blocks.append(Block(a, b, c, d))
            continue
        anchors = _anchors(old, new, a, b, c, d)
        if not anchors:
            blocks.extend(_myers(old, new, a, b, c, d, budget))
            continue
        for i, j in anchors:
            waiting.append((a, i, c, j))
            a, c = i + 1, j + 1
        waiting.append((a, b, c, d))
    return _joined(sorted(blocks))


def _trim(
    old: Sequence[bytes], new: Sequence[bytes], a: int, b: int, c: int, d: int
) -> tuple[int, int, int, int]:
    while a < b and c < d and old[a] == new[c]:
        a, c = a + 1, c + 1
    while a < b and c < d and old[b - 1] == new[d - 1]:
        b, d = b - 1, d - 1
    return a, b, c, d


def _once(lines: Sequence[bytes], start: int, end: int) -> dict[bytes, int]:
    seen: dict[bytes, int] = {}
    for index in range(start, end):
        line = lines[index]
        seen[line] = -1 if line in seen else index
    return seen


def _anchors(
    old: Sequence[bytes], new: Sequence[bytes], a: int, b: int, c: int, d: int
) -> list[tuple[int, int]]:
    """Pairs of lines unique on both sides that appear in the same order."""
    in_new = _once(new, c, d)
    pairs = [(i, in_new.get(line, -1)) for line, i in _once(old, a, b).items() if i >= 0]
    pairs = [pair for pair in pairs if pair[1] >= 0]
    tails: list[int] = []
    ends: list[int] = []
    previous: list[int] = []
    for index, (_, j) in enumerate(pairs):
        at = bisect_left(tails, j)
        if at == len(tails):
            tails.append(j)
            ends.append(index)
        else:
            tails[at] = j
            ends[at] = index
        previous.append(ends[at - 1] if at else -1)
    chain: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chain.append(pairs[index])
        index = previous[index]
    return chain[::-1]


def _myers(
    old: Sequence[bytes], new: Sequence[bytes], a: int, b: int, c: int, d: int, budget: list[int]
) -> list[Block]:
    """The shortest edit script of a gap, or the gap itself when that is longer than the bound."""
    n, m = b - a, d - c
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for distance in range(min(n + m, _MAX_D) + 1):
        if budget[0] <= 0:
            break
        trace.append(dict(reach))
        for k in range(-distance, distance + 1, 2):
            down = k == -distance or (k != distance and reach.get(k - 1, -1) < reach.get(k + 1, -1))
            x = reach.get(k + 1, 0) if down else reach.get(k - 1, 0) + 1
            y = x - k
            budget[0] -= 1
            start = x
            while x < n and y < m and old[a + x] == new[c + y]:
                x, y = x + 1, y + 1
            reach[k] = x
            budget[0] -= x - start
            if x >= n and y >= m:
                return _backtrack(trace, n, m, a, c)
    return [Block(a, b, c, d)]


def _backtrack(trace: list[dict[int, int]], x: int, y: int, a: int, c: int) -> list[Block]:
    blocks: list[Block] = []
    for distance in range(len(trace) - 1, 0, -1):
        reach, k = trace[distance], x - y
        down = k == -distance or (k != distance and reach.get(k - 1, -1) < reach.get(k + 1, -1))
        before = k + 1 if down else k - 1
        x0 = reach.get(before, 0)
        y0 = x0 - before
        # From (x0, y0) one edit, then a diagonal to (x, y).
        if down:
            blocks.append(Block(a + x0, a + x0, c + y0, c + y0 + 1))
        else:
            blocks.append(Block(a + x0, a + x0 + 1, c + y0, c + y0))
        x, y = x0, y0
    return blocks


def _joined(blocks: list[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        if joined and joined[-1].old_end == block.old_start and joined[-1].new_end == block.new_start:
            joined[-1] = Block(joined[-1].old_start, block.old_end, joined[-1].new_start, block.new_end)
        else:
            joined.append(block)
    return joined
