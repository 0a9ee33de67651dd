"""Domain → responses: runs, steps, costs, events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.common.advice import named
from interlock.orchestrator.convert import envelopes, rulings, salted
from interlock.orchestrator.convert.texts import inline
from interlock.orchestrator.domain.model import (
    Budget,
    Failure,
    ForkOf,
    Gate,
    ModelCall,
    OnFailure,
    Policy,
    Prepared,
    Run,
    Spent,
    Step,
    StepSpec,
)
from interlock.orchestrator.domain.people import owners_of
from interlock.orchestrator.store.records import FeedRow
from interlock.v1 import cost_pb2, journal_pb2, policy_pb2, run_pb2, step_pb2

Bodies = Mapping[str, bytes]
"""Payload bodies by digest text; what is missing is left out of a view."""

_GATES = {gate: policy_pb2.Gate.Value(f"GATE_{gate.name}") for gate in Gate}


def timestamp(at: datetime | None) -> Timestamp | None:
    """A proto timestamp; None stays unset."""
    if at is None:
        return None
    out = Timestamp()
    out.FromDatetime(at)
    return out


def gate(value: Gate | None) -> policy_pb2.Gate.ValueType:
    """A gate; None = UNSPECIFIED."""
    return policy_pb2.GATE_UNSPECIFIED if value is None else _GATES[value]


def policy(value: Policy) -> policy_pb2.Policy:
    """The rules of a run."""
    out = policy_pb2.Policy(
        name=value.name,
        edit_file_gate=gate(value.edit_file_gate),
        run_command_gate=gate(value.run_command_gate),
        steps_may_weaken=value.steps_may_weaken,
        stages=[
            policy_pb2.ApprovalStage(name=each.name, quorum=each.quorum, approvers=each.approvers)
            for each in value.stages
        ],
        groups=[policy_pb2.ApprovalGroup(name=each.name, subjects=each.subjects) for each in value.groups],
        separate_requester=value.separate_requester,
        escalate_to=value.escalate_to,
        version=value.version,
        rules=[rulings.rule_view(each) for each in value.rules],
    )
    if value.remind_us:
        out.remind_every.FromMicroseconds(value.remind_us)
    if value.escalate_us:
        out.escalate_after.FromMicroseconds(value.escalate_us)
    if value.approval_timeout_us is not None:
        out.approval_timeout.FromMicroseconds(value.approval_timeout_us)
    return out


def budget(value: Budget) -> policy_pb2.Budget:
    """Bounds on spending."""
    return policy_pb2.Budget(
        max_cost_micros=value.max_cost_micros,
        max_model_calls=value.max_model_calls,
        unpriced_call_micros=value.unpriced_call_micros,
    )


def failure(run: Run, value: Failure | None, step: int) -> step_pb2.StepFailure | None:
    """Why a step failed, or (0) the run, with advice that names them; None stays unset."""
    if value is None:
        return None
    facts = {"run_id": run.run_id, "workspace_id": run.workspace_id, "step": str(step or "")}
    return step_pb2.StepFailure(
        reason=value.reason,
        message=value.message,
        field=value.field,
        fix=named(value.fix, facts),
        metadata=dict(value.metadata),
    )


def spec(value: StepSpec, bodies: Bodies) -> step_pb2.StepSpec:
    """A step's specification with its long texts as far as `bodies` has them."""
    fields = inline(value.input, bodies)
    return step_pb2.StepSpec(
        input=json_format.ParseDict({value.kind.value: fields}, step_pb2.StepInput()),
        name=value.name,
        gate=gate(value.gate),
        retries=value.retries,
        on_failure=_on_failure(value.on_failure),
    )


def _on_failure(value: OnFailure) -> step_pb2.OnFailure.ValueType:
    return step_pb2.ON_FAILURE_CONTINUE if value is OnFailure.CONTINUE else step_pb2.ON_FAILURE_STOP


def cost(spent: Spent) -> cost_pb2.Cost:
    """What was spent. What no gateway reported stays unset."""
    total = None if spent.cost_micros is None else cost_pb2.Money(micros=spent.cost_micros)
    return cost_pb2.Cost(
        total=total,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        model_calls=spent.calls,
        unpriced_calls=spent.unpriced,
    )


def cost_of(calls: Iterable[ModelCall]) -> cost_pb2.Cost:
    """The sum of model calls."""
    spent = Spent()
    for call in calls:
        spent = spent.plus(call)
    return cost(spent)


def model_call(value: ModelCall) -> step_pb2.ModelCall:
    """One model call as journaled."""
    out = step_pb2.ModelCall(
        purpose=value.purpose,
        gateway=value.gateway,
        model=value.model,
        prompt_version=value.prompt_version,
        prompt_digest=value.prompt_payload,
        reply_digest=value.reply_payload,
        request_digest=value.request_payload,
        finish_reason=value.finish_reason,
        cost=cost_of([value]),
        cache_hit=value.cache_hit,
        passed_over=[
            step_pb2.PassedGateway(gateway=each.gateway, reason=each.reason) for each in value.passed_over
        ],
    )
    out.latency.FromMicroseconds(value.latency_us)
    return out


def effect(value: Prepared | None, bodies: Bodies) -> step_pb2.Effect | None:
    """The effect as the executor told it, or only its facts when its payload is not at hand."""
    if value is None:
        return None
    if value.effect_payload in bodies:
        return step_pb2.Effect.FromString(bodies[value.effect_payload])
    return step_pb2.Effect(
        base_tree=value.base_tree,
        result_tree=value.result_tree,
        exit_code=value.exit_code,
        request_digest=value.request_digest,
        effect_digest=value.effect_digest,
    )


def step(run: Run, value: Step, bodies: Bodies) -> step_pb2.Step:
    """One step, with what `bodies` has of its texts and effect."""
    reply = bodies.get(value.reply_payload, b"").decode()
    kind = step_pb2.StepKind.Value(f"STEP_KIND_{value.spec.kind.name}")
    out = step_pb2.Step(
        run_id=run.run_id,
        number=value.number,
        spec=spec(value.spec, bodies),
        kind=kind,
        state=step_pb2.StepState.Value(f"STEP_STATE_{value.state.name}"),
        attempt=value.attempt,
        gate=gate(value.gate),
        approval_id=value.approval.approval_id if value.approval else value.last_approval_id,
        effect=effect(value.prepared, bodies),
        reply=reply,
        model_calls=[model_call(call) for call in value.model_calls],
        failure=failure(run, value.failure, value.number),
        head_tree=value.head_tree,
        cost=cost_of(value.model_calls),
        started_at=timestamp(value.started_at),
        ended_at=timestamp(value.ended_at),
        key=value.key,
        inherited=value.inherited,
        undone=undone(value),
        kept_paths=value.kept_paths,
        kept_total=value.kept_total,
        envelope_id=value.envelope,
        envelope_granted_by=envelopes.granted_by(run, value) if value.envelope else "",
        edited_by=value.edited_by,
        replaced_approval_id=value.approval.replaces if value.approval else "",
        rulings=[rulings.view(each) for each in (value.ruling, value.observed) if each is not None],
    )
    if value.waited_us:
        out.waited.FromMicroseconds(value.waited_us)
    return out


def undone(value: Step) -> step_pb2.Undone | None:
    """What took the step's effect out of the workspace; None stays unset."""
    gone = value.undone
    if gone is None:
        return None
    return step_pb2.Undone(
        by=gone.undone_by, operation_id=gone.operation_id, at=timestamp(gone.at), run_id=gone.by_run
    )


def run(value: Run, steps: Iterable[step_pb2.Step] = ()) -> run_pb2.Run:
    """A run, with the given views of its steps."""
    return run_pb2.Run(
        run_id=value.run_id,
        goal=value.goal,
        workspace_id=value.workspace_id,
        state=run_pb2.RunState.Value(f"RUN_STATE_{value.state.name}"),
        pause_reason=value.pause_reason,
        failure=failure(value, value.failure, _failed(value)),
        steps=steps,
        steps_total=len(value.steps),
        steps_done=value.steps_done,
        policy=policy(value.policy),
        budget=budget(value.budget),
        labels=dict(value.labels),
        workspace_labels=dict(value.workspace_labels),
        replay_from=value.replay_from,
        cost=cost(value.spent),
        base_tree=value.base_tree,
        head_tree=value.head_tree,
        journal_length=value.seq,
        journal_head=value.head,
        envelopes=[envelopes.view(each) for each in value.envelopes],
        trace_id=value.traceparent.split("-")[1] if value.traceparent.count("-") == 3 else "",
        created_by=value.created_by,
        owner=next(iter(owners_of(value, value.created_by)), ""),
        created_at=timestamp(value.created_at),
        updated_at=timestamp(value.updated_at),
        origin=origin(value.fork),
        waiting=waiting(value),
        steps_undone=steps_undone(value),
        set_aside=set_aside(value),
        steps_at_a_time=value.steps_at_a_time,
        max_steps=value.most_steps,
    )


def set_aside(value: Run) -> run_pb2.SetAside | None:
    """Why nobody drives the run; None stays unset."""
    held = value.set_aside
    if held is None:
        return None
    why = failure(value, held.failure, value.cursor)
    return run_pb2.SetAside(action=held.action, failure=why, tries=held.tries, since=timestamp(held.since))


def _failed(value: Run) -> int:
    """The step that a run failed with; 0 where it failed without one."""
    step = value.step(value.cursor)
    return step.number if step is not None and step.failure is not None else 0


def steps_undone(value: Run) -> int:
    """How many steps' effects were taken out of the workspace, and are not there."""
    if not (value.undone or value.inherited):
        return 0
    return sum(step.undone is not None for step in value.steps)


def waiting(value: Run) -> run_pb2.WorkspaceWait | None:
    """What the run waits for, as it was when it began to; None stays unset."""
    if value.waiting is None:
        return None
    since = timestamp(value.waiting.since)
    return run_pb2.WorkspaceWait(holder_run_id=value.waiting.holder, since=since)


def origin(value: ForkOf | None) -> run_pb2.RunOrigin | None:
    """Where a fork comes from; None stays unset."""
    if value is None:
        return None
    return run_pb2.RunOrigin(
        run_id=value.run_id,
        at_step=value.at_step,
        journal_length=value.seq,
        journal_head=value.head,
        tree=value.tree,
    )


def event(row: FeedRow, previous_digest: str) -> journal_pb2.JournalEvent:
    """A journal event as stored."""
    return journal_pb2.JournalEvent(
        run_id=row.run_id,
        seq=row.seq,
        position=row.position,
        type=row.type,
        step=row.step or 0,
        at=timestamp(row.at),
        canonical_json=row.canonical,
        digest="sha256:" + row.hash.hex(),
        previous_digest=previous_digest,
        texts=_committed(row),
    )


def _committed(row: FeedRow) -> dict[str, str]:
    if row.type not in salted.TYPES:
        return {}
    named = salted.concealed(json.loads(row.canonical)["data"])
    return {digest: row.texts[digest] for digest in named if digest in row.texts}


def title(value: StepSpec) -> str:
    """One line about a step for people, at most 200 characters."""
    fields: Mapping[str, Any] = value.input
    if value.name:
        said = value.name
    elif "path" in fields:
        said = str(fields["path"])
    elif "argv" in fields:
        said = " ".join(fields["argv"].get("items", []))
    else:
        said = str(fields.get("command") or fields.get("instruction") or "")
    line = " ".join(f"{value.kind.value}: {said}".split())
    return line if len(line) <= 200 else line[:199] + "…"
