"""Approvals: what an approver has to see."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from interlock.cli.output import show_list, show_one
from interlock.cli.safe import escape, escape_block
from interlock.cli.settings import Settings
from interlock.cli.show.changed import changed_lines
from interlock.cli.show.diff import diff_lines
from interlock.cli.show.policy import ruling_lines
from interlock.cli.show.steps import output_text, title
from interlock.cli.show.workspaces import change_line
from interlock.cli.text import enum_text, first_line, size_text, time_text
from interlock.v1.decision_pb2 import (
    ApprovalEvent,
    ApprovalEventKind,
    ApprovalRecord,
    ApprovalState,
    Decision,
    StageProgress,
    Vote,
)
from interlock.v1.policy_pb2 import Gate
from interlock.v1.step_pb2 import RunCommandInput

BRIEF_LINES = 60
"""Lines of diff and of each output shown unless everything is asked for."""


def approval_state(approval: ApprovalRecord) -> str:
    """`PENDING`-like name of its state."""
    return enum_text(ApprovalState, approval.state)


def approval_title(approval: ApprovalRecord) -> str:
    """One line about what it is for. Not escaped."""
    return approval.title or title(approval.spec)


def list_approvals(settings: Settings, approvals: Iterable[ApprovalRecord]) -> None:
    """Approvals, oldest first."""
    show_list(
        settings,
        "approvals",
        approvals,
        ("APPROVAL", "STATE", "RUN", "STEP", "GATE", "ASKED", "WHAT"),
        lambda a: (
            a.approval_id,
            approval_state(a),
            a.run_id,
            str(a.step),
            enum_text(Gate, a.gate).lower(),
            time_text(a.requested_at),
            approval_title(a),
        ),
        empty="Nothing waits for a decision.",
    )


def show_approval(settings: Settings, approval: ApprovalRecord, *, colour: bool) -> None:
    """One approval with everything there is to see."""
    show_one(settings, approval, lambda: print("\n".join(approval_lines(approval, colour=colour, full=True))))


def show_decision(settings: Settings, approval: ApprovalRecord) -> None:
    """What became of an approval, in one line."""
    where = f"step {approval.step} of {approval.run_id}, {approval_title(approval)}"
    line = f"{approval.approval_id} is {approval_state(approval)}: {where}"
    needs = stage_lines(approval) if approval.state == ApprovalState.APPROVAL_STATE_PENDING else []
    show_one(settings, approval, lambda: print("\n".join([escape(line), *needs])))


def show_ahead(settings: Settings, approval: ApprovalRecord) -> None:
    """What became of a decision that may have come before its question."""
    if not approval.HasField("kept_until"):
        show_decision(settings, approval)
        return
    line = f"Kept until {time_text(approval.kept_until)}: step {approval.step} of {approval.run_id} has not asked yet."
    show_one(settings, approval, lambda: print(escape(line)))


def stage_lines(approval: ApprovalRecord) -> list[str]:
    """Who has approved, who has to and who still can, where the policy asks for several; safe for a terminal."""
    lines, waits_for = [], 0
    for number, stage in enumerate(approval.stages, 1):
        title = f"stage {number}{f' ({stage.name})' if stage.name else ''}"
        whom = f" of {', '.join(stage.approvers)}" if stage.approvers else ""
        voted = [_who(vote) for vote in approval.votes if vote.stage == number]
        so_far = f"; approved: {', '.join(voted)}" if voted else ""
        missing = stage.quorum - stage.votes
        if approval.state != ApprovalState.APPROVAL_STATE_PENDING or missing <= 0:
            still = ""
        elif waits_for:
            still = f"; its turn comes after stage {waits_for}"
        else:
            still = f"; still missing: {missing}{_of_whom(approval, stage)}"
        waits_for = waits_for or (number if missing > 0 else 0)
        lines.append(escape(f"{title}: {stage.votes} of {stage.quorum} needed{whom}{so_far}{still}"))
    if approval.stages and approval.excluded and approval.state == ApprovalState.APPROVAL_STATE_PENDING:
        lines.append(escape(f"may not approve, having asked: {', '.join(approval.excluded)}"))
    return lines


def _of_whom(approval: ApprovalRecord, stage: StageProgress) -> str:
    """Who could give what is missing; nothing where everybody with the role could."""
    done = {name for vote in approval.votes for name in (vote.subject, vote.on_behalf_of)}
    done.update(approval.excluded)
    left = [name for name in stage.approvers if name not in done]
    return f" of {', '.join(left)}" if left else ""


def event_note(event: ApprovalEvent) -> str:
    """What an event says besides the state: a reminder, others who may decide, a vote. Not escaped."""
    approval = event.approval
    if event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_REMINDED:
        return f"  (open since {time_text(approval.requested_at)}, reminder {approval.reminders})"
    if event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_ESCALATED:
        return f"  (goes to {', '.join(approval.escalated_to)} too)"
    if event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_VOTED:
        return f"  (approved by {_who(approval.votes[-1])}, and more have to)"
    return ""


def _who(decided: Vote | Decision) -> str:
    """`dan for ada`."""
    return f"{decided.subject} for {decided.on_behalf_of}" if decided.on_behalf_of else decided.subject


def _answer(decided: Vote | Decision) -> str:
    """Who, how they proved it, through what, when, and why."""
    by = f" ({decided.authentication})" if decided.authentication else ""
    channel = f" through {decided.channel}" if decided.channel else ""
    why = f": {decided.comment}" if decided.comment else ""
    return f"{_who(decided)}{by}{channel} at {time_text(decided.at)}{why}"


def approval_lines(approval: ApprovalRecord, *, colour: bool, full: bool) -> list[str]:
    """What an approver reads before deciding, safe for a terminal. Not `full`: long parts are cut, visibly.

    Where a preview was replaced and can be compared, not `full` shows only what is different from the one approved.
    """
    lines = [*_head(approval), *_input_lines(approval)]
    effect = approval.preview
    if effect.HasField("changed_since"):
        before, effect_gate = effect.changed_since, approval.gate == Gate.GATE_EFFECT
        lines += changed_lines(before, whole_tree=not effect_gate, colour=colour, full=full)
        if effect_gate and not full and not before.unavailable:
            return [
                *lines,
                f"=== everything else is as approved before; all {effect.changes_total} changes: full",
            ]
        lines.append("=== the whole, as it is now")
    if approval.gate == Gate.GATE_EFFECT:
        lines += _result(approval, full)
    if effect.diff:
        lines += diff_lines(effect.diff, colour=colour, limit=0 if full else BRIEF_LINES)
    if effect.diff_truncated:
        lines.append("… this diff is cut by the executor; `interlock workspace diff` shows all")
    for name, output in (("stdout", effect.stdout), ("stderr", effect.stderr)):
        if output.total_bytes:
            lines += [f"--- {name}, {size_text(output.total_bytes)}", *_cut(output_text(output), full)]
    if not full and _is_cut(approval):
        lines.append(f"… shown in part; `interlock approvals show {approval.approval_id}` shows everything")
    return lines


def _is_cut(approval: ApprovalRecord) -> bool:
    effect = approval.preview
    listed = len(effect.changes) if approval.gate == Gate.GATE_EFFECT else 0
    texts = (effect.diff, *(output_text(output) for output in (effect.stdout, effect.stderr)))
    return listed > BRIEF_LINES or any(len(text.rstrip("\n").split("\n")) > BRIEF_LINES for text in texts)


def _head(approval: ApprovalRecord) -> list[str]:
    lines = [
        f"{approval.approval_id}  step {approval.step} of {approval.run_id}",
        f"what:    {approval_title(approval)}",
        f"goal:    {first_line(approval.goal)}",
        f"gate:    {enum_text(Gate, approval.gate).lower()}  ({_gate_meaning(approval)})",
        f"digest:  {approval.digest}",
    ]
    if approval.gate_note:
        lines.append(f"note:    {approval.gate_note}")
    if approval.HasField("ruling"):
        lines += [f"policy:  {line}" for line in ruling_lines(approval.ruling)]
    if approval.attempt > 1:
        lines.append(f"attempt: {approval.attempt}")
    if approval.expires_at.seconds:
        lines.append(f"expires: {time_text(approval.expires_at)}")
    lines += _while_open(approval)
    lines += [f"needs:   {line}" for line in stage_lines(approval)]
    lines += [f"vote:    {_answer(vote)}" for vote in approval.votes]
    if approval.superseded_by:
        lines.append(f"asks now: {approval.superseded_by}, in place of this one")
    if approval.HasField("decision"):
        lines.append(f"state:   {approval_state(approval)} by {_answer(approval.decision)}")
        if approval.decision.digest:
            lines.append(f"saw:     {approval.decision.digest}")
    return [escape(line) for line in lines]


def _while_open(approval: ApprovalRecord) -> list[str]:
    """Who has edited it, and what happened while nobody decided."""
    lines = [f"asks because: {approval.outside}"] if approval.outside else []
    if approval.edited_by:
        lines.append(f"edited:  by {approval.edited_by}; what is shown is their version")
    if approval.reminders:
        lines.append(f"reminded: {approval.reminders} times, last at {time_text(approval.reminded_at)}")
    if approval.HasField("escalated_at"):
        people = ", ".join(approval.escalated_to)
        lines.append(f"goes to: {people} too, since {time_text(approval.escalated_at)}")
    return lines


def _gate_meaning(approval: ApprovalRecord) -> str:
    if approval.gate == Gate.GATE_COMMAND:
        return "nothing has run yet; approving lets it run"
    return "it ran in a fork; approving publishes exactly this result"


def _input_lines(approval: ApprovalRecord) -> list[str]:
    spec = approval.spec
    if spec.input.WhichOneof("kind") != "run_command":
        return []
    command = spec.input.run_command
    sandbox = approval.preview.sandbox
    lines = _command_lines(command, list(approval.preview.argv))
    if sandbox.backend:
        parts = (sandbox.backend, sandbox.enforcement, sandbox.fork)
        lines.append(escape(f"sandbox: {', '.join(part for part in parts if part)}"))
    return lines


def _command_lines(command: RunCommandInput, argv: list[str]) -> list[str]:
    shown = command.command or shlex.join(command.argv.items)
    first, *rest = escape_block(shown).split("\n")
    lines = [f"command: {first}", *(f"         {line}" for line in rest)]
    if argv and argv != list(command.argv.items):
        lines.append(escape(f"argv:    {shlex.join(argv)}"))
    if command.working_dir:
        lines.append(escape(f"in:      {command.working_dir}"))
    lines += [escape(f"env:     {name}={value}") for name, value in sorted(command.env.items())]
    lines += [escape(f"network: {host}") for host in command.network]
    lines += [escape(f"secret:  {use.name} in {use.appears_as}") for use in command.secrets]
    return lines


def _result(approval: ApprovalRecord, full: bool) -> list[str]:
    effect = approval.preview
    kind = kind_text_of(approval)
    lines = []
    if kind == "run_command":
        ending = f"signal {effect.signal}" if effect.signal else f"exit code {effect.exit_code}"
        lines.append(f"ended:   {ending}")
    lines.append(f"changes: {effect.changes_total}")
    shown = [
        f"  {change_line(change)}" for change in (effect.changes if full else effect.changes[:BRIEF_LINES])
    ]
    if effect.changes_total > len(shown):
        shown.append(f"  … {effect.changes_total - len(shown)} more")
    return lines + shown


def kind_text_of(approval: ApprovalRecord) -> str:
    """The kind of the step it is about."""
    return approval.spec.input.WhichOneof("kind") or ""


def _cut(text: str, full: bool) -> list[str]:
    lines = text.rstrip("\n").split("\n")
    if full or len(lines) <= BRIEF_LINES:
        return lines
    half = BRIEF_LINES // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines left out …", *lines[-half:]]
