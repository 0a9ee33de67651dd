"""The orchestrator over gRPC, as the use cases' port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import grpc

from interlock.approval import convert
from interlock.approval.domain.changes import Batch, Place
from interlock.approval.ports import Answer, Page
from interlock.common.auth import on_behalf_of
from interlock.common.client import Channel, error_from_rpc
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.v1 import access_pb2, access_pb2_grpc, orchestrator_pb2_grpc
from interlock.v1 import orchestrator_pb2 as pb

RETRIED = tuple(
    f"interlock.v1.Orchestrator/{method}"
    for method in ("RecordDecision", "GetApprovalRecord", "ListApprovalRecords")
)
"""Methods that may be repeated when the orchestrator is away: each is idempotent as it is called here."""


class GrpcOrchestrator:
    """Calls an orchestrator; every failure is an InterlockError."""

    def __init__(self, channel: Channel) -> None:
        self._stub = cast(Any, orchestrator_pb2_grpc.OrchestratorStub(channel))
        self._access = cast(Any, access_pb2_grpc.AccessStub(channel))

    async def watch(self, cursor: str) -> AsyncGenerator[Batch | None, None]:
        """Follow the feed; see the port."""
        call = self._stub.WatchApprovals(pb.WatchApprovalsRequest(cursor=cursor))
        try:
            with _errors():
                await call.wait_for_connection()
                yield None
                async for message in call:
                    yield convert.batch(message)
        finally:
            call.cancel()

    async def record(self, answer: Answer) -> Any:
        """Record a decision; returns the approval after it."""
        with _errors():
            request = convert.record_request(answer)
            # The decider is told apart from us, who make the call.
            caller = on_behalf_of(answer.caller) if answer.caller is not None else ()
            return (await self._stub.RecordDecision(request, metadata=caller)).approval

    async def get(self, approval_id: str) -> Any:
        """Return one approval with its preview."""
        with _errors():
            request = pb.GetApprovalRecordRequest(approval_id=approval_id)
            return (await self._stub.GetApprovalRecord(request, metadata=_as_caller())).approval

    async def places(self) -> tuple[Place, ...]:
        """Return who lets the current caller decide for them; at most 1,000."""
        subject = current_identity().subject
        request = access_pb2.ListDelegationsRequest(subject=subject, page_size=1000)
        with _errors():
            answer = await self._access.ListDelegations(request, metadata=_as_caller())
        return convert.places(answer.delegations, subject)

    async def all_places(self) -> Mapping[str, tuple[Place, ...]]:
        """Return who lets whom decide for them, by who is let. Asked as this service."""
        request, found = access_pb2.ListDelegationsRequest(page_size=1000), list[access_pb2.Delegation]()
        with _errors():
            while True:
                answer = await self._access.ListDelegations(request)
                found.extend(answer.delegations)
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return convert.all_places(found)

    async def page(self, page: Page) -> Any:
        """Return one page of approvals without previews."""
        with _errors():
            return await self._stub.ListApprovalRecords(page.request, metadata=_as_caller())


def _as_caller() -> tuple[tuple[str, str], ...]:
    """Reads are made as whoever asked for them: the orchestrator looks at their scope."""
    return on_behalf_of(current_identity())


@contextmanager
def _errors() -> Iterator[None]:
    """The orchestrator's typed errors go on to the caller, except those that are about this service itself."""
    try:
        yield
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, "orchestrator")
        # The request id there is that call's own, not the one the caller knows.
        upstream_id = error.metadata.pop("request_id", "")
        if error.reason is Reason.UNAUTHENTICATED:
            raise InterlockError(
                Reason.UNAVAILABLE,
                "The orchestrator does not accept this service's token.",
                fix="Give both services the same token (INTERLOCK_TOKEN, or one data directory).",
            ) from None
        if error.reason is Reason.INTERNAL and upstream_id:
            error.metadata["orchestrator_request_id"] = upstream_id
        raise error from None
