"""Listing, looking at and deciding approvals, over real gRPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.approvals import (
    RESOLVED,
    Caller,
    approvals,
)
from tests.support.fake_orchestrator import DIGEST, FakeOrchestrator, approval_id, record, serving

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import decision_pb2 as d


class TestListAndGet:
    async def test_list_pages_without_previews(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(*(record(n) for n in range(1, 6)))
        await fake.resolve(2)
        found, token = [], ""
        while True:
            page = await caller.stub.ListApprovals(pb.ListApprovalsRequest(page_size=2, page_token=token))
            found += [int(a.approval_id[4:]) for a in page.approvals]
            assert not any(a.HasField("preview") for a in page.approvals)
            token = page.next_page_token
            if not token:
                break
        assert found == [1, 3, 4, 5]

    async def test_get_has_the_preview(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1, preview="everything"))
        response = await caller.stub.GetApproval(pb.GetApprovalRequest(approval_id=approval_id(1)))
        assert response.approval.preview.diff == "everything"

    async def test_get_unknown(self, caller: Caller) -> None:
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await caller.stub.GetApproval(pb.GetApprovalRequest(approval_id="apr-x"))
        assert caught.value.reason is Reason.APPROVAL_NOT_FOUND
        assert caught.value.field == "approval_id"


class TestDecide:
    @pytest.mark.parametrize(("verdict", "state"), [("approve", 2), ("reject", 3), ("skip", 4), ("edit", 5)])
    async def test_verdicts(self, fake: FakeOrchestrator, caller: Caller, verdict: str, state: int) -> None:
        await fake.request(record(1))
        reader = caller.subscribe()
        await reader.until_caught_up()
        answered = await caller.decide(1, verdict)
        assert answered.state == state
        assert fake.decisions[0].decision.WhichOneof("verdict") == verdict
        assert await reader.events(1) == [(RESOLVED, 1)]
        assert reader.last.event.approval.state == state

    async def test_subject_comes_from_the_credentials(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2))
        decision = d.Decision(subject="mallory", comment="ok", digest=DIGEST)
        await caller.decide(1, decision=decision)
        await caller.decide(2, decision=decision, metadata=(("x-interlock-subject", "ada"),))
        assert [made["x-interlock-subject"] for made in fake.metadata] == ["local", "ada"]
        assert [r.decision.subject for r in fake.decisions] == ["", ""]
        assert [r.decision.comment for r in fake.decisions] == ["ok", "ok"]
        assert fake.decisions[0].decision.channel == "grpc"

    async def test_request_id_is_passed_on_or_made(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2))
        await caller.decide(1, request_id="mine")
        await caller.decide(2)
        assert fake.decisions[0].request_id == "mine"
        assert fake.decisions[1].request_id

    async def test_trace_is_passed_on(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1))
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await caller.decide(1, metadata=(("traceparent", parent),))
        assert fake.metadata[0]["traceparent"].split("-")[1] == parent.split("-")[1]

    @pytest.mark.parametrize(
        ("prepare", "options", "reason"),
        [
            (lambda fake: None, {"number": 7}, Reason.APPROVAL_NOT_FOUND),
            (lambda fake: fake.resolve(1), {}, Reason.APPROVAL_ALREADY_DECIDED),
            (lambda fake: None, {"run_id": "run-9"}, Reason.APPROVAL_WRONG_STEP),
            (
                lambda fake: None,
                {"decision": d.Decision(digest="sha256:" + "00" * 32)},
                Reason.APPROVAL_DIGEST_MISMATCH,
            ),
            (lambda fake: None, {"decision": d.Decision(digest="short")}, Reason.VALIDATION_FAILED),
            (lambda fake: None, {"step": -1}, Reason.VALIDATION_FAILED),
        ],
    )
    async def test_refusals_arrive_typed(
        self,
        fake: FakeOrchestrator,
        caller: Caller,
        prepare: Callable[[FakeOrchestrator], Any],
        options: dict[str, Any],
        reason: Reason,
    ) -> None:
        await fake.request(record(1))
        prepared = prepare(fake)
        if prepared is not None:
            await prepared
        with pytest.raises(InterlockError) as caught:
            await caller.decide(options.pop("number", 1), **options)
        assert caught.value.reason is reason
        assert caught.value.metadata["request_id"].startswith("req-")
        if reason is Reason.APPROVAL_ALREADY_DECIDED:
            assert caught.value.metadata["subject"] == "ada"

    async def test_orchestrator_away(self, tmp_path: Path) -> None:
        async with approvals(f"unix:{tmp_path}/nothing.sock") as caller:
            with pytest.raises(InterlockError) as caught:
                await caller.decide(1)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "orchestrator" in str(caught.value)

    async def test_wrong_token_between_services_is_not_the_callers_fault(
        self, fake: FakeOrchestrator
    ) -> None:
        async with serving(fake, token="another") as upstream, approvals(upstream) as caller:
            with pytest.raises(InterlockError) as caught:
                await caller.decide(1)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "token" in str(caught.value)
