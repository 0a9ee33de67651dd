"""Envelopes: requests → domain → responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.decide_envelope import Grant
from interlock.orchestrator.domain.envelopes import Observed
from interlock.orchestrator.domain.model import Bounds, CommandPrefix, Envelope, Run, Step
from interlock.v1 import envelope_pb2, step_pb2


def grant(message: envelope_pb2.EnvelopeBounds) -> Grant:
    """What is asked for; a count that is not given is that of a `Bounds`."""
    bounds = Bounds(
        tuple(message.paths),
        tuple(CommandPrefix(tuple(each.words)) for each in message.commands),
        message.max_steps or Bounds(()).max_steps,
        message.max_bytes,
        message.max_cost_micros,
    )
    return Grant(bounds, message.lasts.ToMicroseconds())


def seen(effect: step_pb2.Effect) -> Observed:
    """What an effect did: every path that it changed, and where a renamed one was before.

    A directory that was made only to hold what is below it is no change of its own: that is what counts.
    """
    below = {path[:at] for path in _touched(effect.changes) for at, c in enumerate(path) if c == "/"}
    made = {each.path for each in effect.changes if _is_new_directory(each)} & below
    paths = dict.fromkeys(path for path in _touched(effect.changes) if path not in made)
    complete = effect.changes_total == len(effect.changes)
    out = tuple(each.path for each in effect.changes if each.leads_out)
    return Observed(tuple(paths), sum(each.new_size for each in effect.changes), complete, out)


def _touched(changes: Iterable[step_pb2.FileChange]) -> Iterator[str]:
    return (path for each in changes for path in (each.path, each.old_path) if path)


def _is_new_directory(change: step_pb2.FileChange) -> bool:
    return change.kind == step_pb2.CHANGE_KIND_ADDED and change.new_type == step_pb2.ENTRY_TYPE_DIRECTORY


def view(value: Envelope) -> envelope_pb2.Envelope:
    """An envelope as people see it."""
    bounds = value.bounds
    out = envelope_pb2.Envelope(
        envelope_id=value.envelope_id,
        bounds=envelope_pb2.EnvelopeBounds(
            paths=bounds.paths,
            commands=[envelope_pb2.CommandPrefix(words=each.words) for each in bounds.commands],
            max_steps=bounds.max_steps,
            max_bytes=bounds.max_bytes,
            max_cost_micros=bounds.max_cost_micros,
        ),
        state=envelope_pb2.EnvelopeState.Value(f"ENVELOPE_STATE_{value.state.name}"),
        granted_by=value.granted_by,
        on_behalf_of=value.on_behalf_of,
        authentication=value.authentication,
        channel=value.channel,
        comment=value.comment,
        approval_id=value.approval_id,
        steps=dict.fromkeys(use.step for use in value.uses),
        bytes=sum(use.size for use in value.uses),
        revoked_by=value.revoked_by,
    )
    out.granted_at.FromDatetime(value.granted_at)
    if value.expires_at:
        out.expires_at.FromDatetime(parse_time(value.expires_at))
    return out


def granted_by(run: Run, step: Step) -> str:
    """Who granted the envelope that let a step through; empty for one that none has."""
    found = (each for each in run.envelopes if each.envelope_id == step.envelope)
    return next((each.granted_by for each in found), "")
