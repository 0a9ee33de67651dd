"""States, specifications and records of runs and steps: frozen, JSON-friendly, without behaviour."""

from __future__ import annotations

from interlock.orchestrator.domain.model.envelopes import (
    Bounds,
    CommandPrefix,
    Envelope,
    EnvelopeState,
    EnvelopeUse,
)
from interlock.orchestrator.domain.model.forks import (
    ForkOf,
    InheritedEffect,
    InheritedStep,
)
from interlock.orchestrator.domain.model.reviews import (
    Approval,
    Prepared,
    Reviewed,
    Superseded,
    Vote,
)
from interlock.orchestrator.domain.model.rulings import (
    PolicyRef,
    PolicyVerdict,
    RuleHit,
    Ruling,
)
from interlock.orchestrator.domain.model.runs import (
    ZERO_DIGEST,
    Planning,
    Revert,
    Rollback,
    Run,
    Waiting,
)
from interlock.orchestrator.domain.model.specs import (
    MAX_ATTEMPTS,
    MAX_STEPS,
    MAX_SUPERSEDED,
    Budget,
    Failure,
    Group,
    Json,
    Policy,
    Rule,
    Stage,
    StepSpec,
)
from interlock.orchestrator.domain.model.spending import (
    ModelCall,
    Spent,
)
from interlock.orchestrator.domain.model.states import (
    MODEL_KINDS,
    RUN_FINAL,
    STEP_ACTIVE,
    STEP_FINAL,
    WRITING_KINDS,
    Gate,
    OnFailure,
    PauseReason,
    RejectAction,
    RuleEffect,
    RunState,
    StepKind,
    StepState,
    Verdict,
)
from interlock.orchestrator.domain.model.steps import (
    Kept,
    Step,
)

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_STEPS",
    "MAX_SUPERSEDED",
    "MODEL_KINDS",
    "RUN_FINAL",
    "STEP_ACTIVE",
    "STEP_FINAL",
    "WRITING_KINDS",
    "ZERO_DIGEST",
    "Approval",
    "Bounds",
    "Budget",
    "CommandPrefix",
    "Envelope",
    "EnvelopeState",
    "EnvelopeUse",
    "Failure",
    "ForkOf",
    "Gate",
    "Group",
    "InheritedEffect",
    "InheritedStep",
    "Json",
    "Kept",
    "ModelCall",
    "OnFailure",
    "PauseReason",
    "Planning",
    "Policy",
    "PolicyRef",
    "PolicyVerdict",
    "Prepared",
    "RejectAction",
    "Revert",
    "Reviewed",
    "Rollback",
    "Rule",
    "RuleEffect",
    "RuleHit",
    "Ruling",
    "Run",
    "RunState",
    "Spent",
    "Stage",
    "Step",
    "StepKind",
    "StepSpec",
    "StepState",
    "Superseded",
    "Verdict",
    "Vote",
    "Waiting",
]
