from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.common.patch import apply_patch, parse_patch


def patched(old: bytes | None, patch: bytes, path: str = "f") -> bytes | None:
    return apply_patch(parse_patch(patch, path), old, path)


def failure(old: bytes | None, patch: bytes, path: str = "f") -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        patched(old, patch, path)
    return caught.value


def unified(old: bytes, new: bytes) -> bytes:
    """A diff by Python's difflib, with git's mark for a missing newline."""

    def lines(data: bytes) -> list[bytes]:
        parts = data.split(b"\n")
        return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])

    found = difflib.diff_bytes(difflib.unified_diff, lines(old), lines(new), b"a/f", b"b/f")
    return b"".join(
        line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in found
    )


LINES = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"\r\n", b" x\n", b"+\n", b"-\n", b"\xff\n"]), max_size=25
)
TEXTS = st.builds(lambda lines, end: b"".join(lines) + end, LINES, st.sampled_from([b"", b"end", b"\\"]))


@given(TEXTS, TEXTS)
def test_what_difflib_writes_applies(old: bytes, new: bytes) -> None:
    patch = unified(old, new)
    if patch:
        assert patched(old, patch) == new


@given(TEXTS, TEXTS, TEXTS)
def test_on_another_file_it_applies_or_says_so(old: bytes, new: bytes, other: bytes) -> None:
    patch = unified(old, new)
    if patch:
        result = attempt(other, patch)
        assert not isinstance(result, InterlockError) or result.reason is Reason.PATCH_DOES_NOT_APPLY


def attempt(old: bytes, patch: bytes) -> bytes | InterlockError | None:
    try:
        return patched(old, patch)
    except InterlockError as error:
        return error


PIECES = [
    b"--- a/f", b"+++ b/f", b"@@ -1,2 +1,2 @@", b"@@ -0,0 +1 @@", b" a", b"-a", b"+b", b"\\ No newline at end of file",
    b"",
]  # fmt: skip


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"\n".join))
def test_anything_at_all_is_a_patch_or_a_typed_error(data: bytes) -> None:
    result = attempt(b"a\nb\n", data)
    if isinstance(result, InterlockError):
        assert result.reason in (Reason.PATCH_INVALID, Reason.PATCH_DOES_NOT_APPLY)
        assert result.field == "patch"


def test_creating_and_deleting() -> None:
    create = b"--- /dev/null\n+++ b/f\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    delete = (
        b"diff --git a/f b/f\ndeleted file mode 100644\n--- a/f\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
    )
    assert patched(None, create) == b"a\nb\n"
    assert patched(b"a\nb\n", delete) is None
    assert failure(b"", create).reason is Reason.PATCH_DOES_NOT_APPLY
    assert failure(None, delete).reason is Reason.PATCH_DOES_NOT_APPLY
    assert "left" in failure(b"a\nb\nc\n", delete).message


def test_wrong_line_numbers_are_forgiven_where_there_is_one_place() -> None:
    patch = b"--- f\n+++ f\n@@ -90,2 +90,2 @@\n x\n-y\n+z\n"
    assert patched(b"a\nx\ny\nb\n", patch) == b"a\nx\nz\nb\n"
    assert "several places: lines 1, 3" in failure(b"x\ny\nx\ny\n", patch).message


def test_a_stated_place_wins_over_others() -> None:
    patch = b"--- f\n+++ f\n@@ -3 +3 @@\n-x\n+y\n"
    assert patched(b"x\na\nx\n", patch) == b"x\na\ny\n"


def test_a_mismatch_names_hunk_and_line() -> None:
    patch = b"--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n@@ -3,2 +3,2 @@\n c\n-d\n+e\n"
    error = failure(b"a\nb\nc\nX\n", patch)
    assert error.metadata == {"hunk": "2", "line": "4"}
    assert "expected 'd', the file has 'X'" in error.message


def test_without_a_newline_at_the_end() -> None:
    patch = b"--- f\n+++ f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n"
    assert patched(b"a", patch) == b"b\n"
    assert failure(b"a\n", patch).reason is Reason.PATCH_DOES_NOT_APPLY


@pytest.mark.parametrize(
    ("patch", "line", "words"),
    [
        (b"", "1", "no `--- ` line"),
        (b"hello\n", "1", "where `--- ` was expected"),
        (b"--- f\n", "2", "no `+++ ` line"),
        (b"--- f\n+++ f\n", "3", "no hunk"),
        (b"--- f\n+++ f\n@@ nonsense\n", "3", "where `@@ -line,count"),
        (b"--- f\n+++ f\n@@ -1,2 +1 @@\n-a\n", "5", "counts are too high"),
        (b"--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n+c\n", "6", "where `@@ -line,count"),
        (b"--- f\n+++ f\n@@ -1 +1 @@\n?a\n", "4", "space, + or -"),
        (b"--- f\n+++ f\n@@ -0,0 +0,0 @@\n", "3", "an empty hunk"),
        (b"--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n--- g\n+++ g\n@@ -1 +1 @@\n-a\n+b\n", "6", "second file"),
        (b"rename from a\n", "1", "rename"),
        (b"GIT binary patch\n", "1", "binary"),
        (b"--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+a\n", "5", "both sides"),
    ],
)
def test_invalid_patches_name_the_line(patch: bytes, line: str, words: str) -> None:
    error = failure(b"a\n", patch)
    assert (error.reason, error.metadata.get("line")) == (Reason.PATCH_INVALID, line)
    assert words in error.message


def test_a_patch_of_another_file() -> None:
    error = failure(b"a\n", b"--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n")
    assert (error.reason, "not of f" in error.message) == (Reason.PATCH_INVALID, True)


@pytest.mark.parametrize("name", [b"a/d/f", b"d/f", b"b/d/f\t2026-01-01 00:00:00"])
def test_usual_spellings_of_the_name(name: bytes) -> None:
    assert patched(b"a\n", b"--- %b\n+++ %b\n@@ -1 +1 @@\n-a\n+b\n" % (name, name), "d/f") == b"b\n"


def test_carriage_returns_belong_to_lines() -> None:
    patch = b"--- f\n+++ f\n@@ -1 +1 @@\n-a\r\n+b\r\n"
    assert patched(b"a\r\nc\r\n", patch) == b"b\r\nc\r\n"
    assert failure(b"a\nc\n", patch).reason is Reason.PATCH_DOES_NOT_APPLY
