"""The secrets by which the executor knows the orchestrators of one installation from anyone else.

    driver's key of a run      HMAC-SHA256(installation secret, "<run>")
    owner's key of an effect   HMAC-SHA256(installation secret, "<run>/<step>/<attempt>")

(RFC 2104.) No run id has a slash, so no two of these are the same message. An effect is prepared with the digest of
its owner's key; the key itself leaves an orchestrator only to apply or to discard that effect. Because both follow
from the installation's secret, any orchestrator on the database can go on where another has stopped.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

SECRET_BYTES: Final = 32


class Keys:
    """Derives keys. What it holds and returns is for the executor alone: it is in no log, event or trace."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"an installation's secret has {SECRET_BYTES} bytes, not {len(secret)}")
        self._secret = secret

    def driver(self, run_id: str) -> bytes:
        """Shown with every call for a run."""
        return self._derive(run_id)

    def owner(self, run_id: str, step: int, attempt: int) -> bytes:
        """Shown to apply and to discard one attempt."""
        return self._derive(f"{run_id}/{step}/{attempt}")

    def owner_digest(self, run_id: str, step: int, attempt: int) -> str:
        """What an attempt is prepared with, `sha256:<hex>`."""
        return "sha256:" + hashlib.sha256(self.owner(run_id, step, attempt)).hexdigest()

    def _derive(self, message: str) -> bytes:
        return hmac.digest(self._secret, message.encode(), "sha256")
