"""Endpoints' secrets as the database keeps them: encrypted with a key that is not in the database.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 12 bytes before the text; the endpoint's id is authenticated along
with it, so that a sealed secret that is copied to another endpoint does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.common.config import data_dir, env_text, kept_secret
from interlock.common.errors import InterlockError, Reason

VARIABLE: Final = "INTERLOCK_WEBHOOK_KEY"
CLEAR: Final = ""
"""The name of the key of what is not sealed: an earlier release kept secrets so."""

_KEY, _NONCE = 32, 12


class Unsealable(Exception):
    """A secret that cannot be opened. Its text says why, and not what."""


class Ring:
    """Keys by name: the first seals, all open.

    Args:
        keys: of 32 bytes each; without one nothing can be sealed.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {name_of(key): AESGCM(key) for key in keys}
        self.newest = next(iter(self._keys), CLEAR)

    def seal(self, secret: bytes, about: str) -> tuple[bytes, str]:
        """The sealed secret of an endpoint, and the key's name. Raises INVALID_ARGUMENT where there is no key."""
        if not self._keys:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                "The orchestrator has no key to encrypt the webhook's secret with.",
                field=VARIABLE,
                fix=f"Set {VARIABLE} for the orchestrator, from `openssl rand -base64 32`, and start it again.",
            )
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._keys[self.newest].encrypt(nonce, secret, about.encode()), self.newest

    def open(self, sealed: bytes, key: str, about: str) -> bytes:
        """The secret again. Raises Unsealable."""
        if key == CLEAR:
            return sealed
        if key not in self._keys:
            raise Unsealable(f"the secret is encrypted with the key {key}, which {VARIABLE} does not hold")
        try:
            return self._keys[key].decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except InvalidTag:
            raise Unsealable("the encrypted secret was changed") from None


def name_of(key: bytes) -> str:
    """What tells a key from others and says nothing about it."""
    return hashlib.sha256(b"interlock webhook key\n" + key).hexdigest()[:16]


def from_env(env: Mapping[str, str] | None = None) -> Ring:
    """The keys of INTERLOCK_WEBHOOK_KEY (base64 of 32 bytes each, with commas), else of `<data>/webhook.key`, which is
    made where it is missing; none where that directory cannot be written. Raises INVALID_ARGUMENT, PERMISSION_DENIED.
    """
    text = env_text(VARIABLE, env=env)
    if not text:
        path = data_dir(env) / "webhook.key"
        try:
            text = kept_secret(path, lambda: base64.b64encode(secrets.token_bytes(_KEY)).decode()) or ""
        except InterlockError:
            if path.exists():
                raise
            return Ring()
    return Ring([_key(part) for part in text.replace("\n", ",").split(",") if part.strip()])


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,  # without the text: it may be a key with a letter too few
            f"{VARIABLE} is not base64 of {_KEY} bytes, or several of them with commas.",
            field=VARIABLE,
            fix="Make one with `openssl rand -base64 32`.",
        )
    return key
