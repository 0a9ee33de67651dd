"""Opaque page tokens and stream cursors.

Both are `base64url(version byte · 8-byte check · canonical JSON)` without padding. The check is keyed BLAKE2b
over kind, scope and payload: a token that was cut, edited, made by another list, or used with other filters
is refused instead of misread. With a key it cannot be forged either; without one it must not be trusted for
authorisation (and never is: it only says where to go on). So whoever takes something out of one says what it
must be (`Contents.text`, `Contents.integer`): anything else is the same refusal as a wrong check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final

from interlock.common.digests import canonical_json
from interlock.common.errors import InterlockError, Reason

JsonScalar = str | int | bool | None

MAX_TOKEN_CHARS: Final = 1024
MAX_INTEGER: Final = 2**53 - 1
_VERSION = b"\x01"
_CHECK_BYTES = 8


class Contents(dict[str, JsonScalar]):
    """What a token says. Its getters raise `refusal` (as anyone may) for a value that no honest token holds."""

    def __init__(self, payload: object, refusal: InterlockError) -> None:
        self.refusal = refusal
        if not isinstance(payload, dict):
            raise refusal
        super().__init__(payload)

    def text(self, name: str, *, default: str | None = None, longest: int = 512) -> str:
        """Text of at most `longest` characters that a database can store; `default` where it is missing."""
        value = self.get(name, default)
        if not isinstance(value, str) or len(value) > longest or not is_storable(value):
            raise self.refusal
        return value

    def integer(self, name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        """A whole number within the limits."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refusal
        return value


def is_storable(text: str) -> bool:
    """Whether PostgreSQL and SQLite take it as text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def encode_page_token(scope: str, payload: Mapping[str, JsonScalar], key: bytes = b"") -> str:
    """A page token for the list and filters that `scope` names (for example `ListRuns?state=RUNNING`)."""
    return _encode(b"page", scope, payload, key)


def decode_page_token(scope: str, token: str, key: bytes = b"", *, field: str = "page_token") -> Contents:
    """The payload of a token made with the same scope and key. Raises PAGE_TOKEN_INVALID."""
    reason, message = (
        Reason.PAGE_TOKEN_INVALID,
        "The page token does not belong to this list and its filters.",
    )
    return Contents(_decode(b"page", scope, token, key), InterlockError(reason, message, field=field))


def encode_cursor(scope: str, payload: Mapping[str, JsonScalar], key: bytes = b"") -> str:
    """A cursor into the stream that `scope` names (for example `WatchRun/run-…`)."""
    return _encode(b"cursor", scope, payload, key)


def decode_cursor(scope: str, cursor: str, key: bytes = b"", *, field: str = "cursor") -> Contents:
    """The payload of a cursor made with the same scope and key. Raises CURSOR_INVALID."""
    reason, message = Reason.CURSOR_INVALID, "The cursor does not belong to this stream."
    return Contents(_decode(b"cursor", scope, cursor, key), InterlockError(reason, message, field=field))


def page_size(requested: int, *, default: int = 50, maximum: int = 500) -> int:
    """AIP-158: 0 means the default, too many means the maximum, a negative number is INVALID_ARGUMENT."""
    if requested < 0:
        raise InterlockError(Reason.INVALID_ARGUMENT, "The page size is negative.", field="page_size")
    return min(requested or default, maximum)


def _check(kind: bytes, scope: str, body: bytes, key: bytes) -> bytes:
    message = kind + b"\n" + scope.encode("utf-8", "surrogatepass") + b"\n" + body
    return hashlib.blake2b(message, digest_size=_CHECK_BYTES, key=key[:64]).digest()


def _encode(kind: bytes, scope: str, payload: Mapping[str, JsonScalar], key: bytes) -> str:
    body = canonical_json(dict(payload))
    token = base64.urlsafe_b64encode(_VERSION + _check(kind, scope, body, key) + body).rstrip(b"=").decode()
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError("a token's payload is too large")
    return token


def _decode(kind: bytes, scope: str, token: str, key: bytes) -> object:
    """The JSON value of a token; None for one that was not made for this."""
    if not token or len(token) > MAX_TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    check, body = raw[1 : 1 + _CHECK_BYTES], raw[1 + _CHECK_BYTES :]
    if raw[:1] != _VERSION or not hmac.compare_digest(check, _check(kind, scope, body, key)):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
