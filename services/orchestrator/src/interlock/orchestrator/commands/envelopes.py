"""GrantEnvelope and RevokeEnvelope."""

from __future__ import annotations

from interlock.common.identity import current_identity
from interlock.orchestrator.commands.mutate import mutate
from interlock.orchestrator.convert import envelopes as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_envelope
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.domain.votes import Voter
from interlock.v1 import envelope_pb2 as pb


async def grant(deps: Deps, message: pb.GrantEnvelopeRequest) -> pb.GrantEnvelopeResponse:
    """Grants what is asked for to the rest of the run."""
    caller, asked = current_identity(), convert.grant(message.bounds)
    by = decide_envelope.Granter(
        Voter(caller.subject, groups=tuple(sorted(caller.groups))),
        caller.authentication,
        message.channel,
        message.comment,
    )
    return await mutate(
        deps,
        message,
        lambda run, ctx: decide_envelope.grant(run, ctx, asked, by),
        lambda run: pb.GrantEnvelopeResponse(envelope=convert.view(run.envelopes[-1])),
    )


async def revoke(deps: Deps, message: pb.RevokeEnvelopeRequest) -> pb.RevokeEnvelopeResponse:
    """Takes one back."""

    def respond(run: Run) -> pb.RevokeEnvelopeResponse:
        found = next(each for each in run.envelopes if each.envelope_id == message.envelope_id)
        return pb.RevokeEnvelopeResponse(envelope=convert.view(found))

    return await mutate(
        deps,
        message,
        lambda run, ctx: decide_envelope.revoke(run, ctx, message.envelope_id, message.comment),
        respond,
    )
