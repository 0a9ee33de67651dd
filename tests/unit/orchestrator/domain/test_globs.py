"""Globs over workspace paths."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.globs import check_glob, matches


@pytest.mark.parametrize(
    ("glob", "inside", "outside"),
    [
        ("a.txt", ["a.txt"], ["b/a.txt", "a.txt/b", "A.txt", "a.tx"]),
        ("*.md", ["a.md", ".md"], ["docs/a.md", "a.md/b"]),
        ("docs/*", ["docs/a", "docs/.b"], ["docs", "docs/a/b", "x/docs/a"]),
        ("src/**", ["src/a", "src/a/b/c.py"], ["src", "srcs/a", "a/src/b"]),
        ("**", ["a", "a/b/c"], []),
        ("**/*.py", ["a.py", "a/b/c.py"], ["a.pyc", "a.py/b"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/a/b/test_c.py"], ["src/a/b.py", "test_a.py"]),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/z/c", "a/b/b/c"], ["a/c", "b/c"]),
        ("file-?.txt", ["file-1.txt"], ["file-.txt", "file-12.txt"]),
        ("[ab]*.[!ch]", ["a.o", "b1.x"], ["c.o", "a.c", "a.h"]),
        ("v[0-9]", ["v0", "v9"], ["va", "v10"]),
        ("x[", ["x["], ["x"]),
        ("a[]b", ["a[]b"], ["ab"]),
        ("*", ["a"], ["a/b"]),
        ("ä/ö*", ["ä/öx"], ["a/öx"]),
    ],
)
def test_what_a_glob_is_about(glob: str, inside: list[str], outside: list[str]) -> None:
    check_glob(glob, "g")
    assert [path for path in inside if not matches(glob, path)] == []
    assert [path for path in outside if matches(glob, path)] == []


@pytest.mark.parametrize("glob", ["/etc/*", "a//b", "../x", "a/../b", "./a", "a**", "**b/c", "a/"])
def test_what_could_be_about_nothing_is_refused(glob: str) -> None:
    with pytest.raises(InterlockError) as caught:
        check_glob(glob, "bounds.paths[3]")
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "bounds.paths[3]")


NAME = st.text("ab.x", min_size=1, max_size=6)


@given(st.text("ab*?.", min_size=1, max_size=6).filter(lambda g: "**" not in g), NAME)
def test_within_a_name_it_is_the_shells(glob: str, name: str) -> None:
    assert matches(glob, name) == fnmatch.fnmatchcase(name, glob)


@given(st.lists(NAME, min_size=1, max_size=4))
def test_a_path_is_about_itself_and_below_its_directories(names: list[str]) -> None:
    path = "/".join(names)
    assert matches(path, path)
    assert matches("**", path)
    for depth in range(1, len(names)):
        assert matches("/".join(names[:depth]) + "/**", path)


def test_no_pattern_takes_for_ever() -> None:
    assert not matches("*a" * 200 + "b", "a" * 4000)
    assert not matches("/".join(["**", "a"] * 100) + "/b", "/".join("a" * 1000))
