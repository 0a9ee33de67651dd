"""Digests and the canonical JSON they are taken over.

Digests are text `sha256:<64 lower-case hex>`. Canonical JSON is RFC 8785 (JCS), restricted to what a journal
event may hold: objects with string keys, arrays, strings, booleans, null, and integers up to ±(2**53-1).
Floats are refused, so that no two languages can disagree about a byte.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason

SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8785, section 3.2.2.3)."""

MAX_DEPTH: Final = 128
"""How deeply a value may be nested; deeper (or cyclic) ones are refused."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _encoder(*, sort_keys: bool) -> Callable[[Any], str]:
    """What `json.JSONEncoder.encode` does, without making the C encoder anew for each value."""
    made = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=sort_keys, separators=(",", ":")
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the C part
        return made.encode
    quote = json.encoder.encode_basestring
    write = make(None, made.default, quote, None, ":", ",", sort_keys, False, False)
    return lambda obj: "".join(write(obj, 0))


_DUMP = _encoder(sort_keys=True)
_DUMP_IN_ORDER = _encoder(sort_keys=False)


def sha256_text(data: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` has the form `sha256:<64 lower-case hex>`."""
    return _DIGEST.fullmatch(text) is not None


def digest_bytes(text: str, *, field: str = "") -> bytes:
    """The 32 bytes of a digest's text. Raises INVALID_ARGUMENT for any other form."""
    if not is_digest(text):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{text[:80]!r} is not a digest of the form sha256:<64 lower-case hex digits>.",
            field=field,
            fix="Copy the digest exactly as it was shown.",
        )
    return bytes.fromhex(text[7:])


def digest_text(raw: bytes) -> str:
    """The text of 32 raw digest bytes; the inverse of `digest_bytes`."""
    if len(raw) != 32:
        raise ValueError(f"a SHA-256 digest has 32 bytes, not {len(raw)}")
    return "sha256:" + raw.hex()


def canonical_json(obj: Any) -> bytes:
    """RFC 8785 bytes of `obj`.

    Equal to `rfc8785.dumps` on everything it accepts. The C encoder of `json` does the work: with floats out
    of the way it differs from RFC 8785 only in the order of keys, by code point instead of UTF-16 code unit,
    and those orders agree unless a key has a character beyond U+FFFF. Such values are put in order here first.

    Raises INVALID_ARGUMENT for floats, keys that are not text, lone surrogates, integers beyond 2**53-1 and
    nesting deeper than MAX_DEPTH.
    """
    if _check(obj, 0):
        text = _DUMP_IN_ORDER(_in_utf16_order(obj))
    else:
        text = _DUMP(obj)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refusal("text with a lone surrogate has no canonical JSON form") from None


def digest_json(obj: Any, domain: str) -> str:
    """`sha256:<hex>` over `domain`, a newline, and the canonical JSON of `obj`.

    The domain (for example `interlock.effect.v1`) keeps digests of different things apart even where their
    JSON happens to be equal. It holds no newline.
    """
    if "\n" in domain:
        raise ValueError("a digest's domain holds no newline")
    return sha256_text(domain.encode("utf-8") + b"\n" + canonical_json(obj))


def _check(obj: Any, depth: int) -> bool:
    """Refuse what has no canonical form; tell whether any key needs sorting by UTF-16 code units."""
    kind = type(obj)
    if kind is str or obj is None or kind is bool:
        return False
    if kind is int:
        if not -SAFE_INTEGER <= obj <= SAFE_INTEGER:
            raise _refusal("an integer beyond ±(2**53-1) must be written as a string")
        return False
    if depth >= MAX_DEPTH:
        raise _refusal(f"a value nested deeper than {MAX_DEPTH} levels has no canonical JSON form here")
    if isinstance(obj, dict):
        return _check_object(obj, depth)
    if isinstance(obj, (list, tuple)):
        unusual = False
        for item in obj:
            unusual |= _check(item, depth + 1)
        return unusual
    return _check_scalar(obj, depth)


def _check_object(obj: dict[Any, Any], depth: int) -> bool:
    unusual = False
    for key, value in obj.items():
        if type(key) is not str and not isinstance(key, str):
            raise _refusal(f"an object's key must be text, not {type(key).__name__}")
        if not key.isascii() and max(key) > "\uffff":
            unusual = True
        if type(value) is not str:  # text is most of what there is, and needs no look
            unusual |= _check(value, depth + 1)
    return unusual


def _check_scalar(obj: Any, depth: int) -> bool:
    # Subclasses of str and int (enums) are written as their plain values.
    if isinstance(obj, str):
        return False
    if isinstance(obj, int):
        return _check(int(obj), depth)
    if isinstance(obj, float):
        raise _refusal("floating-point numbers have no place in canonical JSON; use an integer or text")
    raise _refusal(f"a {type(obj).__name__} has no canonical JSON form")


def _in_utf16_order(obj: Any) -> Any:
    if isinstance(obj, dict):
        keys = sorted(obj, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _in_utf16_order(obj[key]) for key in keys}
    if isinstance(obj, (list, tuple)):
        return [_in_utf16_order(item) for item in obj]
    return obj


def _refusal(why: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"Cannot write canonical JSON: {why}.")
