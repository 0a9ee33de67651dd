"""Patches: what difflib writes applies to the byte, what is broken is refused by its reason, git agrees, and no
patch takes long."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.support.fuzz.driving import hunt, lengths

from interlock.common.errors import InterlockError
from interlock.common.patch import apply_patch, parse_patch
from interlock.executor.snapshots.unified import split_lines

HEAD = b"--- a/f\n+++ b/f\n"
ODD = [
    b"a", b"b", b"", b"\r", b"x\r", b"\0", b"-- a", b"++ b", b"@@ -1 +1 @@", b"\\ No newline at end of file",
    b"\xff\xfe", b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode(), "\u2029x".encode(), "\ufeff".encode(),
    b"z" * 5000, b"diff --git",
]  # fmt: skip

lines = st.lists(st.one_of(st.sampled_from(ODD), st.sampled_from([b"a", b"b"])), max_size=30)
texts = st.builds(
    lambda parts, end: b"".join(p + b"\n" for p in parts) + end, lines, st.sampled_from([b"", b"end", b"\r"])
)


@st.composite
def pairs(draw: Any) -> tuple[bytes, bytes]:
    """A text, and the same with a few lines changed or another."""
    old = draw(texts)
    if not draw(st.integers(0, 3)):
        return old, draw(texts)
    parts = split_lines(old)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(parts)))
        parts[at : at + draw(st.integers(0, 2))] = [
            line + b"\n" for line in draw(st.lists(st.sampled_from(ODD), max_size=2))
        ]
    # A line without a newline can only be the last.
    return old, b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts[:-1]) + b"".join(
        parts[-1:]
    )


def unified(old: bytes, new: bytes, context: int) -> bytes:
    """A diff by Python's difflib, with git's mark for a missing newline."""
    found = difflib.diff_bytes(
        difflib.unified_diff, split_lines(old), split_lines(new), b"a/f", b"b/f", n=context
    )
    return b"".join(
        line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in found
    )


def attempt(old: bytes | None, patch: bytes) -> bytes | str | None:
    """What comes of it: the new content, or the reason against it, which must be one about patches."""
    try:
        return apply_patch(parse_patch(patch, "f"), old, "f")
    except InterlockError as refused:
        error = refused
    assert error.reason.value in ("PATCH_INVALID", "PATCH_DOES_NOT_APPLY"), error
    assert error.message.isprintable()
    assert len(error.message) < 1000
    return error.reason.value


def by_git(place: Path, old: bytes, patch: bytes) -> bytes | None:
    """What `git apply` makes of it; None when it refuses."""
    (place / "f").write_bytes(old)
    argv = ["git", "apply", "--whitespace=nowarn", "--unidiff-zero", "-"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "GIT_CEILING_DIRECTORIES": str(place.parent),
    }
    done = subprocess.run(argv, input=patch, cwd=place, env=environment, capture_output=True, check=False)
    return (place / "f").read_bytes() if done.returncode == 0 else None


@lengths(150, 8000)
def test_a_right_patch_gives_exactly_the_new_text(examples: int) -> None:
    def check(pair: tuple[bytes, bytes], context: int) -> None:
        old, new = pair
        patch = unified(old, new, context)
        if patch:
            assert attempt(old, patch) == new

    hunt(examples, check, pairs(), st.sampled_from([0, 1, 3]))


@st.composite
def broken(draw: Any) -> tuple[bytes, bytes]:
    """A text, and a patch of it with something changed in either."""
    old, new = draw(pairs())
    patch = bytearray(unified(old, new, draw(st.sampled_from([0, 1, 3]))) or HEAD)
    parts = split_lines(bytes(patch))
    for _ in range(draw(st.integers(0, 3))):
        how, at = draw(st.integers(0, 5)), draw(st.integers(0, max(0, len(parts) - 1)))
        if how == 0:
            parts[at:at] = [
                draw(st.sampled_from([*ODD, b"@@ -0,0 +1 @@", b"@@ -9,2 +1,2 @@", b" a", b"-b", b"+c"]))
                + b"\n"
            ]
        elif how == 1:
            del parts[at : at + 1]
        elif how == 2 and parts:
            parts[at] = parts[at].replace(b"1", str(draw(st.integers(0, 12))).encode(), 1)
        elif how == 3:
            parts = parts[:at]
        elif parts:
            line = bytearray(parts[at])
            line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
            parts[at] = bytes(line)
    return draw(st.one_of(st.just(old), texts)) if draw(st.booleans()) else old, b"".join(parts)


@lengths(200, 20_000)
def test_a_broken_patch_applies_to_something_or_is_refused_by_its_reason(examples: int) -> None:
    def check(case: tuple[bytes, bytes]) -> None:
        old, patch = case
        result = attempt(old, patch)
        assert result is None or isinstance(result, bytes | str)
        assert attempt(old, patch) == result

    hunt(examples, check, broken())


@lengths(60, 3000)
def test_git_makes_the_same_of_it_or_one_of_both_refuses(tmp_path: Path, examples: int) -> None:
    """Git searches and takes the nearest place, and knows binary patches: it may take more, never otherwise."""

    def check(case: tuple[bytes, bytes]) -> None:
        old, patch = case
        ours = attempt(old, patch)
        git = by_git(tmp_path, old, patch) if isinstance(ours, bytes) else None
        assert git is None or git == ours, (old, patch)

    hunt(examples, check, broken())


@pytest.mark.parametrize(
    "text", ["all the same", "all but one the same", "two sorts", "each once", "no match"]
)
def test_no_patch_takes_long(text: str) -> None:
    """Each of these took minutes or hours when every line was compared with every other."""
    size = 120_000
    sorts = [b"a\n" if (n * n // 7) % 2 else b"b\n" for n in range(size)]
    each = [b"%d\n" % n for n in range(size)]
    if text in ("all the same", "all but one the same"):
        end = b"x\n" if text == "all but one the same" else b""
        shown = b"@@ -%d,%d +1,%d @@\n" % (size, size // 2 + 1, size // 2) + b" \n" * (size // 2) + b"-x\n"
        result = attempt(b"\n" * size + end, HEAD + shown)
        assert result == (b"\n" * size if end else "PATCH_DOES_NOT_APPLY")
    elif text == "each once":
        hunks = [b"@@ -%d +%d @@\n-%s+x%s" % (n + 1, n + 1, line, line) for n, line in enumerate(each)]
        result = attempt(b"first\n" + b"".join(each), HEAD + b"".join(hunks))
        assert result == b"first\n" + b"".join(b"x" + line for line in each)
    else:
        lost = b"-c\n" if text == "no match" else b""
        hunks = [
            b"@@ -%d,%d +%d,0 @@\n" % (n + 1, 30 + bool(lost), n + 1)
            + b"".join(b"-" + s for s in sorts[n : n + 30])
            + lost
            for n in range(0, size - 30, 30)
        ]
        assert isinstance(attempt(b"z\n" + b"".join(sorts), HEAD + b"".join(hunks)), bytes | str)
