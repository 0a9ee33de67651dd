"""Text that a file may hold and a database may not."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.support.stack import EFFECT, Stack, edit

from interlock.common.client import error_from_rpc
from interlock.v1 import decision_pb2
from interlock.v1 import orchestrator_pb2 as o


async def test_a_gated_edit_with_a_nul_is_asked_about_and_published(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, edit("odd.bin", "a\0b", gate=EFFECT))
    shown = await stack.pending(run)
    assert shown.spec.input.edit_file.new_content == "a\0b"
    decided = await stack.decide(shown)
    assert decided.state == decision_pb2.APPROVAL_STATE_APPROVED
    await stack.until(run, "COMPLETED")
    assert (live / "odd.bin").read_bytes() == b"a\0b"
    assert (await stack.approval(shown.approval_id)).spec.input.edit_file.new_content == "a\0b"


async def test_a_nul_where_none_can_be_is_refused_by_the_name_of_the_field(stack: Stack) -> None:
    for name, request in (
        ("GetRun", o.GetRunRequest(run_id="a\0b")),
        ("PauseRun", o.PauseRunRequest(run_id="a\0b")),
        ("CreateRun", o.CreateRunRequest(goal="a\0b", workspace_id="ws-1")),
        ("ListRuns", o.ListRunsRequest(labels={"\0": "x"})),
        ("GetApprovalRecord", o.GetApprovalRecordRequest(approval_id="\0")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stack.stub, name)(request)
        error = error_from_rpc(caught.value)
        assert error.reason.value == "VALIDATION_FAILED"
        assert "NUL" in error.violations[0].description
