"""What a rollback or a revert did, or would do."""

from __future__ import annotations

import sys

from interlock.cli.output import progress, show_one, write_fields
from interlock.cli.settings import Settings
from interlock.cli.show.diff import print_diff
from interlock.cli.show.steps import print_kept
from interlock.cli.show.workspaces import change_line
from interlock.cli.text import counted
from interlock.v1.orchestrator_pb2 import RevertStepResponse, RollbackRunResponse

_SHOWN = 50


def show_undo(
    settings: Settings, answer: RollbackRunResponse | RevertStepResponse, *, only_look: bool = False
) -> None:
    """The trees, the paths, and before it is done also the lines."""
    show_one(settings, answer, lambda: _people(answer, only_look))


def _people(answer: RollbackRunResponse | RevertStepResponse, only_look: bool) -> None:
    now = "would be at" if only_look else "is at"
    was = "is at" if only_look else "was at"
    write_fields([("run", answer.run.run_id), (was, answer.previous_tree), (now, answer.head_tree)])
    if answer.merged:
        what = "changed since the step" if isinstance(answer, RevertStepResponse) else "others changed since"
        print(f"What {what} {'would be' if only_look else 'is'} kept.")
    if not answer.changes:
        print("No file would change." if only_look else "No file changed.")
    for change in answer.changes[:_SHOWN]:
        print(f"  {change_line(change)}")
    total = answer.changes_total or len(answer.changes)
    if total > _SHOWN:
        print(f"  … and {counted(total - _SHOWN, 'path')} more")
    print_kept(answer.kept_paths, answer.kept_total)
    if answer.diff:
        print()
        print_diff(answer.diff, sys.stdout)
    if answer.diff_truncated:
        progress("The diff is cut; not everything is shown.")
    if only_look:
        progress("Nothing was changed.")
