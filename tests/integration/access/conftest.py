"""An orchestrator, an executor, a planner and an approval service that know issued tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tests.support.approvals import approval_server
from tests.support.orchestrator import TOKEN, Running, orchestrator
from tests.support.orchestrator import executor_server as executor
from tests.support.orchestrator import planner_server as planner
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.addresses import Address
from interlock.common.client import Channel, channel
from interlock.v1 import access_pb2 as pb
from interlock.v1 import access_pb2_grpc, executor_pb2, planner_pb2
from interlock.v1.role_pb2 import Role


def idle(service: Any) -> Any:
    """A servicer whose every rpc ends UNIMPLEMENTED, once it is reached."""

    async def unary(self: Any, request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "idle")

    async def stream(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "idle")
        yield

    rpcs = {m.name: stream if m.server_streaming else unary for m in service.methods}
    return type(f"Idle{service.name}", (), rpcs)()


EXECUTOR = executor_pb2.DESCRIPTOR.services_by_name["Executor"]
PLANNER = planner_pb2.DESCRIPTOR.services_by_name["Planner"]


@dataclass
class Services:
    """Where each service is, and channels to it with any token. `labels` are those of workspaces."""

    at: dict[str, Address]
    orchestrator: Running
    stack: AsyncExitStack
    labels: dict[str, dict[str, str]]
    script: Script

    async def channel(self, service: str, token: str, **options: Any) -> Channel:
        """A channel that is closed with the test. Access and Webhooks are where the orchestrator is."""
        address = self.at["Orchestrator" if service in ("Access", "Webhooks") else service]
        return await self.stack.enter_async_context(channel(address, token, **options))

    async def access(self, token: str = TOKEN, **options: Any) -> Any:
        """A stub of the Access service."""
        return access_pb2_grpc.AccessStub(await self.channel("Access", token, **options))

    async def issue(self, *roles: str, subject: str = "ada", **more: Any) -> pb.CreateTokenResponse:
        """A new token."""
        request = pb.CreateTokenRequest(
            subject=subject, roles=[Role.Value(f"ROLE_{role.upper()}") for role in roles], **more
        )
        made: pb.CreateTokenResponse = await (await self.access()).CreateToken(request)
        return made


@pytest.fixture
async def services(database_url: str) -> AsyncIterator[Services]:
    async with AsyncExitStack() as stack:
        script = Script()
        scripted = await stack.enter_async_context(executor(ScriptedExecutor(script)))
        running = await stack.enter_async_context(orchestrator(database_url, scripted))
        here = running.address
        at = {
            "Orchestrator": here,
            "Executor": await stack.enter_async_context(executor(idle(EXECUTOR), orchestrator=here)),
            "Planner": await stack.enter_async_context(planner(idle(PLANNER), orchestrator=here)),
            "Approval": await stack.enter_async_context(approval_server(here, TOKEN)),
        }
        yield Services(at, running, stack, script.labels, script)
