"""What stands for the value of an option or argument in `--help`: its choices where there are some, else what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from typer.core import TyperArgument, TyperCommand
from typer.models import ParameterInfo

RUN_STATES = (
    "created", "planning", "planned", "running", "awaiting_approval", "paused", "completed", "failed", "cancelled",
)  # fmt: skip
APPROVAL_STATES = (
    "pending", "approved", "rejected", "skipped", "edited", "expired", "cancelled", "superseded",
)  # fmt: skip
APPROVE = ("ask", "all", "none")
ON_REJECT = ("fail", "skip", "replan")
FORMATS = ("directory", "tar", "git")

_NAMES = {
    "comment": "TEXT",
    "context": "TEXT",
    "goal": "TEXT",
    "label": "KEY=VALUE",
    "out": "PLACE",
    "parent": "FILE",
    "plan": "FILE",
    "within": "DURATION",
    "workspace_out": "DIR",
    "from_tree": "TREE",
    "to_tree": "TREE",
    "run_a": "A",
    "run_b": "B",
    "at": "STEP",
    "at_step": "STEP",
    "to_step": "STEP",
    "form": "FORMAT",
}


def one_of(choices: Sequence[str]) -> str:
    """`[ask|all|none]`."""
    return f"[{'|'.join(choices)}]"


def name_value(parameter: str, annotation: Any) -> None:
    """Give a parameter's value a name in the help, unless its declaration has one. Flags take no value."""
    if get_origin(annotation) is None:
        return
    kind, *infos = get_args(annotation)
    for info in infos:
        if isinstance(info, ParameterInfo) and info.metavar is None and kind is not bool:
            info.metavar = _NAMES.get(parameter, "N" if kind in (int, int | None) else parameter.upper())


class NamedCommand(TyperCommand):
    """A command whose arguments are shown by their names alone: `RUN`, not `{RUN}` and `RUN <str>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Every parameter."""
        found = super().get_params(ctx)
        for each in found:
            if isinstance(each, TyperArgument):
                _show_by_name(each)
        return found


def _show_by_name(argument: Any) -> None:
    pieces = type(argument).get_usage_pieces
    argument.display_type_rich = lambda ctx: ""
    argument.get_usage_pieces = lambda ctx: [each.strip("{}") for each in pieces(argument, ctx)]
