"""Which OpenID provider is believed, and what its groups may do here: INTERLOCK_OIDC_* variables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from interlock.common.auth import SUBJECT_FORM
from interlock.common.config import bad_variable, env_float, env_list, env_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import PEOPLE_ROLES, is_reserved

ISSUER: Final = "INTERLOCK_OIDC_ISSUER"
EVERYONE: Final = "*"
"""The group of everyone whom the provider knows."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_APPROVERS: Final = 50  # they travel in a header
_LONGEST_ISSUER: Final = 240  # `oidc:<issuer>` travels in a header of 256 characters


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """What of a provider's tokens counts.

    Attributes:
        issuer: INTERLOCK_OIDC_ISSUER, exactly as the provider spells it.
        audiences: INTERLOCK_OIDC_AUDIENCE; a token is for us when it is for one of them.
        clients: INTERLOCK_OIDC_CLIENTS, those whose tokens are taken; empty = every client of the provider.
        subject: INTERLOCK_OIDC_SUBJECT_CLAIM, the claim that names the person; `sub` by default.
        groups: INTERLOCK_OIDC_GROUPS_CLAIM, the claim that lists groups; `groups` by default, `a.b` is b within a.
        roles: INTERLOCK_OIDC_ROLES, `group=role`; the group `*` is everyone.
        scopes: INTERLOCK_OIDC_SCOPES, `group:label=value`: who is in the group may touch only what has the label.
        owner: INTERLOCK_OIDC_OWNER_CLAIM, the claim that names whose agent the subject is; empty = no claim does.
        owners: INTERLOCK_OIDC_OWNERS, `subject=owner`, for providers that cannot say it.
        approvers: INTERLOCK_OIDC_APPROVER_GROUPS, `name=group`: groups that policies may name as `provider:NAME`.
        leeway: INTERLOCK_OIDC_LEEWAY_SECONDS, by how much clocks may differ; 30 by default, 300 at most.
    """

    issuer: str
    audiences: tuple[str, ...]
    clients: tuple[str, ...] = ()
    subject: str = "sub"
    groups: str = "groups"
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    scopes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    leeway: float = 30.0
    owner: str = ""
    owners: Mapping[str, str] = field(default_factory=dict)
    approvers: Mapping[str, str] = field(default_factory=dict)

    @property
    def authentication(self) -> str:
        """How its people proved who they are, as it is recorded."""
        return f"oidc:{self.issuer}"


def from_env(env: Mapping[str, str] | None = None) -> OidcSettings | None:
    """The provider's settings; None without one. Raises INVALID_ARGUMENT naming the variable at fault."""
    issuer = env_text(ISSUER, env=env)
    if not issuer:
        return None
    check_url(issuer, ISSUER)
    if len(issuer) > _LONGEST_ISSUER:
        raise bad_variable(ISSUER, issuer, f"at most {_LONGEST_ISSUER} characters long")
    audiences = env_list("INTERLOCK_OIDC_AUDIENCE", env=env)
    if not audiences:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{ISSUER} is set and INTERLOCK_OIDC_AUDIENCE is not: whom its tokens are for cannot be checked.",
            field="INTERLOCK_OIDC_AUDIENCE",
            fix="Set it to the client id, or the API's identifier, that is registered with the provider.",
        )
    return OidcSettings(
        issuer,
        audiences,
        env_list("INTERLOCK_OIDC_CLIENTS", env=env),
        env_text("INTERLOCK_OIDC_SUBJECT_CLAIM", "sub", env),
        env_text("INTERLOCK_OIDC_GROUPS_CLAIM", "groups", env),
        _roles(env),
        _scopes(env),
        env_float("INTERLOCK_OIDC_LEEWAY_SECONDS", 30.0, minimum=0.0, maximum=300.0, env=env),
        env_text("INTERLOCK_OIDC_OWNER_CLAIM", env=env),
        _owners(env),
        _approvers(env),
    )


def check_url(text: str, name: str) -> None:
    """Raises INVALID_ARGUMENT unless it is an https URL, or one on loopback: keys that anybody on the way could
    replace prove nothing."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise bad_variable(name, text, "a URL") from None
    visible = text.isascii() and all("!" <= char <= "~" for char in text)
    if not visible or parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad_variable(name, text, "an https URL")
    if parts.username or parts.password or parts.fragment:
        raise bad_variable(name, "https://…", "a URL without a user, a password and a fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise bad_variable(name, text, "an https URL; http is for loopback only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _roles(env: Mapping[str, str] | None) -> dict[str, frozenset[str]]:
    name = "INTERLOCK_OIDC_ROLES"
    found: dict[str, frozenset[str]] = {}
    for entry in env_list(name, env=env):
        group, equals, role = entry.rpartition("=")
        if not equals or not group or role not in PEOPLE_ROLES:
            raise bad_variable(name, entry, f"group=role, with one of {', '.join(sorted(PEOPLE_ROLES))}")
        found[group] = found.get(group, frozenset()) | {role}
    return found


def _owners(env: Mapping[str, str] | None) -> dict[str, str]:
    name = "INTERLOCK_OIDC_OWNERS"
    found: dict[str, str] = {}
    for entry in env_list(name, env=env):
        subject, _, owner = entry.rpartition("=")
        if not SUBJECT_FORM.fullmatch(subject) or not SUBJECT_FORM.fullmatch(owner) or is_reserved(owner):
            raise bad_variable(name, entry, "subject=owner")
        if found.setdefault(subject, owner) != owner:
            raise bad_variable(name, entry, "one owner of a subject")
    return found


def _approvers(env: Mapping[str, str] | None) -> dict[str, str]:
    name = "INTERLOCK_OIDC_APPROVER_GROUPS"
    found: dict[str, str] = {}
    for entry in env_list(name, env=env):
        known, equals, group = entry.partition("=")
        if not equals or not group or not _NAME.fullmatch(known):
            raise bad_variable(name, entry, "name=group, the name of A-Za-z0-9._-")
        if found.setdefault(known, group) != group or len(found) > _MOST_APPROVERS:
            raise bad_variable(name, entry, f"one group of a name, and at most {_MOST_APPROVERS} names")
    return found


def _scopes(env: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    name = "INTERLOCK_OIDC_SCOPES"
    found: dict[str, dict[str, str]] = {}
    for entry in env_list(name, env=env):
        left, equals, value = entry.partition("=")
        group, colon, label = left.rpartition(":")
        if not (equals and colon and group and label and value):
            raise bad_variable(name, entry, "group:label=value")
        if found.setdefault(group, {}).setdefault(label, value) != value:
            raise bad_variable(name, entry, "one value for a label of a group")
    return found
