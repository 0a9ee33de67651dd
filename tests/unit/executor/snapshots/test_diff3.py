"""Three-way merges of texts by lines: both changes or none, never a third thing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.executor.snapshots import diff3
from interlock.executor.snapshots.diff3 import merge_texts, split

lines = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"}\n"]), max_size=12)
texts = st.builds(lambda found, end: b"".join(found) + end, lines, st.sampled_from([b"", b"", b"x"]))

Edit = tuple[int, int, tuple[bytes, ...]]
"""Lines [start, end) of the base become others; an insertion where the two are equal."""


@st.composite
def edits(draw: st.DrawFn, size: int, who: bytes) -> list[Edit]:
    """Edits of a base of `size` lines, in order, with at least one unchanged line between any two."""
    found: list[Edit] = []
    at = draw(st.integers(0, size))
    while at <= size and len(found) < 4:
        end = min(size, at + draw(st.integers(0, 2)))
        count = draw(st.integers(0 if end > at else 1, 2))
        found.append((at, end, tuple(b"%s %d.%d\n" % (who, at, n) for n in range(count))))
        at = end + draw(st.integers(1, 4))
    return found


def apply(base: Sequence[bytes], changes: Sequence[Edit]) -> bytes:
    """The base with edits, worked out from the last to the first."""
    out = list(base)
    for start, end, new in sorted(changes, reverse=True):
        out[start:end] = new
    return b"".join(out)


def apart(a: Edit, b: Edit) -> bool:
    """Whether at least one unchanged line lies between them."""
    return a[1] < b[0] or b[1] < a[0]


@given(st.data())
def test_edits_that_are_apart_are_both_there_and_others_conflict(data: st.DataObject) -> None:
    """Every line of the base is another one, so that there is one way only to see what was changed."""
    size = data.draw(st.integers(0, 12))
    base = [b"line %d\n" % n for n in range(size)]
    ours, theirs = data.draw(edits(size, b"ours")), data.draw(edits(size, b"theirs"))
    merged = merge_texts(b"".join(base), apply(base, ours), apply(base, theirs))
    if not ours or not theirs or all(apart(a, b) for a in ours for b in theirs):
        assert merged == apply(base, [*ours, *theirs])
    elif merged is not None:
        # Both may have removed the very same lines: then it is one change.
        same = set(ours) & set(theirs)
        assert all(apart(a, b) or a == b in same for a in ours for b in theirs)
        assert merged == apply(base, list({*ours, *theirs}))


@given(texts, texts)
def test_a_side_that_changed_nothing_yields(base: bytes, other: bytes) -> None:
    assert merge_texts(base, base, other) == other
    assert merge_texts(base, other, base) == other
    assert merge_texts(base, other, other) == other


@given(texts, texts, texts)
def test_the_sides_are_alike_and_nothing_is_made_up(base: bytes, ours: bytes, theirs: bytes) -> None:
    merged = merge_texts(base, ours, theirs)
    assert merge_texts(base, theirs, ours) == merged
    if merged is not None:
        assert set(split(merged)) <= {*split(base), *split(ours), *split(theirs)}


@given(st.data())
def test_reverting_what_was_merged_gives_the_other_side_alone(data: st.DataObject) -> None:
    """base → ours, then theirs on top of it: taking ours out again leaves base with theirs."""
    size = data.draw(st.integers(1, 12))
    base = [b"line %d\n" % n for n in range(size)]
    ours, theirs = data.draw(edits(size, b"ours")), data.draw(edits(size, b"theirs"))
    if not all(apart(a, b) for a in ours for b in theirs):
        return
    both = apply(base, [*ours, *theirs])
    assert merge_texts(apply(base, ours), b"".join(base), both) in (apply(base, theirs), None)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (b"1\n2\n3\n", b"one\n2\n3\n", b"1\n2\nthree\n", b"one\n2\nthree\n"),
        (b"1\n2\n3\n", b"one\n2\n3\n", b"1\ntwo\n3\n", None),  # they touch
        (b"1\n2\n", b"1\n2\n3\n", b"1\n2\nthree\n", None),  # two things at one place
        (b"1\n2\n", b"1\n2\n3\n", b"1\n2\n3\n", b"1\n2\n3\n"),
        (b"1\n2\n3", b"1\n2\n3\n", b"one\n2\n3", b"one\n2\n3\n"),  # a newline at the end is a change
        (b"1\n2\n3", b"1\n2\n3\n", b"1\n2\n3\n4", None),
        (b"1\n2\n3\n", b"", b"1\n2\n3\n4\n", None),
        (b"", b"a\n", b"b\n", None),
        (b"1\r\n2\r\n3\r\n", b"1\r\n2\r\nthree\r\n", b"one\r\n2\r\n3\r\n", b"one\r\n2\r\nthree\r\n"),
        (b"1\n2\n3\n", b"one\n2\n3\n", b"1\n2\n\0\n", None),  # not text
    ],
)
def test_by_hand(base: bytes, ours: bytes, theirs: bytes, merged: bytes | None) -> None:
    assert merge_texts(base, ours, theirs) == merged


def test_a_text_beyond_the_limit_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff3, "MAX_BYTES", 11)
    base = b"1\n2\n3\n4\n5\n"
    assert merge_texts(base, b"one\n2\n3\n4\n5\n", b"1\n2\n3\n4\nV\n") is None
    monkeypatch.setattr(diff3, "MAX_BYTES", 12)
    assert merge_texts(base, b"one\n2\n3\n4\n5\n", b"1\n2\n3\n4\nV\n") == b"one\n2\n3\n4\nV\n"
