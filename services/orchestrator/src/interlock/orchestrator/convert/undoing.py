"""Rollbacks and reverts as the executor is asked for them."""

from __future__ import annotations

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.events import StepRevertRequested
from interlock.orchestrator.domain.model import Run
from interlock.v1 import executor_pb2


def going_back(run: Run, action: a.Restore, *, validate_only: bool = False) -> executor_pb2.RevertTreeRequest:
    """To an older tree, around what others did since. Without `from_tree`: about nothing, to see what there is."""
    request = executor_pb2.RevertTreeRequest(
        request_id=action.operation_id,
        workspace_id=run.workspace_id,
        changes=[executor_pb2.TreeChange(from_tree=old, to_tree=new) for old, new in action.changes],
        run_id=run.run_id,
        validate_only=validate_only,
    )
    if action.from_tree:
        request.whole.from_tree, request.whole.to_tree = action.from_tree, action.tree
    return request


def looking(run: Run, asked: StepRevertRequested) -> executor_pb2.RevertTreeRequest:
    """What taking out one step's effect would do."""
    return executor_pb2.RevertTreeRequest(
        request_id=asked.operation_id,
        workspace_id=run.workspace_id,
        from_tree=asked.from_tree,
        to_tree=asked.to_tree,
        validate_only=True,
    )
