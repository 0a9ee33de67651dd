"""Opaque page tokens and stream cursors.

Both are `base64url(version byte · 8-byte check · canonical JSON)` without padding. The check is keyed BLAKE2b
over kind, scope and payload: a token that was cut, edited, made by another list, or used with other filters
is refused instead of misread. With a key it cannot be forged either; without one it must not be trusted for
authorisation (and never is: it only says where to go on).
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
_VERSION = b"\x01"
_CHECK_BYTES = 8


def encode_page_token(scope: str, payload: Mapping[str, JsonScalar], key: bytes = b"") -> str:
    """A page token for the list and filters that `scope` names (for example `ListRuns?state=RUNNING`)."""
    return _encode(b"page", scope, payload, key)


def decode_page_token(
    scope: str, token: str, key: bytes = b"", *, field: str = "page_token"
) -> dict[str, JsonScalar]:
    """The payload of a token made with the same scope and key. Raises PAGE_TOKEN_INVALID."""
    payload = _decode(b"page", scope, token, key)
    if payload is None:
        raise InterlockError(
            Reason.PAGE_TOKEN_INVALID,
            "The page token does not belong to this list and its filters.",
            field=field,
        )
    return payload


def encode_cursor(scope: str, payload: Mapping[str, JsonScalar], key: bytes = b"") -> str:
    """A cursor into the stream that `scope` names (for example `WatchRun/run-…`)."""
    return _encode(b"cursor", scope, payload, key)


def decode_cursor(
    scope: str, cursor: str, key: bytes = b"", *, field: str = "cursor"
) -> dict[str, JsonScalar]:
    """The payload of a cursor made with the same scope and key. Raises CURSOR_INVALID."""
    payload = _decode(b"cursor", scope, cursor, key)
    if payload is None:
        raise InterlockError(Reason.CURSOR_INVALID, "The cursor does not belong to this stream.", field=field)
    return payload


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


def _decode(kind: bytes, scope: str, token: str, key: bytes) -> dict[str, JsonScalar] | None:
    if not token or len(token) > MAX_TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    check, body = raw[1 : 1 + _CHECK_BYTES], raw[1 + _CHECK_BYTES :]
    if raw[:1] != _VERSION or not hmac.compare_digest(check, _check(kind, scope, body, key)):
        return None
    # The check passed, so this process (or one like it) wrote the body: it is an object of scalars.
    payload: dict[str, JsonScalar] = json.loads(body)
    return payload
