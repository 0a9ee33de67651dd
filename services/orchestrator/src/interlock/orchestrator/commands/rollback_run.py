"""RollbackRun: publishes an older tree as a new event."""

from __future__ import annotations

from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.commands.undoing import changes_between, ended
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.events import RolledBack
from interlock.v1 import orchestrator_pb2 as o


async def rollback_run(deps: Deps, message: o.RollbackRunRequest) -> o.RollbackRunResponse:
    """Returns when the older tree is the head. A repeated request gets the outcome of the same rollback."""
    outcome = await change(
        deps,
        message,
        message.run_id,
        lambda run, ctx: undo.roll_back(
            run,
            ctx,
            to_step=message.to_step,
            comment=message.comment,
            discard_later_changes=message.discard_later_changes,
        ),
        lambda run: o.RollbackRunResponse(run=views.run(run)),
    )
    event = await ended(deps, outcome, o.RollbackRunResponse, RolledBack)
    run = await deps.book.refresh(message.run_id)
    found = await changes_between(deps, run.workspace_id, event.previous_tree, event.head_tree)
    return o.RollbackRunResponse(
        run=views.run(run),
        previous_tree=event.previous_tree,
        head_tree=event.head_tree,
        changes=found,
        kept_paths=event.kept_paths,
        kept_total=event.kept_total,
    )
