"""Who the server is to the services: an operator, never somebody who decides.

An agent that could approve its own steps would make every gate a formality. The server therefore works with a token
that has the role operator and nothing else; the person's own token is used only to issue it and to take it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.client import Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.role_pb2 import Role

TOKEN_SECONDS = 7 * 24 * 3600.0
_HARMLESS = frozenset({Role.ROLE_VIEWER, Role.ROLE_OPERATOR})
_ISSUERS = frozenset({Role.ROLE_ADMIN, Role.ROLE_SERVICE})


@asynccontextmanager
async def operator_token(client: Client, subject: str) -> AsyncIterator[str]:
    """A token that cannot decide; empty where the client's own cannot.

    One that is issued here has the role operator and the client's scope, lives for at most a week, and is revoked on
    leaving. Where a person starts the server it names them as the agent's owner, so that rules which keep apart who
    asks and who approves count the two as one. `subject` is the agent's name; empty = `mcp-PERSON`, or `mcp-agent`.

    Raises PERMISSION_DENIED when the client's own token can decide and can issue none.
    """
    caller = await client.who_am_i()
    held = set(caller.roles)
    if held <= _HARMLESS:
        yield ""
        return
    if not held & _ISSUERS:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{caller.subject or 'The caller'} may decide about approvals, so an agent must not act with that token.",
            field="token",
            fix="Give `interlock mcp` a token of its own: `interlock token create --subject NAME --role operator`, "
            "then INTERLOCK_TOKEN.",
        )
    person = "" if caller.authentication == "shared" else caller.owner or caller.subject
    made = await client.create_token(
        subject or (f"mcp-{person}" if person else "mcp-agent"),
        [Role.ROLE_OPERATOR],
        scope=dict(caller.scope),
        lifetime=TOKEN_SECONDS,
        note="interlock mcp",
        owner=person,
    )
    try:
        yield made.text
    finally:
        await client.revoke_token(made.token.token_id)
