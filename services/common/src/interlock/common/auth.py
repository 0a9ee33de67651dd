"""How a caller proves who it is: the services' shared token, an issued one, or one of an OIDC provider.

Every service has one `Authenticator`, put together by `interlock.common.access`; nothing else in the services
knows how it was proved, because they only ever see `identity.current_identity()`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import LOCAL, PEOPLE_ROLES, ROLES, Identity, is_reserved

AUTHORIZATION: Final = "authorization"
ISSUED: Final = "ilk_"
"""What the text of an issued token begins with."""

SUBJECT: Final = "x-interlock-subject"
_ROLES: Final = "x-interlock-roles"
_SCOPE: Final = "x-interlock-scope"
_AUTHENTICATION: Final = "x-interlock-authentication"
_OWNER: Final = "x-interlock-owner"
_GROUPS: Final = "x-interlock-groups"
_GROUP_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SCHEME: Final = "bearer "
SUBJECT_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+/=|-]{0,127}")
_AUTHENTICATION_FORM: Final = re.compile(r"[!-~]{0,256}")


class Authenticator(Protocol):
    """Turns a call's metadata into an identity."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """The caller. Raises UNAUTHENTICATED when it proves nothing, UNAVAILABLE when nobody can tell now."""
        ...


def bearer(metadata: Mapping[str, str]) -> str:
    """The token of a call. Raises UNAUTHENTICATED when it carries none."""
    header = metadata.get(AUTHORIZATION, "")
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise InterlockError(Reason.UNAUTHENTICATED, "The call carries no bearer token.")
    return header[len(_SCHEME) :].strip()


def not_accepted() -> InterlockError:
    """The one answer to every token that is not accepted, whatever the cause."""
    return InterlockError(Reason.UNAUTHENTICATED, "The call's token is not accepted.")


def on_behalf_of(identity: Identity) -> tuple[tuple[str, str], ...]:
    """Metadata by which a service that holds the master token makes a call as somebody whom it authenticated."""
    return (
        (SUBJECT, identity.subject),
        (_ROLES, ",".join(sorted(identity.roles))),
        (_SCOPE, urlencode(sorted(identity.scope.items()))),
        (_AUTHENTICATION, identity.authentication),
        *([(_OWNER, identity.owner)] if identity.owner else []),
        *([(_GROUPS, ",".join(sorted(identity.groups)))] if identity.groups else []),
    )


class TokenAuthenticator:
    """Accepts a list of shared tokens; whoever holds one is the subject `local` with every role.

    The first token is the master token. With it, and only with it, a caller may name another subject in
    `x-interlock-subject`, as `on_behalf_of` does: a service, gateway or chat bot that authenticated the person
    itself. The others are tokens still accepted while they are being rotated out.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        if not tokens or not all(tokens):
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                "A server needs at least one non-empty token.",
                field="INTERLOCK_TOKEN",
            )
        if any(token.startswith(ISSUED) for token in tokens):
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                "A service cannot be started with an issued token: it needs the one that the services share.",
                field="INTERLOCK_TOKEN",
                fix="Unset INTERLOCK_TOKEN for it; with an issued token, name the services by --server.",
            )
        self._tokens = tuple(token.encode() for token in tokens)

    async def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """Compare in constant time with every accepted token."""
        given = bearer(metadata).encode()
        # Every token is compared, so that time does not tell which one came close.
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        if not any(matches):
            raise not_accepted()
        if SUBJECT not in metadata or not metadata[SUBJECT]:
            return Identity(LOCAL, ROLES)
        if not matches[0]:
            raise InterlockError(
                Reason.PERMISSION_DENIED, "This token may not act for another subject.", field=SUBJECT
            )
        return _claimed(metadata)


def _claimed(metadata: Mapping[str, str]) -> Identity:
    """Whom the master token speaks for. Without roles they have every one of a person."""
    subject, authentication = metadata[SUBJECT], metadata.get(_AUTHENTICATION, "shared")
    if not SUBJECT_FORM.fullmatch(subject) or is_reserved(subject):
        raise InterlockError(Reason.INVALID_ARGUMENT, "The subject is not a valid name.", field=SUBJECT)
    roles = frozenset(filter(None, metadata.get(_ROLES, ",".join(PEOPLE_ROLES)).split(",")))
    if not roles <= ROLES:
        raise InterlockError(Reason.INVALID_ARGUMENT, "The roles are not known.", field=_ROLES)
    if not _AUTHENTICATION_FORM.fullmatch(authentication):
        raise InterlockError(
            Reason.INVALID_ARGUMENT, "It is not a way to authenticate.", field=_AUTHENTICATION
        )
    owner = metadata.get(_OWNER, "")
    if owner and not SUBJECT_FORM.fullmatch(owner):
        raise InterlockError(Reason.INVALID_ARGUMENT, "The owner is not a valid name.", field=_OWNER)
    groups = frozenset(filter(None, metadata.get(_GROUPS, "").split(",")))
    if not all(map(_GROUP_FORM.fullmatch, groups)):
        raise InterlockError(Reason.INVALID_ARGUMENT, "The groups are not valid names.", field=_GROUPS)
    scope = dict(parse_qsl(metadata.get(_SCOPE, ""), keep_blank_values=True))
    return Identity(subject, roles, scope, authentication, owner=owner, groups=groups)
