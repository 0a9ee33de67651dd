"""What a plan document means, as frozen dataclasses. Values here have passed the parser's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class StepKind(StrEnum):
    """The five kinds of step; the value is the key used in a document."""

    READ_FILE = "read_file"
    ANALYZE = "analyze"
    EDIT_FILE = "edit_file"
    RUN_COMMAND = "run_command"
    SUMMARIZE = "summarize"


class Gate(StrEnum):
    """Where a step waits for approval: before it runs, before its effect is published, both, or nowhere."""

    NONE = "none"
    COMMAND = "command"
    EFFECT = "effect"
    BOTH = "both"


class OnFailure(StrEnum):
    """What a failed step does to its run."""

    STOP = "stop"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class ReadFileInput:
    """A file to read. Lines are 1-based and inclusive; 0 is the start or the end of the file."""

    path: str
    start_line: int = 0
    end_line: int = 0


@dataclass(frozen=True, slots=True)
class AnalyzeInput:
    """A question about earlier steps (``step-N``); no ``context_keys`` means all earlier ones."""

    instruction: str
    context_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SummarizeInput:
    """A summary of earlier steps (``step-N``); no ``context_keys`` means all earlier ones."""

    instruction: str = ""
    context_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditFileInput:
    """A change of one file: exactly one of the whole new content, a unified diff, or an instruction."""

    path: str
    new_content: str | None = None
    patch: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class RunCommandInput:
    """A command: exactly one of ``command`` (for ``/bin/sh -c``) and ``argv``.

    ``timeout_ms`` is milliseconds, ``None`` the executor's default. ``network`` lists the hosts it may reach as
    ``host:port``; empty means no network. ``allowed_exit_codes`` count as success besides 0. ``secrets`` gives for
    each environment variable, or file ``/run/secrets/<name>``, the name of the secret that appears there.
    """

    command: str | None = None
    argv: tuple[str, ...] | None = None
    working_dir: str = ""
    timeout_ms: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    network: tuple[str, ...] = ()
    allowed_exit_codes: tuple[int, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)


StepInput = ReadFileInput | AnalyzeInput | EditFileInput | RunCommandInput | SummarizeInput


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. ``gate`` of ``None`` leaves the choice to the policy, then to the kind's default."""

    kind: StepKind
    input: StepInput
    name: str = ""
    gate: Gate | None = None
    retries: int = 0
    on_failure: OnFailure = OnFailure.STOP


@dataclass(frozen=True, slots=True)
class PlanStage:
    """``quorum`` different people of ``approvers`` (empty = every approver) have to approve."""

    name: str = ""
    quorum: int = 1
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanRule:
    """A rule: what it says (`deny`, `require`, `allow`) about the steps for which the CEL expression `when` is true.

    `line` and `column` are where `when` stands in its document, 0 = unknown; rules are equal wherever they stand.
    """

    name: str
    effect: str
    when: str
    reason: str = ""
    gate: str = ""
    stages: tuple[PlanStage, ...] = ()
    separate_requester: bool = False
    always: bool = False
    network: bool = False
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """The gates of a run, its rules, and who approves.

    `include` names shipped policies. ``…_ms`` are milliseconds, ``None`` = never.
    """

    name: str = ""
    edit_file_gate: Gate | None = None
    run_command_gate: Gate | None = None
    steps_may_weaken: bool = False
    approval_timeout_ms: int | None = None
    stages: tuple[PlanStage, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    separate_requester: bool = False
    remind_every_ms: int | None = None
    escalate_after_ms: int | None = None
    escalate_to: tuple[str, ...] = ()
    version: str = ""
    rules: tuple[PlanRule, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """What a run may spend: micro-US-dollars and model calls; ``None`` is no limit."""

    max_cost_micros: int | None = None
    max_model_calls: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan, at least one step."""

    goal: str
    steps: tuple[PlanStep, ...]
    policy: PlanPolicy | None = None
    budget: PlanBudget | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
