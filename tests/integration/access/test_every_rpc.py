"""Every rpc of every service: who is let in, and who is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from tests.integration.access.conftest import Services
from tests.support.orchestrator import TOKEN

from interlock.common.access.roles import required_role
from interlock.common.client import error_from_rpc
from interlock.common.interceptors.base import Rpc
from interlock.v1 import access_pb2, approval_pb2, executor_pb2, orchestrator_pb2, planner_pb2, webhook_pb2

METHODS = [
    method
    for file in (access_pb2, approval_pb2, executor_pb2, orchestrator_pb2, planner_pb2, webhook_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
GRANTS = {
    "viewer": {"viewer"},
    "operator": {"viewer", "operator"},
    "approver": {"viewer", "approver"},
    "admin": {"viewer", "operator", "approver", "admin"},
}
REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}


async def end_of(channel: Any, method: Any) -> str:
    """How a call with an empty request ends: OK, or the reason. A stream is cut at its first message."""
    request = message_factory.GetMessageClass(method.input_type)()
    path = f"/{method.containing_service.full_name}/{method.name}"
    make = getattr(
        channel,
        ("stream" if method.client_streaming else "unary")
        + ("_stream" if method.server_streaming else "_unary"),
    )
    call = make(
        path,
        request_serializer=type(request).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )(iter([request]) if method.client_streaming else request, timeout=20)
    try:
        if method.server_streaming:
            await anext(call.__aiter__(), None)
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        # The executor and the planner here do nothing: that their rpc is reached is enough.
        return "reached" if error.code() is grpc.StatusCode.UNIMPLEMENTED else error_from_rpc(error).reason
    return "OK"


@pytest.mark.parametrize("token", ["", "wrong", f"ilk_tok-{'0' * 26}_{'a' * 43}", f"{TOKEN}x"])
async def test_nobody_unknown_reaches_any(services: Services, token: str) -> None:
    for method in METHODS:
        channel = await services.channel(method.containing_service.name, token)
        assert await end_of(channel, method) == "UNAUTHENTICATED", method.full_name


@pytest.mark.parametrize("role", sorted(GRANTS))
async def test_a_role_reaches_what_it_may_and_nothing_else(services: Services, role: str) -> None:
    issued = await services.issue(role)
    for method in METHODS:
        wanted = required_role(Rpc(f"/{method.containing_service.full_name}/{method.name}", False, False))
        end = await end_of(await services.channel(method.containing_service.name, issued.text), method)
        if wanted in GRANTS[role]:
            assert end not in REFUSED, (method.full_name, end)
        else:
            assert end == "PERMISSION_DENIED", (method.full_name, end)


async def test_the_services_own_token_reaches_all(services: Services) -> None:
    for method in METHODS:
        end = await end_of(await services.channel(method.containing_service.name, TOKEN), method)
        assert end not in REFUSED, (method.full_name, end)


async def test_an_expired_or_a_revoked_token_reaches_none(services: Services) -> None:
    short = await services.issue("admin", lifetime=timedelta(seconds=1))
    gone = await services.issue("admin")
    await (await services.access()).RevokeToken(access_pb2.RevokeTokenRequest(token_id=gone.token.token_id))
    me = await services.access(short.text)
    while True:  # until its second is over
        try:
            await me.WhoAmI(access_pb2.WhoAmIRequest())
        except grpc.aio.AioRpcError:
            break
    for issued in (short, gone):
        for method in METHODS:
            channel = await services.channel(method.containing_service.name, issued.text)
            assert await end_of(channel, method) == "UNAUTHENTICATED", method.full_name
