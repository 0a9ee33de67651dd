"""What is asked of a run and its steps, within which bounds; and how a failure is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from interlock.orchestrator.domain.model.states import Gate, OnFailure, RuleEffect, StepKind

MAX_STEPS = 10_000
"""Most steps of one run."""

MAX_ATTEMPTS = 100
"""Most attempts of one step, retries, edits and renewed previews included."""

MAX_SUPERSEDED = 10
"""Most times that the preview of one try of a step is replaced because the workspace moved under it."""

Json = Mapping[str, Any]
"""An object of a journal event: text keys; text, integers, booleans, null, lists and objects as values."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`quorum` different people of `approvers` (subjects and `group:NAME`; empty = every approver) have to approve."""

    name: str = ""
    quorum: int = 1
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """A name for several subjects."""

    name: str
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a run's own policy: `when` is a CEL expression (docs/policy.md)."""

    name: str
    effect: RuleEffect
    when: str
    reason: str = ""
    gate: Gate | None = None
    stages: tuple[Stage, ...] = ()
    separate_requester: bool = False
    always: bool = False
    network: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Gates of the dangerous kinds, how long approvals stay open (microseconds; None = for ever), and who approves.

    With `separate_requester` neither who created the run nor who edited the step can approve it. `rules` are the
    run's own, besides those of its installation; their approvers are subjects and `group:NAME`. `named_gates` are the
    kinds whose gate was named, though it may be the usual one: no rule of the installation opens those. An open
    approval is reminded of every `remind_us` microseconds, and after `escalate_us` goes to `escalate_to` (subjects,
    `group:NAME`) too; 0 is never.
    """

    name: str = "default"
    edit_file_gate: Gate = Gate.EFFECT
    run_command_gate: Gate = Gate.COMMAND
    steps_may_weaken: bool = False
    approval_timeout_us: int | None = None
    stages: tuple[Stage, ...] = ()
    groups: tuple[Group, ...] = ()
    separate_requester: bool = False
    version: str = ""
    rules: tuple[Rule, ...] = ()
    named_gates: tuple[str, ...] = ()
    remind_us: int = 0
    escalate_us: int = 0
    escalate_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """Most micro-US-dollars and model calls; 0 = no limit.

    `unpriced_call_micros` is what a call without a known price counts as; 0 = under a limit of money none is made.
    """

    max_cost_micros: int = 0
    max_model_calls: int = 0
    unpriced_call_micros: int = 0


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What a step is asked to do.

    `input` holds the fields of the kind's input message under their proto names. Long texts are kept in the
    payload table: their key then ends in `_payload` and the value is the text's digest.
    """

    kind: StepKind
    input: Json
    name: str = ""
    gate: Gate | None = None
    retries: int = 0
    on_failure: OnFailure = OnFailure.STOP


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or run failed: a reason's name and what people should know."""

    reason: str
    message: str
    field: str = ""
    fix: str = ""
    metadata: Json = default(default_factory=dict)
