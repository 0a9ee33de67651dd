"""Rules: domain → what they are evaluated over, and what they come to → domain and responses."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from interlock.common.plan.model import PlanRule, PlanStage
from interlock.common.policy.facts import summarise
from interlock.common.policy.model import Finding, PolicyDocument
from interlock.orchestrator.convert.texts import payload
from interlock.orchestrator.domain.model import (
    Gate,
    Policy,
    PolicyRef,
    PolicyVerdict,
    Rule,
    RuleEffect,
    RuleHit,
    Ruling,
    Run,
    Stage,
    Step,
    StepKind,
)
from interlock.orchestrator.domain.people import PLANNER, owners_of
from interlock.orchestrator.store.records import Payload
from interlock.v1 import policy_pb2, rules_pb2, step_pb2

Effect = step_pb2.Effect
INPUTS: Final = "application/protobuf; type=interlock.v1.PolicyInputs"
_BYTE_LIMIT: Final = "byte_limit"  # the executor's word: docs/sandbox.md
_GATES = {gate: policy_pb2.Gate.Value(f"GATE_{gate.name}") for gate in Gate}


def document(policy: Policy) -> PolicyDocument:
    """A run's own rules as a policy."""
    return PolicyDocument(
        policy.name,
        policy.version,
        rules=tuple(_plan_rule(rule) for rule in policy.rules),
        groups={group.name: group.subjects for group in policy.groups},
        source="policy",
    )


def _plan_rule(rule: Rule) -> PlanRule:
    return PlanRule(
        rule.name,
        rule.effect.value,
        rule.when,
        rule.reason,
        rule.gate.value if rule.gate else "",
        tuple(PlanStage(stage.name, stage.quorum, stage.approvers) for stage in rule.stages),
        rule.separate_requester,
        rule.always,
        rule.network,
    )


def rule(known: PlanRule) -> Rule:
    """A rule of a document or message."""
    return Rule(
        known.name,
        RuleEffect(known.effect),
        known.when,
        known.reason,
        Gate(known.gate) if known.gate else None,
        _stages(known.stages),
        known.separate_requester,
        known.always,
        known.network,
    )


def _stages(stages: Iterable[PlanStage]) -> tuple[Stage, ...]:
    return tuple(Stage(stage.name, stage.quorum, stage.approvers) for stage in stages)


def ruling(finding: Finding, inputs_payload: str, *, installed: bool) -> Ruling:
    """What the rules come to, as it is journaled."""
    return Ruling(
        verdict=PolicyVerdict(finding.verdict.value),
        digest=finding.digest,
        policies=tuple(PolicyRef(each.name, each.version, each.digest) for each in finding.policies),
        rules=tuple(
            RuleHit(
                hit.policy,
                hit.rule.name,
                RuleEffect(hit.rule.effect),
                hit.rule.reason,
                hit.observed,
                hit.problem,
            )
            for hit in finding.hits
        ),
        observed=finding.observed,
        gate=Gate(finding.gate) if finding.gate else None,
        previews=finding.previews,
        shown=finding.shown,
        stages=_stages(finding.stages),
        separate_requester=finding.separate_requester,
        always=finding.always,
        inputs_payload=inputs_payload,
        installed=installed,
    )


def kept_inputs(inputs: rules_pb2.PolicyInputs) -> tuple[str, Payload]:
    """What rules were evaluated over, as a payload, and its digest."""
    return payload(inputs.SerializeToString(deterministic=True), INPUTS)


def inputs(
    run: Run, step: Step, fields: Mapping[str, Any], effect: step_pb2.Effect | None
) -> rules_pb2.PolicyInputs:
    """The variables of rules; `fields` is the step's input with its texts, `effect` what it did, if it ran."""
    by = step.authors[-1] if step.authors else run.created_by
    out = rules_pb2.PolicyInputs(
        step=_step(step, fields),
        run=rules_pb2.PolicyRun(
            goal=run.goal,
            labels=dict(run.labels),
            workspace_labels=dict(run.workspace_labels),
            requester=run.created_by,
            workspace_id=run.workspace_id,
            cost_micros=run.spent.cost_micros or 0,
            model_calls=run.spent.calls,
            steps=len(run.steps),
            steps_done=run.steps_done,
            fork=run.fork is not None,
            owner=next(iter(owners_of(run, run.created_by)), ""),
        ),
        caller=rules_pb2.PolicyCaller(
            subject=by,
            planner=by == PLANNER,
            requester=by == run.created_by and by != PLANNER,
            owner=next(iter(owners_of(run, by)), ""),
        ),
    )
    if effect is not None:
        out.observed.CopyFrom(observed(effect))
        out.step.path = effect.read_path or out.step.path  # rules about a path hold for what was read
    return out


def _step(step: Step, fields: Mapping[str, Any]) -> rules_pb2.PolicyStep:
    out = rules_pb2.PolicyStep(
        number=step.number,
        kind=step.spec.kind.value,
        name=step.spec.name,
        gate=step.spec.gate.value if step.spec.gate else "",
        path=_plain(fields.get("path", "")),
        instruction=fields.get("instruction", ""),
        attempt=step.attempt,
    )
    if step.spec.kind is StepKind.EDIT_FILE:
        out.change = next((name for name in ("new_content", "patch", "instruction") if name in fields), "")
    if step.spec.kind is StepKind.RUN_COMMAND:
        _command(out, fields)
    return out


def _command(out: rules_pb2.PolicyStep, fields: Mapping[str, Any]) -> None:
    asked = step_pb2.RunCommandInput()
    items = fields.get("argv", {}).get("items", [])
    out.command = fields.get("command", "") or shlex.join(items)
    out.argv.extend(items or ("/bin/sh", "-c", out.command))
    out.working_dir = _plain(fields.get("working_dir", ""))
    out.env.extend(sorted(fields.get("env", {})))
    out.network.extend(fields.get("network", []))
    out.secrets.extend(sorted({use["name"] for use in fields.get("secrets", [])}))
    if "timeout" in fields:
        asked.timeout.FromJsonString(fields["timeout"])
        out.timeout_ms = asked.timeout.ToMilliseconds()


def _plain(path: str) -> str:
    """The path as the executor reads it, so that `./a//b` meets the rules of `a/b`. It refuses what has `..` in it."""
    return "/" * path.startswith("/") + "/".join(part for part in path.split("/") if part not in ("", "."))


def observed(effect: step_pb2.Effect) -> rules_pb2.PolicyObserved:
    """What a step did, as rules see it."""
    network = effect.network
    hosts = {f"{each.host}:{each.port}": each.allowed for each in network.attempts}
    refused = {f"{each.host}:{each.port}" for each in network.attempts if not each.allowed}
    out = rules_pb2.PolicyObserved(
        changes=[_change(each) for each in effect.changes],
        paths_total=effect.changes_total,
        exit_code=effect.exit_code,
        signal=effect.signal,
        hosts=sorted(hosts),
        refused_hosts=sorted(refused),
        sent_bytes=network.sent_bytes,
        output_bytes=effect.stdout.total_bytes + effect.stderr.total_bytes,
        read=[effect.read_path] if effect.read_path else (),
        complete=effect.changes_total <= len(effect.changes) and not _uncounted(network),
    )
    out.limits.extend(_reached(effect))
    summarise(out)
    return out


def _reached(effect: step_pb2.Effect) -> list[str]:
    """Limits that were reached though the step went on; every other one that a command passes fails it."""
    network = effect.network
    reached = {
        "output": any(each.truncated for each in (effect.stdout, effect.stderr, effect.content)),
        "network": _uncounted(network),
        "traffic": any(each.reason == _BYTE_LIMIT for each in network.attempts),
        "paths": effect.changes_total > len(effect.changes),
        "diff": effect.diff_truncated,
    }
    return [name for name, yes in reached.items() if yes]


def _uncounted(network: step_pb2.NetworkReport) -> bool:
    return network.attempts_total > len(network.attempts) or bool(network.problem)


def _change(change: step_pb2.FileChange) -> rules_pb2.PolicyChange:
    return rules_pb2.PolicyChange(
        path=change.path,
        kind=step_pb2.ChangeKind.Name(change.kind).removeprefix("CHANGE_KIND_").lower(),
        old_path=change.old_path,
        old_mode=change.old_mode,
        new_mode=change.new_mode,
        old_size=change.old_size,
        new_size=change.new_size,
        binary=change.binary,
        old_type=_type(change.old_type),
        new_type=_type(change.new_type),
        target=change.new_target,
        leads_out=change.leads_out,
    )


def _type(type_: step_pb2.EntryType.ValueType) -> str:
    word = step_pb2.EntryType.Name(type_).removeprefix("ENTRY_TYPE_").lower()
    return "" if word == "unspecified" else word


def view(known: Ruling) -> rules_pb2.Ruling:
    """A ruling as people see it."""
    return rules_pb2.Ruling(
        verdict=rules_pb2.PolicyVerdict.Value(f"POLICY_VERDICT_{known.verdict.name}"),
        digest=known.digest,
        policies=[
            rules_pb2.PolicyRef(name=each.name, version=each.version, digest=each.digest)
            for each in known.policies
        ],
        rules=[
            rules_pb2.RuleHit(
                policy=hit.policy,
                rule=hit.rule,
                effect=policy_pb2.RuleEffect.Value(f"RULE_EFFECT_{hit.effect.name}"),
                reason=hit.reason,
                observed=hit.observed,
                problem=hit.problem,
            )
            for hit in known.rules
        ],
        observed=known.observed,
        gate=_GATES[known.gate] if known.gate else policy_pb2.GATE_UNSPECIFIED,
        stages=stages(known.stages),
        separate_requester=known.separate_requester,
        always=known.always,
        inputs_digest=known.inputs_payload,
    )


def stages(known: Iterable[Stage]) -> list[policy_pb2.ApprovalStage]:
    """Stages as people see them."""
    return [
        policy_pb2.ApprovalStage(name=each.name, quorum=each.quorum, approvers=each.approvers)
        for each in known
    ]


def rule_view(known: Rule) -> policy_pb2.PolicyRule:
    """A rule of a run as people see it."""
    return policy_pb2.PolicyRule(
        name=known.name,
        effect=policy_pb2.RuleEffect.Value(f"RULE_EFFECT_{known.effect.name}"),
        when=known.when,
        reason=known.reason,
        gate=_GATES[known.gate] if known.gate else policy_pb2.GATE_UNSPECIFIED,
        stages=stages(known.stages),
        separate_requester=known.separate_requester,
        always=known.always,
        network=known.network,
    )
