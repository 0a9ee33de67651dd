"""Whose a token is, which there are, who decides in whose place, and what was refused."""

from __future__ import annotations

from interlock.common.access import convert as callers
from interlock.common.errors import InterlockError, Reason
from interlock.common.paging import decode_page_token, encode_page_token, page_size
from interlock.orchestrator.convert import access as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import access, delegations
from interlock.v1 import access_pb2 as pb


async def list_tokens(deps: Deps, message: pb.ListTokensRequest) -> pb.ListTokensResponse:
    """A page of tokens, newest first."""
    list_ = f"ListTokens/{message.all}/{message.subject}"
    before = decode_page_token(list_, message.page_token).text("before") if message.page_token else None
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await access.page(
        deps.database, everything=message.all, subject=message.subject, before=before, limit=size
    )
    token = encode_page_token(list_, {"before": rows[-1].id}) if len(rows) == size else ""
    return pb.ListTokensResponse(tokens=[convert.token(row) for row in rows], next_page_token=token)


async def list_delegations(deps: Deps, message: pb.ListDelegationsRequest) -> pb.ListDelegationsResponse:
    """A page of delegations, newest first."""
    list_ = f"ListDelegations/{message.all}/{message.subject}"
    before = decode_page_token(list_, message.page_token).text("before") if message.page_token else None
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await delegations.page(
        deps.database, everything=message.all, subject=message.subject, before=before, limit=size
    )
    token = encode_page_token(list_, {"before": rows[-1].id}) if len(rows) == size else ""
    found = [convert.delegation(row) for row in rows]
    return pb.ListDelegationsResponse(delegations=found, next_page_token=token)


async def list_denials(deps: Deps, message: pb.ListDenialsRequest) -> pb.ListDenialsResponse:
    """A page of refused calls, newest first."""
    list_ = f"ListDenials/{message.subject}"
    before = decode_page_token(list_, message.page_token).integer("before") if message.page_token else None
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await access.denied(deps.database, subject=message.subject, before=before, limit=size)
    token = encode_page_token(list_, {"before": rows[-1].id}) if len(rows) == size else ""
    return pb.ListDenialsResponse(denials=[convert.denial(row) for row in rows], next_page_token=token)


async def introspect(deps: Deps, message: pb.IntrospectRequest) -> pb.IntrospectResponse:
    """Whose it is. Raises TOKEN_NOT_FOUND, whatever the cause."""
    found = await access.find(deps.database, message.token_id, message.digest)
    if found is None:
        raise InterlockError(Reason.TOKEN_NOT_FOUND, "The token is not accepted.")
    return pb.IntrospectResponse(caller=callers.caller(found))
