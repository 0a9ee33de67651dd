"""Ed25519 keys (RFC 8032) that journals are signed with, in PEM files: PKCS #8, and the public part beside it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock.common.errors import InterlockError, Reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FIELD: Final = "INTERLOCK_JOURNAL_KEY_FILE"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; `key_id` names its public part."""

    key_id: str
    _key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def key_id(public: bytes) -> str:
    """`ed25519:` and the first 32 hex digits of the SHA-256 of the 32 bytes of a public key."""
    return "ed25519:" + hashlib.sha256(public).hexdigest()[:32]


def generate(path: Path) -> str:
    """Makes a key: `path` (mode 0600, must not exist) and its public part beside it, `path.pub`. Returns its id."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    try:
        _create(path, private, 0o600)
        _create(beside, public, 0o644)
    except FileExistsError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{error.filename} exists; a key is never written over another one.",
            field="file",
            fix="Name another file, and give both public keys to whoever verifies.",
        ) from None
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"Cannot write {error.filename}: {error.strerror}.", field="file"
        ) from None
    return _of(key).key_id


def load(path: Path) -> SigningKey:
    """Reads a private key. Raises INVALID_ARGUMENT when it cannot be, or when everybody may read it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            raise _bad(path, "may be read by everybody", f"chmod 600 {path}")
        key: Any = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad(path, "is not an unencrypted PEM private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad(path, "is a key, but not an Ed25519 one")
    return _of(key)


def _of(key: Ed25519PrivateKey) -> SigningKey:
    return SigningKey(key_id(key.public_key().public_bytes_raw()), key)


def _create(path: Path, content: bytes, mode: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(file, "wb") as opened:
        opened.write(content)


def _bad(path: Path, what: str, fix: str = "") -> InterlockError:
    make = fix or "`interlock journal keygen FILE` makes one."
    return InterlockError(
        Reason.INVALID_ARGUMENT, f"The journal's key {path} {what}.", field=_FIELD, fix=make
    )
