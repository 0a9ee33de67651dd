"""Secrets and signatures as Standard Webhooks 1.0 describes them (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

from interlock.common.errors import InterlockError, Reason

PREFIX: Final = "whsec_"
_LEAST, _MOST = 24, 64


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign. Raises INVALID_ARGUMENT unless it is `whsec_` and the base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The secret is not {PREFIX!r} followed by base64 of {_LEAST} to {_MOST} bytes.",
            field="secret",
            fix="Leave it out: then one is made, and shown once.",
        )
    return key


def headers(key: bytes, delivery_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """What a delivery is known by: HMAC-SHA256 over `id.timestamp.body`; `seconds` since 1970."""
    content = f"{delivery_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }
