"""RevertStep: takes one step's effect out of the workspace as a new event."""

from __future__ import annotations

from interlock.common.identity import current_identity
from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.commands.undoing import difference, ended
from interlock.orchestrator.convert import undoing, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.events import StepReverted, StepRevertRequested
from interlock.v1 import orchestrator_pb2 as o


async def revert_step(deps: Deps, message: o.RevertStepRequest) -> o.RevertStepResponse:
    """Returns when the step's effect is out of the workspace; for a repeated request, with the first one's outcome."""
    if message.validate_only:
        return await _look(deps, message)
    outcome = await change(
        deps,
        message,
        message.run_id,
        lambda run, ctx: undo.revert_step(run, ctx, message.step, message.comment),
        lambda run: o.RevertStepResponse(run=views.run(run)),
    )
    event = await ended(deps, outcome, o.RevertStepResponse, StepReverted)
    run = await deps.book.refresh(message.run_id)
    answer = o.RevertStepResponse(
        run=views.run(run),
        previous_tree=event.previous_tree,
        head_tree=event.head_tree,
        merged=event.merged,
        kept_paths=event.kept_paths,
        kept_total=event.kept_total,
    )
    await difference(deps, run, answer, whole=False)
    return answer


async def _look(deps: Deps, message: o.RevertStepRequest) -> o.RevertStepResponse:
    """What it would do: the same refusals, and nothing is recorded."""
    run = await deps.book.refresh(message.run_id)
    context = deps.transactions.context(current_identity().subject)
    (event,) = undo.revert_step(run, context, message.step)
    assert isinstance(event, StepRevertRequested)
    found = await deps.executor.revert(undoing.looking(run, event))
    answer = o.RevertStepResponse(
        run=views.run(run),
        previous_tree=found.previous_tree,
        head_tree=found.head_tree,
        merged=found.merged,
    )
    await difference(deps, run, answer, whole=True)
    return answer
