"""Steps: titles, tables, details."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence

from interlock.cli.output import show_list, show_one, write_fields
from interlock.cli.safe import escape, escape_block, escape_bytes
from interlock.cli.settings import Settings
from interlock.cli.show.diff import print_diff
from interlock.cli.show.network import network_lines
from interlock.cli.show.policy import ruling_lines
from interlock.cli.show.workspaces import change_line
from interlock.cli.text import (
    cost_text,
    enum_text,
    first_line,
    seconds_text,
    short_digest,
    size_text,
    time_text,
)
from interlock.v1.policy_pb2 import Gate
from interlock.v1.rules_pb2 import PolicyVerdict
from interlock.v1.step_pb2 import Effect, Output, Step, StepFailure, StepInput, StepKind, StepSpec, StepState

TITLE_LIMIT = 90
_NOTICED_SECONDS = 0.05
_HEADERS = ("STEP", "STATE", "TOOK", "WAITED", "WHAT", "OUTCOME")


def kind_text(kind: int) -> str:
    """`run_command`."""
    return enum_text(StepKind, kind).lower()


def input_text(given: StepInput) -> str:
    """What a step does in a few words: its path, command or instruction."""
    match given.WhichOneof("kind"):
        case "read_file":
            return given.read_file.path
        case "edit_file":
            return given.edit_file.path
        case "run_command":
            command = given.run_command
            return command.command or shlex.join(command.argv.items)
        case "analyze":
            return given.analyze.instruction
        case "summarize":
            return given.summarize.instruction or "earlier results"
    return ""


def title(spec: StepSpec) -> str:
    """`run_command: make test`, or `kind: name` where the step has one. Not escaped."""
    kind = spec.input.WhichOneof("kind") or "unknown"
    return f"{kind}: {first_line(spec.name or input_text(spec.input), TITLE_LIMIT)}"


def state_text(step: Step) -> str:
    """`RUNNING`-like name of the step's state."""
    return enum_text(StepState, step.state)


def took(step: Step) -> str:
    """The time it worked, from its start to its end without what it waited; empty before."""
    if not (step.started_at.seconds and step.ended_at.seconds):
        return ""
    whole = step.ended_at.ToNanoseconds() - step.started_at.ToNanoseconds()
    return seconds_text((whole - step.waited.ToNanoseconds()) / 1e9)


def waited(steps: Iterable[Step]) -> str:
    """How long steps waited for decisions, or to be tried again; empty where that is next to nothing."""
    seconds = sum(step.waited.ToNanoseconds() for step in steps) / 1e9
    return seconds_text(seconds) if seconds >= _NOTICED_SECONDS else ""


def steps_table(steps: Iterable[Step]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows of a run's steps."""
    return _HEADERS, [_row(step) for step in steps]


def _row(step: Step) -> tuple[str, ...]:
    return (str(step.number), state_text(step), took(step), waited([step]), title(step.spec), outcome(step))


def asks(step: Step) -> str:
    """What a step that waits for a decision asks, in place of what, and how to see it; empty for others."""
    if step.state != StepState.STEP_STATE_AWAITING_APPROVAL:
        return ""
    instead = f", in place of {step.replaced_approval_id}" if step.replaced_approval_id else ""
    why = ": the workspace changed under what that one showed" if instead else ""
    return (
        f"Step {step.number} waits for {step.approval_id}{instead}{why}. "
        f"`interlock approvals show {step.approval_id}` shows what it is about."
    )


def outcome(step: Step) -> str:
    """One line about how it ended or what it did."""
    if step.failure.reason:
        return f"{step.failure.reason}: {first_line(step.failure.message)}"
    effect = step.effect
    parts = ["inherited"] if step.inherited else []
    parts += [f"within {step.envelope_id} of {step.envelope_granted_by}"] if step.envelope_id else []
    parts += [_undone_short(step)] if step.HasField("undone") else []
    if effect.HasField("exit_code"):
        parts.append(f"exit {effect.exit_code}")
    if effect.changes_total:
        parts.append(f"{effect.changes_total} changed")
    parts += [_allowed(step)] if _allowed(step) else []
    if step.kept_total:
        parts.append(f"{step.kept_total} not written: saved by somebody meanwhile")
    if effect.HasField("content"):
        parts.append(f"read {size_text(effect.content.total_bytes)}")
    if step.reply:
        parts.append(first_line(step.reply, 60))
    return ", ".join(parts)


def _allowed(step: Step) -> str:
    """By which rule nobody was asked, if by one."""
    allowing = [r for r in step.rulings if r.verdict == PolicyVerdict.POLICY_VERDICT_ALLOW and r.rules]
    return f"allowed by {allowing[-1].rules[0].rule}" if allowing and not step.approval_id else ""


def list_steps(settings: Settings, steps: Iterable[Step]) -> None:
    """A run's steps."""
    show_list(
        settings,
        "steps",
        steps,
        _HEADERS,
        _row,
        empty="The run has no steps yet.",
    )


def show_step(settings: Settings, step: Step) -> None:
    """One step with its outputs."""
    show_one(settings, step, lambda: _people(step))


def print_kept(paths: Sequence[str], total: int) -> None:
    """Paths that were left alone because somebody saved them during the publication; nothing where there are none."""
    if not total:
        return
    print(f"Not written, because somebody saved them at that moment ({total}); the next step sees theirs:")
    for path in paths:
        print(f"  {escape(path)}")
    if total > len(paths):
        print(f"  and {total - len(paths)} more")


def failure_lines(failure: StepFailure) -> list[str]:
    """Why it failed, escaped: message, field, fix, details, reason."""
    details = ", ".join(f"{key}={value}" for key, value in sorted(failure.metadata.items()))
    lines = [failure.message, *(f"  field:  {failure.field}" for _ in failure.field[:1])]
    lines += [f"  do:     {failure.fix}" for _ in failure.fix[:1]]
    lines += [f"  detail: {details}" for _ in details[:1]]
    return [escape(line) for line in [*lines, f"  reason: {failure.reason}"]]


def output_text(output: Output) -> str:
    """What was kept of an output, escaped, with a line that says what is missing in between."""
    head, tail = escape_bytes(output.head), escape_bytes(output.tail)
    if not output.truncated:
        return head + tail
    missing = output.total_bytes - len(output.head) - len(output.tail)
    return f"{head}\n… {size_text(missing)} not kept …\n{tail}"


def print_effect(effect: Effect) -> None:
    """Changes, diff and outputs, on standard output."""
    for change in effect.changes:
        print(change_line(change))
    print_diff(effect.diff, sys.stdout)
    if effect.diff_truncated:
        print("… the diff is cut; not everything is shown")
    for name, output in (("content", effect.content), ("stdout", effect.stdout), ("stderr", effect.stderr)):
        if output.total_bytes:
            print(f"--- {name}, {size_text(output.total_bytes)} ---")
            print(output_text(output).rstrip("\n"))
    if effect.HasField("network"):
        print("\n".join(network_lines(effect.network)))


def _people(step: Step) -> None:
    write_fields(
        [
            ("step", f"{step.number} of {step.run_id}"),
            ("what", title(step.spec)),
            ("state", state_text(step)),
            ("attempt", str(step.attempt or "")),
            ("gate", enum_text(Gate, step.gate).lower()),
            ("approval", step.approval_id),
            *(("policy", line) for ruling in step.rulings for line in ruling_lines(ruling)),
            ("in place of", step.replaced_approval_id),
            ("undone by", _undone(step)),
            ("took", took(step)),
            ("waited", waited([step])),
            ("cost", cost_text(step.cost) if step.cost.model_calls else ""),
            ("base tree", short_digest(step.effect.base_tree)),
            ("result tree", short_digest(step.effect.result_tree)),
            ("sandbox", step.effect.sandbox.backend and _sandbox(step.effect)),
            ("exit code", str(step.effect.exit_code) if step.effect.HasField("exit_code") else ""),
        ]
    )
    if step.failure.reason:
        print("\n".join(failure_lines(step.failure)))
    print_kept(step.kept_paths, step.kept_total)
    if step.reply:
        print(f"--- reply ---\n{escape_block(step.reply)}")
    print_effect(step.effect)


def _undone_short(step: Step) -> str:
    of = f" of {step.undone.run_id}" if step.undone.run_id else ""
    return f"undone by {step.undone.by}{of}"


def _undone(step: Step) -> str:
    gone = step.undone
    if not step.HasField("undone"):
        return ""
    of = f" of {gone.run_id}" if gone.run_id else ""
    return f"{gone.by} {gone.operation_id}{of} at {time_text(gone.at)}"


def _sandbox(effect: Effect) -> str:
    report = effect.sandbox
    return ", ".join(part for part in (report.backend, report.enforcement, report.fork) if part)
