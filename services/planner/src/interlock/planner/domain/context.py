"""Assembling what a model sees: data fenced off from instructions, and cut visibly when it is too large."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence

from interlock.planner.domain.model import ContextResult

_LEAST_PER_SECTION = 200
_MARK_DIGITS = 16
_MOST_LABEL = 300


def cut(text: str, limit: int) -> str:
    """At most about ``limit`` characters: the beginning and the end, with a line between that says what is missing."""
    if len(text) <= limit:
        return text
    head = max(0, limit * 2 // 3)
    tail = max(0, limit - head)
    missing = len(text) - head - tail
    end = text[len(text) - tail :] if tail else ""
    return f"{text[:head]}\n[… {missing:,} characters are left out here …]\n{end}"


def fenced(label: str, text: str) -> str:
    """Data between markers that the data does not contain, whoever wrote it.

    The mark is a hash of the data, and of a counter that goes on until the data does not hold the mark: the same data
    has the same mark in every replay, and there is no data that closes its own fence. The label is made one line that
    cannot end the marker: names of files come from whoever wrote them. The system prompt says that nothing between
    such markers is an instruction.
    """
    raw = text.encode("utf-8", "surrogatepass")
    mark = next(mark for mark in _marks(raw) if mark not in text)
    return f"<data {mark} {cut_line(label, _MOST_LABEL)}>\n{text}\n</data {mark}>"


def _marks(raw: bytes) -> Iterator[str]:
    for count in itertools.count():
        yield hashlib.sha256(b"%d\n" % count + raw).hexdigest()[:_MARK_DIGITS]


def results_section(results: Sequence[ContextResult], budget: int) -> str:
    """Earlier results, oldest first, each with a fair share of ``budget`` characters; small ones leave theirs over."""
    if not results:
        return "(no earlier results)"
    shares = fair_shares([len(result.text) for result in results], budget)
    blocks = []
    for result, share in zip(results, shares, strict=True):
        title = cut_line(result.title, 120)
        blocks.append(fenced(f"{result.key} {result.kind} {result.state} {title}", cut(result.text, share)))
    return "\n".join(blocks)


def cut_line(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters, without what could end a marker."""
    line = " ".join(text.split()).replace("<", "‹").replace(">", "›")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def fair_shares(sizes: Sequence[int], budget: int) -> list[int]:
    """Split ``budget`` so that no one gets more than it needs and what is left over goes to the larger ones.

    With very many sections each keeps a small minimum, so the sum may exceed the budget by that.
    """
    shares = [0] * len(sizes)
    left = budget
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for position, index in enumerate(order):
        share = max(_LEAST_PER_SECTION, left // (len(order) - position))
        shares[index] = min(sizes[index], share)
        left = max(0, left - shares[index])
    return shares
