"""Approving and skipping steps of the facade."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.rest import convert, runs
from interlock.gateway.rest.seen import Seen
from interlock.gateway.rest.services import Services
from interlock.v1 import agent_run_pb2 as pb
from interlock.v1 import approval_pb2, decision_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

_CHANNEL = "rest"


async def approve(services: Services, seen: Seen, request: pb.ApproveAgentStepRequest) -> pb.AgentStep:
    """Approve what the caller saw: the digest that it sends, or the one it was shown last, and nothing else."""
    number = convert.step_number(request.step_id)
    step = await runs.step_message(services, request.run_id, number)
    if step.state != step_pb2.STEP_STATE_AWAITING_APPROVAL:
        raise _waits_for_nothing(step)
    digest = request.digest or seen.last(services.credential, request.run_id, number)
    if not digest:
        raise _not_seen(step)
    decision = decision_pb2.Decision(
        approve=decision_pb2.Approve(), digest=digest, comment=request.comment, channel=_CHANNEL
    )
    asked = approval_pb2.DecideRequest(
        approval_id=step.approval_id, run_id=request.run_id, step=number, decision=decision
    )
    await services.call(services.approval.Decide, asked)
    await runs.until_rest(services, request.run_id)
    return await _after(services, seen, request.run_id, number, digest)


async def skip(services: Services, request: pb.SkipAgentStepRequest) -> pb.AgentStep:
    """Pass a step over."""
    number = convert.step_number(request.step_id)
    asked = o.SkipStepRequest(run_id=request.run_id, step=number, comment=request.comment)
    await services.call(services.orchestrator.SkipStep, asked)
    return await runs.step_of(services, request.run_id, number)


async def _after(services: Services, seen: Seen, run_id: str, number: int, digest: str) -> pb.AgentStep:
    """The step after its approval. One that asks again (its workspace changed, or it has a second gate) is shown."""
    step = await runs.step_message(services, run_id, number)
    if step.state == step_pb2.STEP_STATE_AWAITING_APPROVAL:
        return convert.agent_step(step, await runs.shown(services, seen, step))
    made = convert.agent_step(step)
    made.digest = digest
    return made


def _waits_for_nothing(step: step_pb2.Step) -> InterlockError:
    state = convert.state_word(step_pb2.StepState, step.state)
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {step.number} is {state}; it does not wait for approval.",
        field="step_id",
        metadata={"current": state, "allowed": "awaiting_approval"},
    )


def _not_seen(step: step_pb2.Step) -> InterlockError:
    return InterlockError(
        Reason.APPROVAL_DIGEST_MISMATCH,
        f"Nothing says which preview of step {step.number} was looked at.",
        field="digest",
        fix="Read the run, look at the step, and approve then; or send the digest of what was seen.",
    )
