"""What rollback and revert share: waiting for an undo that was recorded, and what it changed."""

from __future__ import annotations

from contextlib import aclosing
from typing import TypeVar

from interlock.common.client import rpc_errors
from interlock.orchestrator.commands.plan_run import as_error
from interlock.orchestrator.convert.texts import cut_lines
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.events import RollbackFailed, RolledBack, StepReverted, StepRevertFailed
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.runs.book import recorded
from interlock.orchestrator.runs.transaction import Outcome
from interlock.orchestrator.runs.waiting import run_batches
from interlock.v1 import executor_pb2
from interlock.v1 import orchestrator_pb2 as o

_CHANGES = 1000
Done = TypeVar("Done", RolledBack, StepReverted)


async def ended(
    deps: Deps,
    outcome: Outcome,
    answer: type[o.RollbackRunResponse] | type[o.RevertStepResponse],
    done: type[Done],
) -> Done:
    """The event that ended what `outcome` has recorded, waited for. A run undoes one thing at a time.

    Of a repeated request it is the event that ended what the first one recorded, however long ago. Raises the
    failure of an undo that failed.
    """
    after = outcome.run.seq
    if outcome.replayed is not None:
        after = answer.FromString(outcome.replayed).run.journal_length
    async with aclosing(run_batches(deps.feed, outcome.run.run_id, after)) as tail:
        async for rows in tail:
            for row in rows:
                event = recorded(row).event
                if isinstance(event, (RollbackFailed, StepRevertFailed)):
                    raise as_error(event.failure)
                if isinstance(event, done):
                    return event
    raise AssertionError("a tail ends only by cancellation")


async def difference(
    deps: Deps, run: Run, answer: o.RollbackRunResponse | o.RevertStepResponse, *, whole: bool
) -> None:
    """Adds to the answer how the tree before differs from that after: paths, and, if `whole`, their lines."""
    request = executor_pb2.DiffTreesRequest(
        workspace_id=run.workspace_id, from_tree=answer.previous_tree, to_tree=answer.head_tree
    )
    executor = await deps.executor.at(run.workspace_id)
    with rpc_errors("executor"):
        found = await executor.stub.DiffTrees(request)
    answer.changes.extend(found.changes[:_CHANGES])
    answer.changes_total = found.changes_total
    if whole:
        answer.diff, cut = cut_lines(found.diff)
        answer.diff_truncated = found.diff_truncated or cut
