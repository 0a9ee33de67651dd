"""What the rules of policies say about a step, as it is journaled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from interlock.orchestrator.domain.model.specs import Stage
from interlock.orchestrator.domain.model.states import Gate, RuleEffect


class PolicyVerdict(StrEnum):
    """What the rules come to. DEFAULT: none of them is about the step, so the gate of its kind holds."""

    DENY = "deny"
    REQUIRE = "require"
    ALLOW = "allow"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy that was in force. The digest covers all of it but its description and examples."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule that is about the step. `observed`: it looks at what the step did.

    `problem` says why it could not be evaluated; a rule that denies or requires then counts as if it were about the
    step, one that allows does not.
    """

    policy: str
    rule: str
    effect: RuleEffect
    reason: str = ""
    observed: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules came to, before the step began or, when `observed`, over what it had done in its fork.

    `digest` is that of all `policies` together. `gate` is what `require` asks for (none named: that of the kind);
    `previews`: some rule looks at what is observed, so that the step has to be previewed where that is possible.
    `shown`: who may decide has to see the effect itself. Approvers in `stages` are subjects, groups resolved.
    `always`: no bounds given in advance can answer. `inputs_payload` has what the rules were evaluated over. With
    `installed` the installation has a policy: no gate is weaker than the usual one then, but by a rule of it.
    """

    verdict: PolicyVerdict
    digest: str
    policies: tuple[PolicyRef, ...] = ()
    rules: tuple[RuleHit, ...] = ()
    observed: bool = False
    gate: Gate | None = None
    previews: bool = False
    shown: bool = False
    stages: tuple[Stage, ...] = ()
    separate_requester: bool = False
    always: bool = False
    inputs_payload: str = ""
    installed: bool = False
