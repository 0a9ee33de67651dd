"""What an approver puts in the place of a step's input, from options of the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from interlock.cli.values import bad_value
from interlock.client.convert import step_input
from interlock.common.plan import Plan, parse_plan
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.step_pb2 import StepInput


@dataclass(frozen=True, slots=True)
class Change:
    """One of: a shell command line; files with the new content, a patch, or the whole step. - is standard input."""

    command_line: str = ""
    content: str = ""
    patch: str = ""
    step: str = ""

    def made(self, approval: ApprovalRecord) -> StepInput:
        """The new input; what is not said stays as it was. Raises INVALID_ARGUMENT."""
        given = [self.command_line, self.content, self.patch, self.step]
        if sum(bool(each) for each in given) != 1:
            raise bad_value(
                "edit", "Say one change.", "Give one of --command, --content, --patch and --step."
            )
        kind = approval.spec.input.WhichOneof("kind") or ""
        if self.step:
            return _whole(_read(self.step), kind)
        wanted = "run_command" if self.command_line else "edit_file"
        if kind != wanted:
            raise bad_value("edit", f"The step is a {kind}, not a {wanted}.", "Use --step FILE.")
        made = StepInput()
        made.CopyFrom(approval.spec.input)
        if self.command_line:
            made.run_command.command = self.command_line
        elif self.content:
            made.edit_file.new_content = _read(self.content)
        else:
            made.edit_file.patch = _read(self.patch)
        return made


def _whole(text: str, kind: str) -> StepInput:
    """A file with a plan of one step, or with the step alone."""
    document = text if text.lstrip().startswith(("goal:", "{")) else _as_plan(text)
    plan: Plan = parse_plan(document)
    if len(plan.steps) != 1 or plan.steps[0].kind.value != kind:
        raise bad_value("step", "It is not one step of the same kind.", f"Write one {kind} step.")
    return step_input(plan.steps[0].input)


def _as_plan(text: str) -> str:
    lines = text.strip("\n").split("\n")
    indented = "\n".join(f"    {line}" if line else "" for line in lines)
    return f"goal: edit\nsteps:\n  -\n{indented}\n"


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise bad_value("edit", f"Cannot read {name}: {error}.", "Name a UTF-8 text file.") from None
