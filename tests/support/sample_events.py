"""One event of every type with every field set to something other than its default.

Run as a program it prints golden entries of the types that `golden_events.json` lacks; entries it has are never
rewritten.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import Sealed, seal
from interlock.orchestrator.domain.model import (
    Approval,
    Bounds,
    Budget,
    CommandPrefix,
    EarlyDecision,
    Failure,
    ForkOf,
    Gate,
    InheritedEffect,
    InheritedStep,
    ModelCall,
    OnFailure,
    PassedGateway,
    Policy,
    PolicyRef,
    PolicyVerdict,
    Prepared,
    RejectAction,
    Rule,
    RuleEffect,
    RuleHit,
    Ruling,
    Stage,
    StepKind,
    StepSpec,
    StepState,
    Verdict,
)

RUN_ID = "run-01jd9x5m7qv4s2k8t6w3y1z0ab"
AT = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
PREV = "sha256:" + "1" * 64


def _digest(letter: str) -> str:
    return "sha256:" + letter * 64


_FAILURE = Failure("COMMAND_FAILED", "exit code 2 — “nope”\n", "argv", "Look at it.", {"exit_code": "2"})
_CALL = ModelCall(
    "analyze",
    "local",
    "tiny",
    "analyze/v1",
    _digest("a"),
    _digest("b"),
    "stop",
    120,
    30,
    4_500,
    1_250_000,
    False,
)
_PROPOSED = Prepared(_digest("c"), _digest("d"), _digest("e"), limits={"wall_ms": 600_000})
_PREPARED = Prepared(
    _digest("c"), _digest("d"), _digest("e"), _digest("f"), _digest("0"), 0, {"wall_ms": 600_000}
)
_POLICY = Policy("strict", Gate.BOTH, Gate.EFFECT, True, 3_600_000_000)
_SPEC = StepSpec(
    StepKind.RUN_COMMAND,
    {"argv": ["make", "test"], "env": {"LANG": "C", "É": "€"}, "timeout_us": 60_000_000},
    "the tests",
    Gate.BOTH,
    2,
    OnFailure.CONTINUE,
)

SAMPLES: tuple[e.Event, ...] = (
    e.RunCreated(
        "Make it work", "ws-1", "ann", _POLICY, Budget(1_000_000, 20), {"team": "core"}, "00-ab-cd-01"
    ),
    e.StepsAdded(1, (_SPEC, StepSpec(StepKind.READ_FILE, {"path": "a b/ü.txt"})), "ann"),
    e.PlanningStarted("context", 10, "do it differently", "ann"),
    e.Planned(3, True),
    e.PlanningFailed(_FAILURE),
    e.RunStarted("ann", True),
    e.RunPaused("requested", "ann", "lunch"),
    e.RunResumed("ann", True),
    e.CancelRequested("ann", "enough"),
    e.RunCancelled(),
    e.RunCompleted(),
    e.RunFailed(_FAILURE),
    e.RollbackRequested("op-1", _digest("d"), 2, "ann", "undo"),
    e.RolledBack("op-1", _digest("d"), _digest("0")),
    e.RollbackFailed("op-1", _FAILURE),
    e.ModelCalled(_CALL, step=2),
    e.DriftAdopted(_digest("d"), _digest("9")),
    e.StepStarted(1, "both", step=2),
    e.StepDrafted(_digest("8"), step=2),
    e.StepProposed(1, _PROPOSED, step=2),
    e.StepPrepared(1, _PREPARED, step=2),
    e.ApprovalRequested(
        Approval("apr-1", Gate.EFFECT, _digest("f"), 1, "2026-11-22T13:00:00.000000Z"), step=2
    ),
    e.ApprovalDecided(
        "apr-1", Verdict.REJECT, _digest("f"), "bob", "cli", "not so", RejectAction.REPLAN, step=2
    ),
    e.ApprovalExpired("apr-1", step=2),
    e.ApprovalCancelled("apr-1", step=2),
    e.StepEdited(2, {"command": "make check"}, "command", step=2),
    e.StepExecuting(1, step=2),
    e.StepApplying(1, "apr-1", _digest("f"), step=2),
    e.PreviewSuperseded(2, "WORKSPACE_DRIFTED", "a.txt changed", step=2),
    e.StepSucceeded(1, _digest("0"), True, _digest("7"), step=2),
    e.StepFailed(1, _FAILURE, True, step=2),
    e.StepRejected(_FAILURE, step=2),
    e.StepSkipped("ann", "no need", step=2),
    e.StepCancelled(step=2),
    e.StepOutcomeUnknown(_FAILURE, step=2),
    e.StepRetried("ann", step=2),
    e.EffectDiscarded(1, step=2),
    e.PreviewSuperseded(2, "WORKSPACE_DRIFTED", "a.txt changed", ("apr-1",), ("a.txt",), step=2),
    e.ApprovalRequested(
        Approval("apr-2", Gate.EFFECT, _digest("f"), 2, "2026-11-22T13:00:00.000000Z", "apr-1"), step=2
    ),
    e.RunReopened("ann"),
    e.StepRevertRequested("op-2", _digest("0"), _digest("d"), "ann", "undo it", step=2),
    e.StepReverted("op-2", _digest("8"), _digest("0"), True, step=2),
    e.StepRevertFailed("op-2", _FAILURE, step=2),
    e.RunCreated(
        "Another way",
        "ws-2",
        "bob",
        _POLICY,
        Budget(1_000_000, 20),
        {"team": "core"},
        "00-ab-cd-01",
        ForkOf("run-01jd9x5m7qv4s2k8t6w3y1z0aa", 17, _digest("2"), _digest("0"), 2),
    ),
    e.StepsInherited(
        1, (InheritedStep(_SPEC, StepState.FAILED, 3, _PREPARED, _digest("7"), _FAILURE, _digest("0")),)
    ),
    e.RunWaiting("ann", "run-0"),
    e.RollbackRequested("op-3", _digest("d"), 2, "ann", "undo", _digest("8")),
    e.StepSucceeded(1, _digest("0"), True, _digest("7"), ("a.txt",), 1, step=2),
    e.RolledBack("op-1", _digest("d"), _digest("0"), ("a.txt",), 1),
    e.StepReverted("op-2", _digest("8"), _digest("0"), True, ("a.txt",), 1, step=2),
    e.ApprovalDecided(
        "apr-1",
        Verdict.REJECT,
        _digest("f"),
        "bob",
        "cli",
        "not so",
        RejectAction.REPLAN,
        "token:tok-1",
        step=2,
    ),
    e.StepsInherited(
        1,
        (
            InheritedStep(
                _SPEC,
                StepState.SUCCEEDED,
                1,
                _PREPARED,
                head_tree=_digest("0"),
                effects=(
                    InheritedEffect(-4, "2026-11-22T12:00:00.000000Z", 1, _digest("d"), _digest("0")),
                    InheritedEffect(
                        0,
                        "2026-11-22T12:00:01.000000Z",
                        1,
                        _digest("d"),
                        _digest("0"),
                        "revert",
                        "op-2",
                        "run-0",
                    ),
                ),
            ),
        ),
    ),
    e.RolledBack("op-1", _digest("8"), _digest("0"), ("a.txt",), 1, merged=True),
    e.RunOvertaken("run-0", "op-3", _digest("8"), 17),
    e.ApprovalVoted("apr-1", _digest("f"), "bob", 1, "cli", "fine", "token:tok-1", step=2),
    e.StepRuled(
        1,
        Ruling(
            PolicyVerdict.REQUIRE,
            _digest("1"),
            (PolicyRef("team", "7", _digest("2")),),
            (
                RuleHit("team", "no-deletions", RuleEffect.REQUIRE, "looks final", observed=True),
                RuleHit("team", "odd", RuleEffect.DENY, problem="index out of range"),
            ),
            observed=True,
            gate=Gate.EFFECT,
            previews=True,
            shown=True,
            stages=(Stage("leads", 2, ("ada", "bob")),),
            separate_requester=True,
            always=True,
            inputs_payload=_digest("3"),
        ),
        "both",
        step=2,
    ),
    e.StepStarted(1, "command", judge=True, step=3),
    e.StepEdited(2, {"command": "true"}, "effect", judge=True, step=3),
    e.PreviewSuperseded(3, "POLICY_CHANGED", "Another policy.", ("apr-1",), ("a",), judge=True, step=3),
    e.RunCreated(
        "goal",
        "ws-1",
        "ann",
        Policy(
            "own",
            version="3",
            rules=(
                Rule("r", RuleEffect.DENY, "step.kind == 'run_command'", "never"),
                Rule(
                    "s",
                    RuleEffect.REQUIRE,
                    "true",
                    gate=Gate.BOTH,
                    stages=(Stage(quorum=2),),
                    separate_requester=True,
                    always=True,
                    network=True,
                ),
            ),
            named_gates=("run_command",),
        ),
        Budget(1, 2),
        {"team": "a"},
        "00-1-2-00",
        ForkOf("run-0", 1, _digest("4"), _digest("5")),
    ),
    e.StepSucceeded(1, _digest("0"), True, _digest("7"), ("a.txt",), 1, "apr-1", step=2),
    e.RunCreated(
        "Beside a socket",
        "ws-3",
        "ann",
        _POLICY,
        Budget(1_000_000, 20),
        {"team": "core"},
        "00-ab-cd-01",
        ForkOf("run-01jd9x5m7qv4s2k8t6w3y1z0aa", 17, _digest("2"), _digest("0"), 2),
        left_out=("run/sock", "pipe"),
        left_out_total=102,
    ),
    e.ApprovalRequested(
        Approval(
            "apr-2",
            Gate.EFFECT,
            _digest("f"),
            2,
            "2026-11-22T14:00:00.000000Z",
            "apr-1",
            60_000_000,
            "2026-11-22T13:00:00.000000Z",
            ("eve",),
        ),
        step=2,
    ),
    e.ApprovalReminded("apr-1", 1, step=2),
    e.ApprovalEscalated("apr-1", ("eve", "sec"), step=2),
    e.ApprovalVoted("apr-1", _digest("f"), "bob", 1, "cli", "fine", "token:tok-1", "ada", "dlg-1", step=2),
    e.ApprovalDecided(
        "apr-1",
        Verdict.REJECT,
        _digest("f"),
        "bob",
        "cli",
        "no",
        RejectAction.REPLAN,
        "token:tok-1",
        "ada",
        "dlg-1",
        step=2,
    ),
    e.StepEdited(3, {"command": "make"}, "command", judge=True, by="bob", step=2),
    e.StepRuled(
        1,
        Ruling(
            PolicyVerdict.REQUIRE,
            _digest("1"),
            (PolicyRef("team", "7", _digest("2")),),
            (
                RuleHit("team", "no-deletions", RuleEffect.REQUIRE, "looks final", observed=True),
                RuleHit("team", "odd", RuleEffect.DENY, problem="index out of range"),
            ),
            observed=True,
            gate=Gate.EFFECT,
            previews=True,
            shown=True,
            stages=(Stage("leads", 2, ("ada", "bob")),),
            separate_requester=True,
            always=True,
            inputs_payload=_digest("3"),
            installed=True,
        ),
        "both",
        step=2,
    ),
    e.ApprovalRequested(
        Approval(
            "apr-2",
            Gate.EFFECT,
            _digest("f"),
            2,
            "2026-11-22T14:00:00.000000Z",
            "apr-1",
            60_000_000,
            "2026-11-22T13:00:00.000000Z",
            ("eve",),
            "Outside env-1 (paths): b is in none of a.",
        ),
        step=2,
    ),
    e.EnvelopeGranted(
        "env-1",
        Bounds(("src/**",), (CommandPrefix(("make",)),), 5, 1000, 2000),
        "bob",
        "ada",
        "dlg-1",
        "token:tok-1",
        "cli",
        "go on",
        "apr-1",
        _digest("f"),
        "2026-11-22T14:00:00.000000Z",
    ),
    e.EnvelopeTried(1, "env-1", _digest("d"), step=3),
    e.EnvelopeUsed(1, "env-1", "bob", _digest("e"), 2, 120, "ada", step=3),
    e.EnvelopeRevoked("env-1", "ada", "enough"),
    e.EnvelopeExhausted("env-1", "max_steps"),
    e.WorkspaceRemoved("ann", True),
    e.DecisionKept(
        EarlyDecision(
            Verdict.REJECT,
            _digest("f"),
            "bob",
            "2026-11-22T14:00:00.000000Z",
            "cli",
            "no",
            RejectAction.REPLAN,
            "token:tok-1",
            "ada",
            "dlg-1",
        ),
        step=2,
    ),
    e.RunCreated(
        "On a labelled workspace",
        "ws-3",
        "ann",
        _POLICY,
        Budget(1_000_000, 20),
        {"team": "core"},
        "00-ab-cd-01",
        ForkOf("run-01jd9x5m7qv4s2k8t6w3y1z0aa", 17, _digest("2"), _digest("0"), 2),
        left_out=("run/sock", "pipe"),
        left_out_total=102,
        workspace_labels={"team": "web", "env": "prod"},
    ),
    e.AgentNamed("agent-7", "alice"),
    e.DecisionWithdrawn("bob", _digest("f"), "The token tok-1 does not work any more.", step=2),
    e.RunSetAside(
        "prepare", Failure("INTERNAL", "The driver met a defect.", metadata={"type": "ValueError"}), 5
    ),
    e.RunTakenUp("ann"),
    e.Erased((_digest("a"), _digest("b")), "Asked for by a person.", "root"),
    e.RunCreated(
        "Once more",
        "ws-3",
        "ann",
        _POLICY,
        Budget(1_000_000, 20),
        {"team": "core"},
        "00-ab-cd-01",
        ForkOf("run-01jd9x5m7qv4s2k8t6w3y1z0aa", 17, _digest("2"), _digest("0"), 2),
        left_out=("pipe",),
        left_out_total=102,
        workspace_labels={"team": "web"},
        replay_from="run-01jd9x5m7qv4s2k8t6w3y1z0aa",
    ),
    e.ModelCalled(replace(_CALL, request_payload=_digest("7")), step=2),
    e.ApprovalVoted(
        "apr-1",
        _digest("f"),
        "bob",
        1,
        "cli",
        "fine",
        "oidc:https://id.example",
        "ada",
        "dlg-1",
        ("leads", "sec"),
        step=2,
    ),
    e.EnvelopeGranted(
        "env-1",
        Bounds(("src/**",), (CommandPrefix(("make",)),), 5, 1000, 2000),
        "bob",
        "ada",
        "dlg-1",
        "token:tok-1",
        "cli",
        "go on",
        "apr-1",
        _digest("f"),
        "2026-11-22T14:00:00.000000Z",
        ("leads",),
    ),
    e.DecisionKept(
        EarlyDecision(
            Verdict.REJECT,
            _digest("f"),
            "bob",
            "2026-11-22T14:00:00.000000Z",
            "cli",
            "no",
            RejectAction.REPLAN,
            "token:tok-1",
            "ada",
            "dlg-1",
            ("leads",),
        ),
        step=2,
    ),
    e.RunCreated(
        "A few steps at a time",
        "ws-3",
        "ann",
        _POLICY,
        Budget(1_000_000, 20),
        {"team": "core"},
        "00-ab-cd-01",
        ForkOf("run-01jd9x5m7qv4s2k8t6w3y1z0aa", 17, _digest("2"), _digest("0"), 2),
        left_out=("run/sock", "pipe"),
        left_out_total=102,
        workspace_labels={"team": "web", "env": "prod"},
        replay_from="run-01jd9x5m7qv4s2k8t6w3y1z0aa",
        steps_at_a_time=2,
        most_steps=50,
    ),
    e.PlanningStarted("be careful", 2, "not so many", "ann", going_on=True, then="planned"),
    e.StepsAdded(4, (_SPEC,), "bob", ("ann", "eve")),
    e.BudgetReached("caller", "ann", "2026-11-22", 5_000_000, 4_900_000, 200_000, "m-1", step=2),
    e.BudgetSet(Budget(2_000_000, 30, 10_000), "ann"),
    e.ModelCalled(replace(_CALL, passed_over=(PassedGateway("cloud", "MODEL_UNAVAILABLE"),)), step=2),
)
"""Where a type stands twice, the second has the fields that were added later."""


def name_of(index: int) -> str:
    """The name of a sample in the golden file: its type, and how often it came before."""
    type_ = SAMPLES[index].type
    before = sum(event.type == type_ for event in SAMPLES[:index])
    return f"{type_}/{before + 1}" if before else type_


def sealed(event: e.Event, index: int) -> Sealed:
    """The sample as the journal would have it, each on its own."""
    at = AT + timedelta(seconds=index)
    return seal(RUN_ID, index + 2, PREV, at, event.type, event.step, e.encode(event))


def missing(known: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Golden entries for the types that have none."""
    made = {name_of(index): sealed(event, index) for index, event in enumerate(SAMPLES)}
    return {
        type_: {"canonical": s.canonical.decode(), "digest": s.digest}
        for type_, s in made.items()
        if type_ not in known
    }


if __name__ == "__main__":
    golden = Path(__file__).parents[1] / "unit/orchestrator/domain/golden_events.json"
    entries = json.loads(golden.read_text()) if golden.exists() else {}
    sys.stdout.write(json.dumps({**entries, **missing(entries)}, indent=1, ensure_ascii=False) + "\n")
