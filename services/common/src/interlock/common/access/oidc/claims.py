"""From the claims of a verified token to a caller. Pure.

OpenID Connect Core 1.0, 3.1.3.7 (iss, aud, azp, exp, iat), and RFC 7519, 4.1 (nbf). Whoever signed the token is
believed in what it says about its own people, and about nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from interlock.common.access.oidc import refusals
from interlock.common.access.oidc.settings import EVERYONE, OidcSettings
from interlock.common.auth import SUBJECT_FORM
from interlock.common.identity import LOCAL, Identity, folded, is_reserved

_LATEST: Final = 253_402_300_799  # the last second of the year 9999
_MOST_GROUPS: Final = 1000

Claims = Mapping[str, Any]


def identity(claims: Claims, settings: OidcSettings, now: datetime) -> Identity:
    """Who the caller is. Raises UNAUTHENTICATED saying what is wrong."""
    expires = _times(claims, settings.leeway, now.timestamp())
    if claims.get("iss") != settings.issuer:
        raise refusals.wrong_issuer()
    _for_us(claims, settings)
    groups = _groups(claims, settings.groups)
    subject = _subject(claims, settings.subject)
    return Identity(
        subject,
        _roles(groups, settings),
        _scope(groups, settings),
        settings.authentication,
        datetime.fromtimestamp(expires, UTC),
        _owner(claims, settings, subject),
        frozenset(name for name, group in settings.approvers.items() if group in groups),
    )


def _times(claims: Claims, leeway: float, now: float) -> float:
    expires = _time(claims, "exp")
    if expires is None:
        raise refusals.claim("exp", "is missing: a token that never ends is not accepted")
    if now >= expires + leeway:
        raise refusals.expired()
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - leeway:
            raise refusals.too_early()
    return expires


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _LATEST:
        raise refusals.claim(name, "is not a time")
    return float(value)


def _for_us(claims: Claims, settings: OidcSettings) -> None:
    given = claims.get("aud")
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or not set(settings.audiences) & set(_texts(audiences)):
        raise refusals.wrong_audience()
    client = claims.get("azp", claims.get("client_id"))
    if settings.clients:
        # An ID token for one audience may leave out who asked for it: it is the audience itself.
        asked = client if client is not None else audiences[0] if len(audiences) == 1 else None
        if asked not in settings.clients:
            raise refusals.wrong_client()


def _subject(claims: Claims, name: str) -> str:
    subject = claims.get(name)
    if not isinstance(subject, str) or not SUBJECT_FORM.fullmatch(subject):
        raise refusals.claim(name, "does not name a person: 1 to 128 characters of A-Za-z0-9._@:+/=|-")
    if name == "email" and claims.get("email_verified") is not True:
        raise refusals.claim("email_verified", "is not true, and so the email address proves nothing")
    if is_reserved(subject) or folded(subject) == LOCAL:
        raise refusals.claim(name, f"is {subject!r}, which is a name that nobody can have")
    return subject


def _owner(claims: Claims, settings: OidcSettings, subject: str) -> str:
    """Whose agent the subject is; what the settings say goes before what the token says."""
    if subject in settings.owners:
        return settings.owners[subject]
    owner = claims.get(settings.owner, "") if settings.owner else ""
    if owner and (not isinstance(owner, str) or not SUBJECT_FORM.fullmatch(owner) or is_reserved(owner)):
        raise refusals.claim(
            settings.owner, "does not name a person: 1 to 128 characters of A-Za-z0-9._@:+/=|-"
        )
    return str(owner) if folded(str(owner)) != folded(subject) else ""


def _groups(claims: Claims, path: str) -> frozenset[str]:
    """Everyone's group and those of the claim: a list of texts, or one text."""
    value: Any = claims.get(path)
    if value is None and "." in path:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if len(listed) > _MOST_GROUPS:
        raise refusals.claim(path, f"lists more than {_MOST_GROUPS} groups")
    # A group that calls itself by everyone's name would be nobody's in particular.
    return frozenset(_texts(listed)) | {EVERYONE}


def _texts(values: list[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _roles(groups: frozenset[str], settings: OidcSettings) -> frozenset[str]:
    return frozenset().union(*(roles for group, roles in settings.roles.items() if group in groups))


def _scope(groups: frozenset[str], settings: OidcSettings) -> dict[str, str]:
    """The labels of all their groups together: a second group narrows what may be touched, never widens it."""
    scope: dict[str, str] = {}
    for group, labels in settings.scopes.items():
        for label, value in labels.items() if group in groups else ():
            if scope.setdefault(label, value) != value:
                raise refusals.claim(settings.groups, f"has groups limited to different values of {label!r}")
    return scope
