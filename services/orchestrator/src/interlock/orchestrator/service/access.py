"""The Access service: each handler calls one use case."""

from __future__ import annotations

from typing import Any

from interlock.common.access import convert as callers
from interlock.common.identity import current_identity
from interlock.orchestrator.commands import delegate
from interlock.orchestrator.commands.create_token import create_token
from interlock.orchestrator.convert import access as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.queries import access as queries
from interlock.orchestrator.store import access
from interlock.v1 import access_pb2 as pb
from interlock.v1 import access_pb2_grpc


class AccessService(access_pb2_grpc.AccessServicer):
    """Handlers of interlock.v1.Access."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Any) -> pb.CreateTokenResponse:
        return await create_token(self._deps, request)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Any) -> pb.ListTokensResponse:
        return await queries.list_tokens(self._deps, request)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Any) -> pb.RevokeTokenResponse:
        row = await access.revoke(self._deps.database, request.token_id, current_identity().subject)
        return pb.RevokeTokenResponse(token=convert.token(row))

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        return pb.WhoAmIResponse(caller=callers.caller(current_identity()))

    async def Introspect(self, request: pb.IntrospectRequest, context: Any) -> pb.IntrospectResponse:
        return await queries.introspect(self._deps, request)

    async def RecordDenials(self, request: pb.RecordDenialsRequest, context: Any) -> pb.RecordDenialsResponse:
        await access.record(self._deps.database, [convert.reported(each) for each in request.denials])
        return pb.RecordDenialsResponse()

    async def ListDenials(self, request: pb.ListDenialsRequest, context: Any) -> pb.ListDenialsResponse:
        return await queries.list_denials(self._deps, request)

    async def Delegate(self, request: pb.DelegateRequest, context: Any) -> pb.DelegateResponse:
        return await delegate.delegate(self._deps, request)

    async def ListDelegations(
        self, request: pb.ListDelegationsRequest, context: Any
    ) -> pb.ListDelegationsResponse:
        return await queries.list_delegations(self._deps, request)

    async def RevokeDelegation(
        self, request: pb.RevokeDelegationRequest, context: Any
    ) -> pb.RevokeDelegationResponse:
        return await delegate.revoke(self._deps, request)
