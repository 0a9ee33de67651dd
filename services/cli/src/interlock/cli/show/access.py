"""Tokens, callers, delegations and refused calls."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from interlock.cli.output import progress, show_list, show_one, write_fields
from interlock.cli.settings import Output, Settings
from interlock.cli.text import enum_text, labels_text, time_text
from interlock.v1.access_pb2 import Caller, CreateTokenResponse, Delegation, Denial, Token
from interlock.v1.role_pb2 import Role


def show_created(settings: Settings, made: CreateTokenResponse) -> None:
    """A new token: its text alone on standard output, so that it can be taken by `$(…)`."""
    if settings.output is not Output.TABLE:
        show_one(settings, made, lambda: None)
        return
    token = made.token
    progress(
        f"{token.token_id} for {_subject(token)}: {_roles(token.roles)}"
        f"{', only ' + labels_text(token.scope.items()) if token.scope else ''},"
        f" until {time_text(token.expires_at)}. This is its only showing:"
    )
    sys.stdout.write(made.text + "\n")


def show_token(settings: Settings, token: Token) -> None:
    """One token."""
    show_one(settings, token, lambda: write_fields(_fields(token)))


def list_tokens(settings: Settings, tokens: Sequence[Token]) -> None:
    """Issued tokens."""
    show_list(
        settings,
        "tokens",
        tokens,
        ("TOKEN", "SUBJECT", "ROLES", "SCOPE", "UNTIL", "NOTE"),
        lambda t: (
            t.token_id,
            _subject(t),
            _roles(t.roles),
            labels_text(t.scope.items()),
            f"revoked {time_text(t.revoked_at)}" if t.HasField("revoked_at") else time_text(t.expires_at),
            t.note,
        ),
        empty="No tokens; `interlock token create --subject NAME --role approver` issues one.",
    )


def show_delegation(settings: Settings, delegation: Delegation) -> None:
    """One delegation."""
    d = delegation
    fields = (
        ("delegation", d.delegation_id),
        ("from", d.from_subject),
        ("to", d.to_subject),
        ("scope", labels_text(d.scope.items())),
        ("note", d.note),
        ("given", f"{time_text(d.created_at)} by {d.authentication}"),
        ("until", time_text(d.expires_at)),
        ("revoked", f"{time_text(d.revoked_at)} by {d.revoked_by}" if d.HasField("revoked_at") else ""),
    )
    show_one(settings, d, lambda: write_fields(fields))


def list_delegations(settings: Settings, delegations: Sequence[Delegation]) -> None:
    """Who may decide in whose place."""
    show_list(
        settings,
        "delegations",
        delegations,
        ("DELEGATION", "FROM", "TO", "SCOPE", "UNTIL", "NOTE"),
        lambda d: (
            d.delegation_id,
            d.from_subject,
            d.to_subject,
            labels_text(d.scope.items()),
            f"revoked {time_text(d.revoked_at)}" if d.HasField("revoked_at") else time_text(d.expires_at),
            d.note,
        ),
        empty="Nobody decides in anybody's place; `interlock delegation give SUBJECT --for 8h` lets them.",
    )


def show_caller(settings: Settings, caller: Caller) -> None:
    """Who is calling."""

    def people() -> None:
        write_fields(
            (
                ("subject", caller.subject),
                ("agent of", caller.owner),
                ("roles", _roles(caller.roles)),
                ("scope", labels_text(caller.scope.items())),
                ("by", caller.authentication),
                ("until", time_text(caller.expires_at) if caller.HasField("expires_at") else ""),
            )
        )

    show_one(settings, caller, people)


def list_denials(settings: Settings, denials: Sequence[Denial]) -> None:
    """Refused calls."""
    show_list(
        settings,
        "denials",
        denials,
        ("AT", "SUBJECT", "BY", "CALL", "ABOUT", "TIMES", "WHY"),
        lambda d: (
            time_text(d.at),
            d.subject,
            d.authentication,
            d.rpc.removeprefix("interlock.v1."),
            d.resource,
            str(d.count),
            d.message,
        ),
        empty="No call of a known caller was refused.",
    )


def _subject(token: Token) -> str:
    return f"{token.subject} (agent of {token.owner})" if token.owner else token.subject


def _roles(roles: Iterable[int]) -> str:
    return ", ".join(enum_text(Role, role).lower() for role in roles)


def _fields(token: Token) -> tuple[tuple[str, str], ...]:
    revoked = f"{time_text(token.revoked_at)} by {token.revoked_by}" if token.HasField("revoked_at") else ""
    return (
        ("token", token.token_id),
        ("subject", token.subject),
        ("agent of", token.owner),
        ("roles", _roles(token.roles)),
        ("scope", labels_text(token.scope.items())),
        ("note", token.note),
        ("issued", f"{time_text(token.created_at)} by {token.created_by}"),
        ("until", time_text(token.expires_at)),
        ("revoked", revoked),
    )
