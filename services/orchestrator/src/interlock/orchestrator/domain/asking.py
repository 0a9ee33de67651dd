"""Whether a step has to ask, at which gate, and whom: decided here and nowhere else.

It follows from the step, from its run's policy, and from what the rules in force say about it (`Ruling`; none where
there are no rules). Bounds within which later steps need not ask are for whoever gets a `Question` that `may_be_given`:
they never answer what a rule denies, nor what it wants a person to see always.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from interlock.common.errors import Reason
from interlock.orchestrator.domain.gates import effective_gate
from interlock.orchestrator.domain.model import (
    WRITING_KINDS,
    Failure,
    Gate,
    Group,
    Policy,
    PolicyVerdict,
    Prepared,
    RuleEffect,
    Ruling,
    Run,
    Stage,
    Step,
    StepKind,
    StepSpec,
)


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a step that has come to a gate asks there. `refused`: the rules deny it, nobody is asked."""

    gate: Gate
    asks: bool
    may_be_given: bool = True
    refused: Failure | None = None


@dataclass(frozen=True, slots=True)
class Deciders:
    """Who has to approve: stages one after the other, names for several subjects, and whether the requester may."""

    stages: tuple[Stage, ...]
    groups: tuple[Group, ...]
    separate_requester: bool


def has_rules(run: Run, policy: str) -> bool:
    """Whether rules decide about the run's steps; `policy`: the digest of the installation's own, empty = none."""
    return bool(policy or run.policy.rules)


def gate_of(spec: StepSpec, policy: Policy, ruling: Ruling | None = None, *, edited: bool = False) -> Gate:
    """The gate in force for a step that nothing denies; `ruling` is what the rules say, None before they have spoken.

    A rule's gate comes in place of the kind's, never in place of the step's own. What cannot wait at a gate has none.
    `edited`: an approver has replaced the input, and asks to see what comes of it: no rule answers in their place.
    """
    usual = effective_gate(spec, policy)
    if ruling is not None and ruling.installed and usual is Gate.NONE:
        usual = effective_gate(replace(spec, gate=None), Policy())
    if ruling is None or spec.kind not in WRITING_KINDS:
        return usual
    network = bool(spec.input.get("network"))
    if ruling.verdict is PolicyVerdict.REQUIRE:
        wanted = ruling.gate or (usual if usual is not Gate.NONE else _first(spec.kind, network=network))
        return _possible(spec, _both(spec.gate or Gate.NONE, wanted), network=network)
    if ruling.verdict is PolicyVerdict.ALLOW:
        return usual if edited or spec.gate not in (None, Gate.NONE) else Gate.NONE
    unnamed = spec.gate is None and "run_command" not in policy.named_gates
    previews = ruling.previews and unnamed and not network
    return Gate.EFFECT if usual is Gate.COMMAND and previews else usual


def at_command(step: Step, ruling: Ruling | None) -> Question:
    """About what would run, before anything does."""
    return Question(Gate.COMMAND, asks=True, may_be_given=not (ruling and ruling.always))


def at_effect(step: Step, effect: Prepared, ruling: Ruling | None) -> Question:
    """About what came of it, before it is published; `ruling` is over what was observed."""
    if ruling is not None and (refused := refusal(step, ruling)) is not None:
        return Question(Gate.EFFECT, asks=False, refused=refused)
    # An edit without a change has nothing to approve; a command has its outputs, which later steps read.
    shows = effect.changes_tree or step.spec.kind is StepKind.RUN_COMMAND
    if step.spec.kind not in WRITING_KINDS or not shows:
        return Question(Gate.EFFECT, asks=False)
    waits = step.gate in (Gate.EFFECT, Gate.BOTH)
    decides = ruling is not None and not (step.edited_by and ruling.verdict is PolicyVerdict.ALLOW)
    if ruling is None or not decides or ruling.verdict is PolicyVerdict.DEFAULT:
        return Question(Gate.EFFECT, asks=waits)
    if ruling.verdict is PolicyVerdict.ALLOW:
        return Question(Gate.EFFECT, asks=step.spec.gate in (Gate.EFFECT, Gate.BOTH))
    asks = waits or ruling.shown or not step.approved_request
    return Question(Gate.EFFECT, asks=asks, may_be_given=not ruling.always)


def refusal(step: Step, ruling: Ruling) -> Failure | None:
    """Why a step may not begin, or may not come to anything now that it is known what it does, if it may not."""
    if ruling.verdict is PolicyVerdict.DENY:
        return denied(step, ruling)
    if ruling.verdict is PolicyVerdict.REQUIRE and step.spec.kind not in WRITING_KINDS:
        return denied(step, ruling)  # it has no gate to wait at
    return None


def deciders(run: Run, step: Step) -> Deciders:
    """Who has to approve the step's open question: whom the run's policy names, then whom the rules add."""
    policy, ruling = run.policy, step.observed or step.ruling
    if ruling is None:
        return Deciders(policy.stages, policy.groups, policy.separate_requester)
    return Deciders(
        _merged(policy.stages, ruling.stages),
        policy.groups,
        policy.separate_requester or ruling.separate_requester,
    )


def denied(step: Step, ruling: Ruling) -> Failure:
    """The failure of a step that the rules deny."""
    decisive = [hit for hit in ruling.rules if hit.effect.value == ruling.verdict.value]
    first = decisive[0] if decisive else None
    name = f"the rule {first.rule!r} of the policy {first.policy!r}" if first else "the policy"
    why = f": {first.reason}" if first and first.reason else ""
    needs = first is not None and first.effect is RuleEffect.REQUIRE
    what = (
        f"wants to be asked, and a {step.spec.kind.value} step has no gate to wait at"
        if needs
        else "denies it"
    )
    done = "; nothing of what it did in its fork is published" if ruling.observed else ""
    return Failure(
        Reason.POLICY_DENIED.value,
        f"Step {step.number} is refused: {name} {what}{why}{done}.",
        fix="Do it another way, skip the step, or have whoever keeps the policy change it.",
        metadata={
            "rule": first.rule if first else "",
            "policy": first.policy if first else "",
            "policy_digest": ruling.digest,
        },
    )


def _first(kind: StepKind, *, network: bool) -> Gate:
    return Gate.COMMAND if network and kind is StepKind.RUN_COMMAND else Gate.EFFECT


def _possible(spec: StepSpec, gate: Gate, *, network: bool) -> Gate:
    """As near to the gate as the step can come: an edit runs nothing, and network cannot be previewed."""
    if spec.kind is StepKind.EDIT_FILE:
        return Gate.EFFECT
    return Gate.COMMAND if network else gate


def _both(one: Gate, other: Gate) -> Gate:
    if one is other or one is Gate.NONE:
        return other
    return one if other is Gate.NONE else Gate.BOTH


def _merged(first: tuple[Stage, ...], more: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Both lists as one: two stages of the same people are one, with the higher quorum."""
    out = list(first)
    for stage in more:
        same = next((at for at, each in enumerate(out) if set(each.approvers) == set(stage.approvers)), None)
        if same is None:
            out.append(stage)
        elif out[same].quorum < stage.quorum:
            out[same] = Stage(out[same].name or stage.name, stage.quorum, out[same].approvers)
    return tuple(out)
