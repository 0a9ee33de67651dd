"""Channels, deadlines, retries and errors, for all calls of the client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from interlock.client import login
from interlock.client.endpoints import Endpoints, from_env, is_locked, read_supervisor, resolve
from interlock.client.retry import Delays, Retry, is_repeatable, may_repeat
from interlock.common import tls
from interlock.common.client import channel, error_from_rpc
from interlock.common.clock import SystemClock
from interlock.common.config import data_dir, env_text, load_token
from interlock.common.errors import Reason
from interlock.common.ids import UlidIds
from interlock.common.tls import CLIENT
from interlock.v1.access_pb2_grpc import AccessStub
from interlock.v1.approval_pb2_grpc import ApprovalStub
from interlock.v1.executor_pb2_grpc import ExecutorStub
from interlock.v1.orchestrator_pb2_grpc import OrchestratorStub
from interlock.v1.planner_pb2_grpc import PlannerStub
from interlock.v1.webhook_pb2_grpc import WebhooksStub

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
_STUBS: Mapping[str, Any] = {
    "orchestrator": OrchestratorStub,
    "executor": ExecutorStub,
    "planner": PlannerStub,
    "approval": ApprovalStub,
    "access": AccessStub,
    "webhook": WebhooksStub,
}
_SERVED_BY: Mapping[str, str] = {"access": "orchestrator", "webhook": "orchestrator"}


def kept_token(directory: Path, env: Mapping[str, str]) -> str:
    """The environment's, a person's login, or the data directory's own, in this order."""
    found = "" if env_text("INTERLOCK_TOKEN", env=env) else login.current(directory)
    return found or load_token(create=False, env=env)


class Connection:
    """Opens a channel to each service when it is first needed; closes them all.

    Args:
        orchestrator, executor, planner, approval: addresses (`host:port`, `unix:/path`). Those not given come
            from `INTERLOCK_<SERVICE>_ADDRESS`, then from a running `interlock up` on the data directory, then
            from the defaults.
        token: the bearer token; by default `INTERLOCK_TOKEN`, then the login of `interlock login`, then the data
            directory's token file.
        directory: the data directory; by default `INTERLOCK_DATA_DIR` or the user's.
        timeout: seconds a call may take, unless it says otherwise. Streams have none.
        retry: how long and how fast a call is repeated when its service is not reached.
    """

    def __init__(
        self,
        *,
        orchestrator: str = "",
        executor: str = "",
        planner: str = "",
        approval: str = "",
        token: str = "",
        directory: str | Path | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        env = dict(os.environ)
        if directory is not None:
            env["INTERLOCK_DATA_DIR"] = str(Path(directory).expanduser().absolute())
        given = Endpoints(orchestrator, executor, planner, approval)
        self.endpoints = resolve(given, env=env)
        self._named = given.filled_from(from_env(env))
        self.retry = retry or Retry()
        self._directory = data_dir(env)
        running = read_supervisor(self._directory)
        self._started = running.endpoints if running else Endpoints()
        self._certs = Path(running.certs) if running and running.certs else None
        self._tls = tls.from_env(env)
        self._answered = False
        self._token = token or kept_token(self._directory, env)
        self._timeout = timeout
        self._ids = UlidIds(SystemClock())
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[str, Any] = {}
        self._owners: dict[int, str] = {}  # id of a stub's method → service; the stubs keep the methods alive

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every channel. Calls under way end; steps do not."""
        channels, self._channels = list(self._channels.values()), {}
        self._stubs.clear()
        for each in channels:
            await each.close(None)

    def request_id(self, given: str = "") -> str:
        """`given`, or a new id: 128 characters at most, of `A-Za-z0-9._:/-`."""
        return given or self._ids.new("req")

    @property
    def orchestrator(self) -> OrchestratorStub:
        """The generated stub of the orchestrator, for calls this client has no method for."""
        stub: OrchestratorStub = self._stub("orchestrator")
        return stub

    @property
    def executor(self) -> ExecutorStub:
        """The generated stub of the executor."""
        stub: ExecutorStub = self._stub("executor")
        return stub

    @property
    def planner(self) -> PlannerStub:
        """The generated stub of the planner."""
        stub: PlannerStub = self._stub("planner")
        return stub

    @property
    def approval(self) -> ApprovalStub:
        """The generated stub of the approval service."""
        stub: ApprovalStub = self._stub("approval")
        return stub

    @property
    def webhook(self) -> WebhooksStub:
        """The generated stub of the Webhooks service, which the orchestrator serves."""
        stub: WebhooksStub = self._stub("webhook")
        return stub

    @property
    def access(self) -> AccessStub:
        """The generated stub of the orchestrator's Access service."""
        stub: AccessStub = self._stub("access")
        return stub

    def delays(self, service: str = "orchestrator") -> Delays:
        """The waits of one call or stream to a service."""
        return self.retry.delays(lambda: self._is_there(service))

    def _is_there(self, service: str) -> bool:
        """Whether it is known to exist, so that one that does not answer may be about to come back.

        An `interlock up` on the data directory says nothing about a service that was named and is not one of its own.
        """
        named = self._named.get(service)
        elsewhere = bool(named) and named != self._started.get(service)
        return self._answered or (not elsewhere and is_locked(self._directory))

    async def call(
        self,
        rpc: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        seconds: float | None = None,
    ) -> ResponseT:
        """One call, repeated while its service cannot be reached. Raises InterlockError.

        A mutation is repeated only with its `request_id` set, so that the repetition is the same request.
        `seconds` is the deadline of each try.
        """
        multicallable: Any = rpc
        deadline = self._timeout if seconds is None else seconds
        delays = self.delays(self._owners.get(id(rpc), "orchestrator"))
        while True:
            try:
                response: ResponseT = await multicallable(request, timeout=deadline)
                self._answered = True
                return response
            except grpc.aio.AioRpcError as failure:
                error = error_from_rpc(failure, self._name_of(rpc))
            # Every other reason is some service's own word, also that its database is away.
            self._answered = self._answered or error.reason is not Reason.UNAVAILABLE
            delay = delays.after(error) if may_repeat(error) and is_repeatable(request) else None
            if delay is None:
                raise error
            await asyncio.sleep(delay)

    async def stream(
        self, rpc: grpc.UnaryStreamMultiCallable[RequestT, ResponseT], request: RequestT
    ) -> AsyncIterator[ResponseT]:
        """The messages of one streaming call, without repetition. Raises InterlockError.

        Leaving the loop early ends the call on the server as well.
        """
        multicallable: Any = rpc
        call = multicallable(request)
        try:
            async for message in call:
                self._answered = True
                yield message
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure, self._name_of(rpc)) from None
        finally:
            call.cancel()

    def _stub(self, service: str) -> Any:
        if service not in self._stubs:
            server = _SERVED_BY.get(service, service)
            if server not in self._channels:
                self._channels[server] = self._channel(server)
            stub = self._stubs[service] = _STUBS[service](self._channels[server])
            self._owners.update((id(rpc), server) for rpc in vars(stub).values())
        return self._stubs[service]

    def _channel(self, service: str) -> grpc.aio.Channel:
        address = self.endpoints.get(service)
        files = self._tls
        if files is None and self._certs is not None and address == self._started.get(service):
            files = tls.TlsFiles.within(self._certs, CLIENT)
        return channel(address, self._token, service=service, tls=files)

    def _name_of(self, rpc: object) -> str:
        service = self._owners.get(id(rpc))
        return f"{service} at {self.endpoints.get(service)}" if service else "service"
