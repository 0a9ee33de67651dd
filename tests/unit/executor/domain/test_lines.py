from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.lines import select_lines


@pytest.mark.parametrize(
    ("content", "start", "end", "expected"),
    [
        (b"a\nb\nc\n", 0, 0, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 2, 2, b"b\n"),
        (b"a\nb\nc", 2, 0, b"b\nc"),
        (b"a\nb\nc\n", 0, 2, b"a\nb\n"),
        (b"a\nb\n", 1, 99, b"a\nb\n"),
        (b"", 0, 0, b""),
        (b"", 1, 1, b""),
        (b"\r\nb", 2, 2, b"b"),
    ],
)
def test_ranges(content: bytes, start: int, end: int, expected: bytes) -> None:
    assert select_lines(content, start, end, "f") == expected


@pytest.mark.parametrize(("start", "end"), [(3, 2), (4, 0), (4, 9)])
def test_impossible_ranges(start: int, end: int) -> None:
    with pytest.raises(InterlockError) as caught:
        select_lines(b"a\nb\nc\n", start, end, "f")
    assert caught.value.reason is Reason.INVALID_ARGUMENT


@given(st.binary(max_size=60), st.integers(1, 5))
def test_two_ranges_make_the_whole(content: bytes, cut: int) -> None:
    first = select_lines(content, 0, cut, "f")
    try:
        rest = select_lines(content, cut + 1, 0, "f")
    except InterlockError:
        rest = b""
    assert first + rest == content
