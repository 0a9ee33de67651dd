"""What the rules of the policies in force come to: deny before require, require before allow, and none is none.

The installation's policy and a run's own are decided each for itself, and the stricter of the two holds: a run can ask
for more than its installation does, never for less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from interlock.common.digests import digest_json
from interlock.common.plan.model import PlanRule, PlanStage
from interlock.common.policy.language import (
    CannotEvaluate,
    Program,
    activation,
    compile_expression,
    evaluate,
)
from interlock.common.policy.model import Finding, Hit, Named, PolicyDocument, Verdict
from interlock.v1 import rules_pb2

MAX_HITS: Final = 50
GROUP: Final = "group:"
_ORDER: Final = {"deny": 0, "require": 1, "allow": 2}
_INCOMPLETE: Final = PlanRule(
    "more-than-was-listed",
    "require",
    "!observed.complete",
    reason="The step touched more than rules can look at, so somebody has to.",
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One policy, compiled."""

    named: Named
    rules: tuple[tuple[PlanRule, Program], ...]
    groups: Mapping[str, tuple[str, ...]]

    @property
    def observes(self) -> bool:
        """Whether some rule looks at what a step did."""
        return any(program.observed for _, program in self.rules)


def layer_of(document: PolicyDocument) -> Layer:
    """The policy compiled. Raises BadExpression."""
    rules = tuple((rule, compile_expression(rule.when)) for rule in document.rules)
    return Layer(Named(document.name, document.version, document.digest), rules, document.groups)


def digest_of(layers: Sequence[Layer]) -> str:
    """Digest of the policies in force as one; empty without any."""
    return _joined(tuple(layer.named.digest for layer in layers))


@lru_cache(maxsize=256)
def _joined(digests: tuple[str, ...]) -> str:
    return digest_json(list(digests), "interlock.policies.v1") if digests else ""


def judge(layers: Sequence[Layer], inputs: rules_pb2.PolicyInputs, *, named_gate: bool = False) -> Finding:
    """What the policies say about the step: over what it did where `inputs` has that, else over what it asks for.

    `named_gate`: the run names the gate of such steps without having rules; no policy then opens it.
    """
    values = activation(inputs)
    observed = inputs.HasField("observed")
    found = [(layer, tuple(_hits(layer, inputs, values, observed=observed))) for layer in layers]
    hits = sorted((hit for _, each in found for hit in each), key=lambda hit: _ORDER[hit.rule.effect])
    verdict = _together([each for _, each in found], named_gate=named_gate)
    asked = [hit for hit in hits if hit.rule.effect == "require"] if verdict is Verdict.REQUIRE else []
    return Finding(
        verdict=verdict,
        digest=digest_of(layers),
        policies=tuple(layer.named for layer in layers),
        hits=tuple(hits[:MAX_HITS]),
        observed=observed,
        gate=_gate(hit.rule.gate for hit in asked),
        previews=any(layer.observes for layer in layers),
        shown=any(hit.observed or hit.rule.gate in ("effect", "both") for hit in asked),
        stages=_stages(found) if asked else (),
        separate_requester=any(hit.rule.separate_requester for hit in asked),
        always=any(hit.rule.always for hit in asked),
    )


def _hits(layer: Layer, inputs: rules_pb2.PolicyInputs, values: object, *, observed: bool) -> Iterable[Hit]:
    for rule, program in layer.rules:
        if program.observed and not observed:
            continue
        if rule.effect == "allow" and inputs.step.network and not rule.network:
            continue
        problem = ""
        try:
            if not evaluate(program, values):
                continue
        except CannotEvaluate as error:
            if rule.effect == "allow":
                continue
            problem = str(error)
        yield Hit(layer.named.name, rule, program.observed, problem)
    if observed and layer.observes and not inputs.observed.complete:
        yield Hit(layer.named.name, _INCOMPLETE, observed=True)


def _together(found: Sequence[Sequence[Hit]], *, named_gate: bool) -> Verdict:
    said = {hit.rule.effect for hits in found for hit in hits}
    if "deny" in said:
        return Verdict.DENY
    if "require" in said:
        return Verdict.REQUIRE
    agreed = bool(found) and all(found) and not named_gate
    return Verdict.ALLOW if agreed else Verdict.DEFAULT


def _stages(found: Sequence[tuple[Layer, Sequence[Hit]]]) -> tuple[PlanStage, ...]:
    return tuple(
        _resolved(stage, layer.groups)
        for layer, hits in found
        for hit in hits
        if hit.rule.effect == "require"
        for stage in hit.rule.stages
    )


def _gate(named: Iterable[str]) -> str:
    wanted = {gate for gate in named if gate}
    if len(wanted) > 1:
        return "both"
    return next(iter(wanted), "")


def _resolved(stage: PlanStage, groups: Mapping[str, tuple[str, ...]]) -> PlanStage:
    people: dict[str, None] = {}
    for name in stage.approvers:
        known = groups.get(name.removeprefix(GROUP), ()) if name.startswith(GROUP) else (name,)
        people.update(dict.fromkeys(known))
    return PlanStage(stage.name, stage.quorum, tuple(people))
