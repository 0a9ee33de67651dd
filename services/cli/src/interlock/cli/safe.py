r"""Text from elsewhere, made safe to show.

File names, diffs, outputs and messages come from programs and models. Control characters in them could move
the cursor, colour or hide what an approver is about to read; invisible and bidirectional ones could show another
text than the one that is approved (https://trojansource.codes). All of them are shown as `\x1b`, `\u202e`.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class _Table(dict[int, str]):
    """Translation table that decides about each code point when it first meets it."""

    def __init__(self, keep: str) -> None:
        super().__init__({ord(char): char for char in keep})

    def __missing__(self, code: int) -> str:
        char = chr(code)
        shown = _visible(code) if unicodedata.category(char) in _HIDDEN else char
        if len(self) < 4096:
            self[code] = shown
        return shown


def _visible(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_LINE = _Table("")
_BLOCK = _Table("\n\t")


def escape(text: str) -> str:
    """One line: every character that is not visible is escaped, also newlines and tabs."""
    return text.translate(_LINE)


def escape_block(text: str) -> str:
    """Several lines: as `escape`, but newlines and tabs stay."""
    return text.translate(_BLOCK)


def escape_bytes(data: bytes) -> str:
    """Output of a program, several lines: UTF-8 where it is, other bytes as `\\xNN`; CR LF counts as newline."""
    return escape_block(data.replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace"))
