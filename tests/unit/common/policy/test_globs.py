"""Paths by patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.policy.globs import Glob, all_match, any_match, one_match


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.pem", ["a.pem", "x/y/a.pem", ".pem"], ["a.pem/b", "apem", "a.pemx"]),
        (".git/", [".git", ".git/config", "sub/.git/hooks/x"], [".gitignore", "a.git", ".github/x"]),
        ("docs/**", ["docs", "docs/a", "docs/a/b.md"], ["src/docs/a", "docs2/a"]),
        ("/docs/", ["docs/a"], ["src/docs/a"]),
        ("src/*.py", ["src/a.py"], ["src/a/b.py", "a.py", "src/a.pyc"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/a/b/test_c.py"], ["src/a/b.py", "test_a.py"]),
        ("a?c", ["abc", "x/axc"], ["ac", "a/c", "abbc"]),
        ("a*b*c", ["abc", "axxbyyc", "d/abc"], ["ab", "a/bc"]),
        ("**", ["a", "a/b"], []),
        ("[x].(y)", ["[x].(y)"], ["x.y"]),
        ("a\nb", ["a\nb"], ["a"]),
    ],
)
def test_what_a_pattern_means(pattern: str, yes: list[str], no: list[str]) -> None:
    for path in yes:
        assert one_match(path, [pattern]), path
    for path in no:
        assert not one_match(path, [pattern]), path


def test_any_and_all() -> None:
    assert any_match(["a", "b.md"], ["*.txt", "*.md"])
    assert not any_match([], ["*"])
    assert all_match([], [])
    assert all_match(["a.md", "b.txt"], ["*.txt", "*.md"])
    assert not all_match(["a.md", "b.py"], ["*.md"])


@pytest.mark.parametrize("patterns", [[""], ["x" * 501], ["x"] * 101])
def test_patterns_are_bounded(patterns: list[str]) -> None:
    with pytest.raises(ValueError, match=r"at most|1 to 500"):
        any_match(["a"], patterns)


_PARTS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "**"])
_NAMES = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4)


@given(st.lists(_PARTS, min_size=2, max_size=4), _NAMES)
def test_both_ways_of_matching_agree(parts: list[str], names: list[str]) -> None:
    glob = Glob("/".join(parts))
    path = "/".join(names)
    if glob.expression:
        assert (re.fullmatch(glob.expression, path) is not None) is glob.matches(path)


def test_hostile_paths_cost_little() -> None:
    """Backtracking would not end on these; a table over pattern and path does, in some 10,000 steps."""
    path = "/".join(["a" * 20] * 150)
    assert not one_match(path, ["**/a*a*a*a*a*a*b/**/c"])
    assert not one_match("a" * 4000, ["a*a*a*a*a*a*a*a*a*b"])
