"""Canonical JSON as journals use it: RFC 8785 without floats, integers up to ±(2**53-1).

Written from the RFC and independent of the code that makes journals, so that the two check each other.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 128
_MAX_DIGITS = 16

_ESCAPES = {
    0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
}  # fmt: skip
_ESCAPES.update({code: f"\\u{code:04x}" for code in range(0x20) if code not in _ESCAPES})


class NotCanonicalError(ValueError):
    """The bytes are not canonical JSON; the message says why."""


def parse(data: bytes) -> Any:
    """The value of canonical bytes. Raises NotCanonicalError unless writing it again gives the same bytes."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except UnicodeDecodeError:
        raise NotCanonicalError("not UTF-8") from None
    except RecursionError:
        raise NotCanonicalError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotCanonicalError(f"not JSON: {error.msg} at character {error.pos}") from None
    if dump(value) != data:
        raise NotCanonicalError("not in canonical form (order of keys, spaces or escapes)")
    return value


def dump(value: Any) -> bytes:
    """The canonical bytes of a value."""
    try:
        return _text(value, 0).encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonicalError("text with a lone surrogate") from None


def _text(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise NotCanonicalError("nested too deeply")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return "[" + ",".join([_text(item, depth + 1) for item in value]) + "]"
    # RFC 8785, section 3.2.3: keys in the order of their UTF-16 code units.
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join([f"{_string(key)}:{_text(value[key], depth + 1)}" for key in keys]) + "}"


def _string(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotCanonicalError("a key is given twice")
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS or not -MAX_INTEGER <= int(digits) <= MAX_INTEGER:
        raise NotCanonicalError("an integer beyond ±(2**53-1)")
    return int(digits)


def _no_float(text: str) -> NoReturn:
    raise NotCanonicalError("a number that is not an integer")
