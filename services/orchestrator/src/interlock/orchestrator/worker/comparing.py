"""What is different from the preview that was approved before the workspace moved under it."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.convert import results
from interlock.orchestrator.domain.model import Gate, Run, Step
from interlock.orchestrator.runs.payloads import Payloads
from interlock.v1 import executor_pb2, step_pb2

_INCOMPARABLE = frozenset({Reason.TREE_NOT_FOUND, Reason.WORKSPACE_LIMIT_EXCEEDED})


async def changed_since(
    executor: Executors, payloads: Payloads, run: Run, step: Step, gate: Gate, effect: step_pb2.Effect
) -> step_pb2.ChangedSince | None:
    """What a reviewer of the approval before has not seen of `effect`; None when nothing was approved before.

    Raises UNAVAILABLE and DEADLINE_EXCEEDED, after which it is asked again.
    """
    reviewed = step.review(gate)
    if reviewed is None:
        return None
    known = await payloads.get([reviewed.shown.effect_payload])
    earlier = step_pb2.Effect.FromString(known.get(reviewed.shown.effect_payload, b""))
    out = results.changed_since(reviewed, step.superseded, earlier, effect)
    request = executor_pb2.CompareEffectsRequest(
        workspace_id=run.workspace_id,
        earlier=_pair(reviewed.shown.base_tree, reviewed.shown.result_tree if gate is Gate.EFFECT else ""),
        later=_pair(effect.base_tree, effect.result_tree if gate is Gate.EFFECT else ""),
    )
    try:
        found = await executor.compare(request)
    except InterlockError as error:
        if error.reason not in _INCOMPARABLE:
            raise
        out.unavailable = error.message
        return out
    out.workspace.CopyFrom(found.workspace)
    if gate is Gate.EFFECT:
        out.effect.CopyFrom(found.effect)
        out.dropped.CopyFrom(found.dropped)
    return out


def _pair(base: str, result: str) -> executor_pb2.TreePair:
    return executor_pb2.TreePair(base_tree=base, result_tree=result)
