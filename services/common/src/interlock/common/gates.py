"""The rule about gates that whoever checks a plan shares with whoever makes the run: a step may not weaken its policy.

Gates and kinds are their names here (`none`, `command`, `effect`, `both`; `edit_file`, …), because the two sides have
types of their own for them. Why the rule is as it is: docs/decisions/0004.
"""

from __future__ import annotations

from typing import Final

from interlock.common.errors import InterlockError, Reason

EDIT_FILE: Final = "effect"
"""The gate of edits where the policy names none."""

RUN_COMMAND: Final = "command"
"""The gate of commands where the policy names none."""

POLICY: Final = "default"
"""The name of the policy where none is given."""

_STRENGTH: Final = {"none": 0, "command": 1, "effect": 1, "both": 2}


def default_gate(
    kind: str, edit_file: str = EDIT_FILE, run_command: str = RUN_COMMAND, *, network: bool = False
) -> str:
    """The gate of a step of this kind that names none, under a policy with these gates.

    A command with `network` acts outside the workspace: a policy that opens the gate of commands does not open its.
    """
    if kind == "run_command" and network and run_command == "none":
        return RUN_COMMAND
    return {"edit_file": edit_file, "run_command": run_command}.get(kind, "none")


def check_step(number: int, gate: str, floor: str, policy: str, *, field: str) -> None:
    """Refuse step `number` (from 1) when it asks for a weaker gate than the policy's. Raises INVALID_ARGUMENT."""
    if _STRENGTH[gate] >= _STRENGTH[floor]:
        return
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        f"Step {number} asks for the gate {gate!r}, weaker than {floor!r} of the policy {policy!r}.",
        field=field,
        fix="Leave the gate out, or create the run with a policy that has `steps_may_weaken`.",
    )
