"""The lines of a bundle: the one form each may have."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any


def kind(line: bytes) -> str:
    """What a first line that is no header seems to be part of."""
    if line.lstrip()[:1] in (b"{", b"["):
        return "json"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "binary"
    return "text" if text.replace("\t", "").rstrip("\r\n").isprintable() else "binary"


def compact(value: dict[str, Any]) -> bytes:
    """The one form of a line: no spaces, ASCII, keys in the order they have."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return b""


def from_base64(text: object) -> bytes | None:
    """The bytes, or None unless the text is the one standard encoding of them (RFC 4648, section 4)."""
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their newlines, from chunks cut anywhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
