"""ReplayRun: each step again on the tree it had stood on, compared with what was recorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from google.protobuf import json_format

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert import results, texts, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import Run, Step, StepKind, StepState
from interlock.orchestrator.queries.replay.comparing import differences, output_diff
from interlock.orchestrator.queries.replay.scratch import Scratch
from interlock.v1 import executor_pb2, step_pb2
from interlock.v1 import replay_pb2 as pb

_ASKS_A_MODEL = frozenset({StepKind.ANALYZE, StepKind.SUMMARIZE})
_DIFF_SECONDS = 120.0
_ERASED = "Its input was erased."


async def replay(deps: Deps, message: pb.ReplayRunRequest) -> AsyncGenerator[pb.ReplayRunResponse, None]:
    """The steps in order, up to the first that differs or to the end."""
    run = await deps.book.refresh(message.run_id)
    async with Scratch(deps, run.workspace_id) as scratch:
        for step in run.steps:
            told = await _step(deps, scratch, run, step, network=message.with_network)
            yield pb.ReplayRunResponse(step=told)
            if told.outcome == pb.REPLAY_OUTCOME_DIFFERENT and not message.all_steps:
                return


async def _step(deps: Deps, scratch: Scratch, run: Run, step: Step, *, network: bool) -> pb.StepReplay:
    told = pb.StepReplay(
        step=step.number,
        kind=step_pb2.StepKind.Value(f"STEP_KIND_{step.spec.kind.name}"),
        title=views.title(step.spec),
        outcome=_standing(step, network=network),
    )
    if told.outcome:
        return told
    try:
        await _again(deps, scratch, run, step, told)
    except InterlockError as error:
        told.outcome, told.note = pb.REPLAY_OUTCOME_IMPOSSIBLE, f"{error.reason.value}: {error.message}"
    return told


def _standing(step: Step, *, network: bool) -> pb.ReplayOutcome.ValueType:
    """The outcome of a step that is not carried out again."""
    if step.inherited:
        return pb.REPLAY_OUTCOME_INHERITED
    if step.spec.kind in _ASKS_A_MODEL and step.state is StepState.SUCCEEDED:
        return pb.REPLAY_OUTCOME_RECORDED
    ran = step.prepared is not None and step.state in (StepState.SUCCEEDED, StepState.FAILED)
    if not ran:
        return pb.REPLAY_OUTCOME_NOTHING
    if step.spec.input.get("network") and not network:
        return pb.REPLAY_OUTCOME_RECORDED
    return pb.REPLAY_OUTCOME_UNSPECIFIED


async def _again(deps: Deps, scratch: Scratch, run: Run, step: Step, told: pb.StepReplay) -> None:
    known = step.prepared
    assert known is not None
    digests = [*texts.references(step.spec.input), step.draft_payload]
    found = await deps.payloads.get([*digests, known.effect_payload])
    if any(digest and digest not in found for digest in digests):
        told.outcome, told.note = pb.REPLAY_OUTCOME_IMPOSSIBLE, _ERASED
        return
    draft = found[step.draft_payload].decode() if step.draft_payload else None
    action = results.action(step.spec, texts.inline(step.spec.input, found), draft)
    limits = json_format.ParseDict(dict(known.limits), step_pb2.Limits())
    await scratch.at(known.base_tree)
    network = bool(step.spec.input.get("network"))
    done = await scratch.carry_out(step.number, action, limits, network=network)
    recorded = views.effect(known, found) if known.effect_payload in found else None
    failure = done.failure if done.HasField("failure") else None
    failed = step.failure if step.state is StepState.FAILED else None
    told.differences.extend(differences(known, failed, recorded, done.effect, failure))
    told.outcome = pb.REPLAY_OUTCOME_DIFFERENT if told.differences else pb.REPLAY_OUTCOME_SAME
    if recorded is None:
        told.note = "Its recorded outputs were erased; the tree and the exit code were compared."
    await _show(deps, scratch, run, told, recorded, done.effect)


async def _show(
    deps: Deps,
    scratch: Scratch,
    run: Run,
    told: pb.StepReplay,
    recorded: step_pb2.Effect | None,
    replayed: step_pb2.Effect,
) -> None:
    """Puts in how outputs and trees differ."""
    fields = [each.field for each in told.differences]
    shown = output_diff(recorded, replayed, fields) if recorded is not None else ""
    cut = False
    for each in told.differences:
        if each.field == "result_tree":
            trees, cut = await _tree_diff(deps, scratch, run, each, told)
            shown += trees
    told.diff, told.diff_truncated = texts.cut_lines(shown)
    told.diff_truncated = told.diff_truncated or cut


async def _tree_diff(
    deps: Deps, scratch: Scratch, run: Run, each: pb.ReplayDifference, told: pb.StepReplay
) -> tuple[str, bool]:
    request = executor_pb2.DiffTreesRequest(
        workspace_id=run.workspace_id,
        from_tree=each.recorded,
        to_tree=each.replayed,
        to_workspace_id=scratch.workspace_id,
    )
    try:
        executor = await deps.executor.at(run.workspace_id)
        with rpc_errors("executor"):
            diff = await executor.stub.DiffTrees(request, timeout=_DIFF_SECONDS)
    except InterlockError as error:
        if error.reason is not Reason.TREE_NOT_FOUND:
            raise
        told.note = f"The recorded tree is not kept any more: {error.message}"
        return "", False
    paths = [change.path for change in diff.changes[:20]]
    more = f" and {diff.changes_total - len(paths)} more" if diff.changes_total > len(paths) else ""
    told.note = f"Paths that differ: {', '.join(paths)}{more}"
    return diff.diff, diff.diff_truncated
