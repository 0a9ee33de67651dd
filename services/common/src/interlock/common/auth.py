"""How a caller proves who it is. Today a shared token; the `Authenticator` protocol is where OIDC goes.

An OIDC authenticator verifies the bearer token's signature, issuer, audience and expiry and maps its claims to
an Identity; nothing else in the services changes, because they only ever see `identity.current_identity()`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import ROLES, Identity

AUTHORIZATION = "authorization"
SUBJECT = "x-interlock-subject"
_SCHEME = "bearer "
_SUBJECT_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+/=-]{0,127}")


class Authenticator(Protocol):
    """Turns a call's metadata into an identity."""

    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """The caller. Raises InterlockError(UNAUTHENTICATED) when it proves nothing. Must not block."""
        ...


class TokenAuthenticator:
    """Accepts a list of shared tokens; whoever holds one is the subject `local` with every role.

    The first token is the master token. With it, and only with it, a caller may name another subject in
    `x-interlock-subject`: a gateway or chat bot that authenticated the person itself. The others are tokens
    still accepted while they are being rotated out.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        if not tokens or not all(tokens):
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                "A server needs at least one non-empty token.",
                field="INTERLOCK_TOKEN",
            )
        self._tokens = tuple(token.encode() for token in tokens)

    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """Compare in constant time with every accepted token."""
        header = metadata.get(AUTHORIZATION, "")
        if header[: len(_SCHEME)].lower() != _SCHEME:
            raise InterlockError(Reason.UNAUTHENTICATED, "The call carries no bearer token.")
        given = header[len(_SCHEME) :].strip().encode()
        # Every token is compared, so that time does not tell which one came close.
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        if not any(matches):
            raise InterlockError(Reason.UNAUTHENTICATED, "The call's token is not accepted.")
        return Identity(self._subject(metadata.get(SUBJECT, ""), master=matches[0]), ROLES)

    @staticmethod
    def _subject(claim: str, *, master: bool) -> str:
        if not claim:
            return "local"
        if not master:
            raise InterlockError(
                Reason.PERMISSION_DENIED, "This token may not act for another subject.", field=SUBJECT
            )
        if not _SUBJECT_FORM.fullmatch(claim):
            raise InterlockError(Reason.INVALID_ARGUMENT, "The subject is not a valid name.", field=SUBJECT)
        return claim
