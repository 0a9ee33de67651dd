"""Nothing from elsewhere acts on the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies

from interlock.cli.safe import escape, escape_block, escape_bytes


def harmless(text: str, allowed: str = "") -> bool:
    return all(char in allowed or unicodedata.category(char) not in _HIDDEN for char in text)


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_anything = strategies.text(strategies.characters())


@given(text=_anything)
def test_one_line_stays_one_line(text: str) -> None:
    shown = escape(text)
    assert harmless(shown)
    assert len(shown.splitlines()) <= 1


@given(text=_anything)
def test_blocks_keep_newlines_and_tabs_only(text: str) -> None:
    shown = escape_block(text)
    assert harmless(shown, "\n\t")
    assert shown.count("\n") == text.count("\n")


@given(data=strategies.binary())
def test_bytes_of_any_kind(data: bytes) -> None:
    assert harmless(escape_bytes(data), "\n\t")


@given(text=strategies.text(strategies.characters(categories=["L", "N", "P", "S", "M", "Zs"])))
def test_visible_text_is_not_touched(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("\x9b31m", "\\x9b31m"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("\ufeff", "\\ufeff"),
        ("a\u2028b", "a\\u2028b"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("größer → 日本", "größer → 日本"),
    ],
)
def test_examples(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_outputs_show_bytes_that_are_not_text() -> None:
    assert escape_bytes(b"ok\r\n\xff\x00 \x1b[0m\rz\n") == "ok\n\\xff\\x00 \\x1b[0m\\x0dz\n"


def test_every_code_point_once() -> None:
    for code in range(0x110000):
        shown = escape(chr(code))
        assert harmless(shown), hex(code)
