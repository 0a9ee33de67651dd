"""The one table of the format: every mapping, its fields, their types and meaning. Parser and JSON Schema read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interlock.common.plan import limits
from interlock.common.plan.approvers import GROUPS, PEOPLE, STAGES
from interlock.common.plan.model import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    PlanBudget,
    PlanPolicy,
    ReadFileInput,
    RunCommandInput,
    StepKind,
    SummarizeInput,
)
from interlock.common.plan.rules import RULES
from interlock.common.plan.values import (
    Choice,
    Dollars,
    DurationMs,
    Flag,
    ListOf,
    MapOf,
    SecretUses,
    Text,
    ValueType,
    Whole,
    Within,
    WorkspacePath,
)


@dataclass(frozen=True)
class Field:
    """One field. ``attribute`` is the dataclass attribute it fills (the key itself when empty)."""

    key: str
    type: ValueType
    doc: str
    required: bool = False
    attribute: str = ""


@dataclass(frozen=True)
class Shape:
    """One kind of mapping: its fields, the groups of which exactly one is given, and what it becomes."""

    doc: str
    build: Callable[..., Any]
    fields: tuple[Field, ...]
    one_of: tuple[str, ...] = ()


_INSTRUCTION = Text(min_chars=1, max_chars=limits.MAX_INSTRUCTION)
_GATE = Choice(tuple(gate.value for gate in Gate))
_CONTEXT = Field(
    "context_keys",
    ListOf(Text(pattern="step-[1-9][0-9]{0,4}", hint="a step key such as step-1"), limits.MAX_CONTEXT_KEYS),
    "Earlier steps whose results the model sees; all earlier ones when absent.",
)
_PATH = Field("path", WorkspacePath(), "Path relative to the workspace root, without `..`.", required=True)
_LINE = Whole(1, limits.MAX_LINE)
_HOST = Text(
    max_chars=limits.MAX_HOST,
    pattern=r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._*-]+):[0-9]{1,5}",
    hint="of the form host:port",
)

STEP_SHAPES: dict[StepKind, Shape] = {
    StepKind.READ_FILE: Shape(
        "Reads a file of the workspace.",
        ReadFileInput,
        (
            _PATH,
            Field("start_line", _LINE, "First line, from 1."),
            Field("end_line", _LINE, "Last line, inclusive."),
        ),
    ),
    StepKind.ANALYZE: Shape(
        "Asks the model about the results of earlier steps.",
        AnalyzeInput,
        (Field("instruction", _INSTRUCTION, "What to find out.", required=True), _CONTEXT),
    ),
    StepKind.EDIT_FILE: Shape(
        "Changes one file; its diff is shown before it is published.",
        EditFileInput,
        (
            _PATH,
            Field("new_content", Text(), "The whole new content."),
            Field("patch", Text(min_chars=1), "A unified diff of this file; its context must match exactly."),
            Field("instruction", _INSTRUCTION, "What to change; the model drafts the content."),
        ),
        one_of=("new_content", "patch", "instruction"),
    ),
    StepKind.RUN_COMMAND: Shape(
        "Runs a command in a sandbox on a fork of the workspace.",
        RunCommandInput,
        (
            Field(
                "command",
                Text(min_chars=1, max_bytes=limits.MAX_COMMAND_BYTES),
                "A shell command line, run by /bin/sh -c.",
            ),
            Field(
                "argv",
                ListOf(Text(max_bytes=limits.MAX_COMMAND_BYTES), limits.MAX_ARGV, min_items=1),
                "A program and its arguments, no shell.",
            ),
            Field("working_dir", WorkspacePath(), "Directory to run in, relative to the workspace root."),
            Field(
                "timeout",
                DurationMs(1, limits.MAX_TIMEOUT_MS),
                "Longest wall time: seconds, or text such as 500ms, 90s, 2m, 1h; at most 24 hours.",
                attribute="timeout_ms",
            ),
            Field(
                "env",
                MapOf(
                    "[A-Za-z_][A-Za-z0-9_]{0,127}",
                    "the name of an environment variable",
                    Text(max_bytes=limits.MAX_ENV_VALUE_BYTES),
                    limits.MAX_ENV,
                ),
                "Environment variables added to the fixed, otherwise empty environment.",
            ),
            Field(
                "network",
                Within("hosts", ListOf(_HOST, limits.MAX_HOSTS)),
                "Hosts it may reach, as host:port, also as a mapping with the key hosts; none when absent.",
            ),
            Field(
                "allowed_exit_codes",
                ListOf(Whole(0, 255), limits.MAX_EXIT_CODES),
                "Exit codes that count as success besides 0.",
            ),
            Field(
                "secrets",
                SecretUses(limits.MAX_SECRETS),
                "Secrets of the executor the command is given: by environment variable, or file below /run/secrets, "
                "the secret's name; or a list of names, each in the variable named like it.",
            ),
        ),
        one_of=("command", "argv"),
    ),
    StepKind.SUMMARIZE: Shape(
        "Asks the model for a summary of the results of earlier steps.",
        SummarizeInput,
        (
            Field("instruction", Text(max_chars=limits.MAX_INSTRUCTION), "What the summary is for."),
            _CONTEXT,
        ),
    ),
}

STEP_OPTIONS: tuple[Field, ...] = (
    Field("name", Text(max_chars=limits.MAX_NAME), "Name shown to people."),
    Field("gate", _GATE, "Where the step waits for approval; the policy decides when absent."),
    Field("retries", Whole(0, limits.MAX_RETRIES), "How often a failed step is tried again by itself."),
    Field(
        "on_failure",
        Choice(tuple(choice.value for choice in OnFailure)),
        "What follows when the step fails in the end: stop (the default) or continue.",
    ),
)

SHIPPED = Choice(limits.SHIPPED_POLICIES)

INCLUDE = Field(
    "include",
    ListOf(SHIPPED, len(limits.SHIPPED_POLICIES), 1),
    "Shipped policies whose rules hold as well; a text in place of the policy is the same.",
)

POLICY = Shape(
    "The gates of the run.",
    PlanPolicy,
    (
        Field("name", Text(max_chars=limits.MAX_POLICY_NAME), "Name shown to approvers."),
        Field("edit_file_gate", _GATE, "Gate of edit_file steps that name none."),
        Field("run_command_gate", _GATE, "Gate of run_command steps that name none."),
        Field("steps_may_weaken", Flag(), "Whether a step may choose a weaker gate than the policy's."),
        Field(
            "approval_timeout",
            DurationMs(1000, limits.MAX_APPROVAL_MS),
            "How long an approval stays open; an expired one refuses. No expiry when absent.",
            attribute="approval_timeout_ms",
        ),
        Field(
            "stages",
            STAGES,
            "Who has to approve, one stage after the other. One person with the role approver when absent.",
        ),
        Field("groups", GROUPS, "Names for several subjects, used as group:NAME in stages."),
        Field(
            "separate_requester",
            Flag(),
            "Whether whoever created the run, or added or edited the step, cannot approve it.",
        ),
        Field(
            "remind_every",
            DurationMs(1000, limits.MAX_WAIT_MS),
            "How often those who can decide are reminded of an open approval. Never when absent.",
            attribute="remind_every_ms",
        ),
        Field(
            "escalate_after",
            DurationMs(1000, limits.MAX_WAIT_MS),
            "After how long an open approval goes to escalate_to as well.",
            attribute="escalate_after_ms",
        ),
        Field("escalate_to", PEOPLE, "Who may decide as well from then on: subjects, or group:NAME."),
        Field("version", Text(max_chars=limits.MAX_POLICY_VERSION), "Shown with the name."),
        Field("rules", RULES, "Rules that choose by what a step asks for and does: docs/policy.md."),
        INCLUDE,
    ),
)

BUDGET = Shape(
    "What the run may spend.",
    PlanBudget,
    (
        Field(
            "usd",
            Dollars(limits.MAX_BUDGET_USD),
            "Most US dollars of model cost.",
            attribute="max_cost_micros",
        ),
        Field(
            "model_calls", Whole(1, limits.MAX_MODEL_CALLS), "Most model calls.", attribute="max_model_calls"
        ),
    ),
)

GOAL = Field("goal", Text(min_chars=1, max_chars=limits.MAX_GOAL), "What is to be reached.", required=True)

LABELS = Field(
    "labels",
    MapOf(
        "[a-zA-Z0-9][a-zA-Z0-9._/-]{0,62}",
        "a label key (letters, digits and . _ / -, at most 63)",
        Text(max_chars=limits.MAX_LABEL_VALUE),
        limits.MAX_LABELS,
    ),
    "Labels of the run.",
)
