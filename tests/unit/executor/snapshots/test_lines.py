"""Line differences: always right, bounded also where they are not shortest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.executor.snapshots import lines
from interlock.executor.snapshots.lines import changed_blocks
from interlock.executor.snapshots.unified import hunks, quote, split_lines

texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n", b"e\n", b"long line\n"]), max_size=40)


@given(texts, texts)
def test_replacing_the_blocks_gives_the_new_text(old: list[bytes], new: list[bytes]) -> None:
    blocks = changed_blocks(old, new)
    out: list[bytes] = []
    at = to = 0
    for block in blocks:
        assert block.old_start - at == block.new_start - to, "unchanged stretches are equally long"
        assert old[at : block.old_start] == new[to : block.new_start]
        out += old[at : block.old_start] + new[block.new_start : block.new_end]
        at, to = block.old_end, block.new_end
    assert old[at:] == new[to:]
    assert out + old[at:] == new


@given(texts)
def test_equal_texts_have_no_blocks(text: list[bytes]) -> None:
    assert changed_blocks(text, list(text)) == []


def test_small_gaps_are_shortest() -> None:
    old = [b"x\n", b"a\n", b"a\n", b"y\n"]
    new = [b"x\n", b"a\n", b"z\n", b"a\n", b"y\n"]
    assert changed_blocks(old, new) == [(2, 2, 2, 3)]


def test_hopeless_texts_are_replaced_whole_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MAX_STEPS", 1000)
    old = [b"a\n", b"b\n"] * 5000
    new = [b"b\n", b"b\n", b"a\n"] * 4000
    (block,) = changed_blocks(old, new)
    assert block.old_end - block.old_start > 9000


def test_a_large_text_with_unique_lines_needs_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MAX_STEPS", 0)
    old = [b"%d\n" % i for i in range(20_000)]
    new = [line for i, line in enumerate(old) if i % 1000] + [b"end\n"]
    blocks = changed_blocks(old, new)
    assert sum(b.old_end - b.old_start for b in blocks) == 20
    assert sum(b.new_end - b.new_start for b in blocks) == 1


def test_hunks_as_git_writes_them() -> None:
    old = b"".join(b"%d\n" % i for i in range(1, 21))
    new = old.replace(b"5\n", b"five\n", 1).removesuffix(b"20\n") + b"20"
    found = hunks(old, new, context=1, max_bytes=1000)
    assert found.text == (
        b"@@ -4,3 +4,3 @@\n 4\n-5\n+five\n 6\n"
        b"@@ -19,2 +19,2 @@\n 19\n-20\n+20\n\\ No newline at end of file\n"
    )
    assert (found.added, found.removed, found.truncated) == (2, 2, False)


def test_hunks_are_cut_at_a_hunk_or_at_a_line() -> None:
    old = b"".join(b"%d\n" % i for i in range(1, 21))
    new = old.replace(b"5\n", b"five\n", 1) + b"21\n"
    whole = hunks(old, new, context=1, max_bytes=1000)
    first = hunks(old, new, context=1, max_bytes=len(whole.text) - 1)
    assert first.truncated
    assert whole.text.startswith(first.text)
    assert first.text.count(b"@@ -") == 1
    assert (first.added, first.removed) == (whole.added, whole.removed)
    inside = hunks(old, new, context=1, max_bytes=25)
    assert inside.truncated
    assert 0 < len(inside.text) <= 25
    assert inside.text.endswith(b"\n")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        (b"plain name", b"plain name"),
        (b'say "x"', rb'"say \"x\""'),
        (b"back\\slash", rb'"back\\slash"'),
        (b"tab\tnl\n", rb'"tab\tnl\n"'),
        (b"\x01\x7f\xff", rb'"\001\177\377"'),
        ("é".encode(), rb'"\303\251"'),
    ],
)
def test_names_are_quoted_as_git_does(name: bytes, quoted: bytes) -> None:
    assert quote(name) == quoted


@given(st.binary(max_size=100))
def test_lines_join_to_the_text(data: bytes) -> None:
    assert b"".join(split_lines(data)) == data
    assert all(line.endswith(b"\n") for line in split_lines(data)[:-1])
