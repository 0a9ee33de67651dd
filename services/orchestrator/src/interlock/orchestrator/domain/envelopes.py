"""Whether a step is within an envelope, by what it was observed to do; and who may grant one.

An envelope answers a question in place of whoever granted it, so it answers only what that person could have approved
alone, and nothing that a policy denies or wants a person to see always. A command that an envelope names is carried
out in its fork before anybody is asked: its effect is what is judged, and what is outside asks about that effect.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.asking import Question, deciders
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.globs import check_glob, matches
from interlock.orchestrator.domain.model import Bounds, Envelope, EnvelopeState, Run, Step, StepKind
from interlock.orchestrator.domain.people import same_person
from interlock.orchestrator.domain.votes import Voter, approvers

MAX_ENVELOPES: Final = 100
"""Most envelopes of one run, whatever has become of them."""

_NOTE: Final = 1000
_NOT_PLAIN: Final = re.compile(r"[;&|<>()$`\n{}#]")
_ASSIGNS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SPENT = frozenset({"max_steps", "max_cost_micros"})


@dataclass(frozen=True, slots=True)
class Observed:
    """What an effect did: every path it touched, the bytes of the changed files, and which links lead out of the
    workspace now. Not `complete`: it did more."""

    paths: tuple[str, ...] = ()
    size: int = 0
    complete: bool = True
    links_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outside:
    """Which bound a step would pass, and why in words."""

    bound: str
    why: str


def trial(run: Run, step: Step, question: Question, now: datetime) -> Envelope | None:
    """The envelope within which a command may run in its fork before anybody is asked, if there is one."""
    if not question.may_be_given:
        return None
    return next((each for each in _active(run) if _before(run, step, each, now) is None), None)


def given(run: Run, step: Step, question: Question, seen: Observed, now: datetime) -> Envelope | None:
    """The first envelope that what the step did is within, if there is one."""
    if not question.may_be_given:
        return None
    return next((each for each in _active(run) if _after(run, step, each, seen, now) is None), None)


def passed(run: Run, step: Step, question: Question, seen: Observed | None, now: datetime) -> str:
    """Why no envelope answers, for whoever is asked: each that is active, and the bound that is passed."""
    found = []
    for each in _active(run):
        out = _before(run, step, each, now) if seen is None else _after(run, step, each, seen, now)
        if not question.may_be_given:
            out = Outside("policy", "the policy wants a person to see it")
        if out is not None:
            found.append(f"Outside {each.envelope_id} ({out.bound}): {out.why}.")
    return " ".join(found)[:_NOTE]


def spent(run: Run, step: Step, now: datetime) -> list[e.Event]:
    """The ends of envelopes that no further step can be within: their count or their cost is used up."""
    found: list[e.Event] = []
    for each in _active(run):
        out = _before(run, step, each, now)
        if out is not None and out.bound in _SPENT:
            found.append(e.EnvelopeExhausted(each.envelope_id, out.bound))
    return found


def check_bounds(bounds: Bounds, field: str) -> None:
    """Raises INVALID_ARGUMENT."""
    for index, glob in enumerate(bounds.paths):
        check_glob(glob, f"{field}.paths[{index}]")


def check_may_grant(run: Run, voter: Voter, step: Step | None = None) -> None:
    """Raises PERMISSION_DENIED unless they could approve alone, RESOURCE_EXHAUSTED when there are too many."""
    why = _not_alone(run, step, voter)
    if why:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"Only who may approve alone may grant an envelope: {why}.",
            fix="Approve step by step, or have somebody grant it who may.",
            metadata={"run_id": run.run_id, "subject": voter.right},
        )
    if len(run.envelopes) >= MAX_ENVELOPES:
        raise InterlockError(
            Reason.RESOURCE_EXHAUSTED,
            f"{run.run_id} has had {MAX_ENVELOPES} envelopes, the most a run may have.",
        )


def _active(run: Run) -> Iterator[Envelope]:
    return (each for each in run.envelopes if each.state is EnvelopeState.ACTIVE)


def _before(run: Run, step: Step, envelope: Envelope, now: datetime) -> Outside | None:
    """What is known before anything runs: whose the step is, the program, what is used up."""
    bounds = envelope.bounds
    if envelope.expires_at and now >= parse_time(envelope.expires_at):
        return Outside("expires_at", f"it ended at {envelope.expires_at}")
    if why := _not_alone(run, step, Voter(envelope.granted_by, envelope.on_behalf_of, envelope.groups)):
        return Outside("granted_by", why)
    if step.edited_by:
        return Outside("edited", f"{step.edited_by} has edited the step")
    if len(envelope.uses) >= bounds.max_steps:
        return Outside("max_steps", f"{bounds.max_steps} steps have used it")
    if why := _too_dear(run, envelope):
        return Outside("max_cost_micros", why)
    return _program(step, envelope) if step.spec.kind is StepKind.RUN_COMMAND else None


def _after(run: Run, step: Step, envelope: Envelope, seen: Observed, now: datetime) -> Outside | None:
    """What was observed, besides."""
    if (out := _before(run, step, envelope, now)) is not None:
        return out
    bounds = envelope.bounds
    if not seen.complete:
        return Outside("paths", f"it changed more than the {len(seen.paths)} paths that can be looked at")
    for path in seen.paths:
        if not any(matches(glob, path) for glob in bounds.paths):
            return Outside("paths", f"{path} is in none of {', '.join(bounds.paths[:5])}")
    if seen.links_out:
        return Outside("links", f"{seen.links_out[0]} is a link that leads out of the workspace")
    size = seen.size + sum(use.size for use in envelope.uses)
    if bounds.max_bytes and size > bounds.max_bytes:
        return Outside("max_bytes", f"with it, {size} bytes would be changed, of {bounds.max_bytes}")
    return None


def _program(step: Step, envelope: Envelope) -> Outside | None:
    for asked in ("network", "secrets"):
        if step.spec.input.get(asked):
            return Outside(asked, f"it asks for {asked}, which no envelope gives")
    prefixes = [each.words for each in envelope.bounds.commands]
    if not prefixes:
        return Outside("commands", "it is about no command")
    words = words_of(step)
    if words is None:
        return Outside("commands", "its shell line is more than one plain command")
    if any(words[: len(prefix)] == prefix for prefix in prefixes):
        return None
    return Outside("commands", f"{shlex.join(words[:3])} begins like none of its commands")


def words_of(step: Step) -> tuple[str, ...] | None:
    """The words of a command; None where a shell would make something else of them."""
    asked = step.spec.input
    argv = asked.get("argv")
    if isinstance(argv, dict):
        return tuple(str(each) for each in argv.get("items", ()))
    line = asked.get("command")
    if not isinstance(line, str) or _NOT_PLAIN.search(line):
        return None
    try:
        words = tuple(shlex.split(line))
    except ValueError:
        return None
    return words if words and not _ASSIGNS.match(words[0]) else None


def _too_dear(run: Run, envelope: Envelope) -> str:
    limit = envelope.bounds.max_cost_micros
    if not limit:
        return ""
    if run.spent.unpriced > envelope.unpriced_before:
        return "what the run has spent since is not known"
    cost = (run.spent.cost_micros or 0) - envelope.cost_before
    return f"the run has spent {cost} micro-dollars since, of {limit}" if cost > limit else ""


def _not_alone(run: Run, step: Step | None, voter: Voter) -> str:
    """Why they could not approve the step (None: steps of the run in general) alone; empty when they could."""
    of = deciders(run, step) if step is not None else run.policy
    asked = (run.created_by, *(step.authors if step is not None else ()))
    if of.separate_requester and (both := same_person(run, voter.people, asked)):
        return f"{both.words} has asked for it or edited it"
    if sum(stage.quorum for stage in of.stages) > 1:
        return "several people have to approve"
    people = [approvers(of.groups, stage) for stage in of.stages]
    if any(each and not voter.is_among(each) for each in people):
        return f"{voter.right} is not among those who decide"
    return ""
