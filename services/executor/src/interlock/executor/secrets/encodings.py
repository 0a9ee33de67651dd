"""The forms in which a secret's value is recognised. Pure.

Every form is bytes without CR and LF: matching takes line breaks out of what it looks at (see `matching`), so that a
value is found however its lines are wrapped.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

LINE_BREAKS: Final = b"\r\n"
LEAST: Final = 8
"""Bytes that a form has at least. What is shorter is found in too much that is no secret."""

_LINE: Final = 16
_ARMOUR: Final = re.compile(rb"-----[A-Z0-9 ]+-----")
_COMPONENT: Final = "-_.!~*'()"  # what encodeURIComponent leaves as it is
_ESCAPED: Final = re.compile(r"%[0-9A-F]{2}")
_BEFORE: Final = (0, 2, 3)
"""Characters of base64 that also depend on the 0, 1 or 2 bytes before the value in its group of three."""


def forms(value: bytes) -> frozenset[bytes]:
    """Every form of a value, which is UTF-8 without NUL: as it is, escaped, percent-encoded, base64, hexadecimal.

    Of a value of several lines, each line of 16 bytes or more is a form too, but for the armour of PEM.
    """
    text = value.decode()
    found = {value, value.strip(), b" ".join(value.split())}
    found.update(_lines(value))
    found.update(each.encode() for each in _escaped(text))
    found.update(each.encode() for each in _percent(text))
    found.update(_base64(value))
    found.update((value.hex().encode(), value.hex().upper().encode()))
    flat = (each.translate(None, LINE_BREAKS) for each in found)
    return frozenset(each for each in flat if len(each) >= LEAST)


def _lines(value: bytes) -> Iterator[bytes]:
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _LINE and not _ARMOUR.fullmatch(line))


def _escaped(text: str) -> Iterator[str]:
    """In JSON (also within JSON), in Python, in HTML, in a shell's quotes."""
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from _json_variants(once)
        yield from _json_variants(json.dumps(once, ensure_ascii=ascii_only)[1:-1])
    yield repr(text)[1:-1]
    yield repr(text.encode())[2:-1]
    yield html.escape(text)
    yield html.escape(text, quote=False)
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")


def _json_variants(text: str) -> Iterator[str]:
    for each in (text, text.replace("/", "\\/")):
        yield each
        # Go and others escape what HTML could mistake.
        yield each.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        yield re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), each)


def _percent(text: str) -> Iterator[str]:
    whole = "".join(f"%{byte:02X}" for byte in text.encode())
    for each in (quote(text, safe=""), quote(text), quote_plus(text), quote(text, safe=_COMPONENT), whole):
        yield each
        yield _ESCAPED.sub(lambda found: found[0].lower(), each)


def _base64(value: bytes) -> Iterator[bytes]:
    """Alone and at each of the three places in a longer text, in both alphabets."""
    for shift, before in enumerate(_BEFORE):
        padded = base64.b64encode(b"\0" * shift + value)
        whole = padded[before:].rstrip(b"=")
        yield from _alphabets((padded[before:], whole, whole[: _sure(len(value) + shift) - before]))


def _sure(size: int) -> int:
    """Characters of base64 of `size` bytes that do not depend on what follows."""
    return size * 8 // 6


def _alphabets(items: Iterable[bytes]) -> Iterator[bytes]:
    for item in items:
        yield item
        yield item.replace(b"+", b"-").replace(b"/", b"_")
        yield item.replace(b"/", b"\\/")
        yield quote(item, safe="").encode()
