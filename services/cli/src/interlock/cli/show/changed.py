"""What is different from the preview that was approved before the workspace changed under it."""

from __future__ import annotations

from interlock.cli.safe import escape
from interlock.cli.show.diff import diff_lines
from interlock.cli.show.workspaces import change_line
from interlock.cli.text import counted
from interlock.v1.step_pb2 import ChangedSince, Difference

BRIEF_LINES = 60
_DIFFERS = {"exit_code": "exit code", "stdout": "standard output", "stderr": "standard error"}


def changed_lines(changed: ChangedSince, *, whole_tree: bool, colour: bool, full: bool) -> list[str]:
    """The parts that its reviewer has not seen, safe for a terminal.

    `whole_tree`: it is about the workspace as it was and is, not about an effect (a command that has not run).
    """
    lines = [
        escape(f"PREVIEW REPLACED: {changed.approval_id} was approved, then the workspace changed under it"),
        escape(f"because: {changed.reason or 'the workspace moved'}{_named(changed)}"),
    ]
    if changed.unavailable:
        lines.append(escape(f"What is different cannot be shown, read everything: {changed.unavailable}"))
        return lines
    others = "what others changed since" if whole_tree else "what others changed there"
    for title, difference in (
        (others, changed.workspace),
        ("what this step does there now", changed.effect),
        ("what the approved preview did and this one does not", changed.dropped),
    ):
        lines += _part(title, difference, colour=colour, full=full)
    if changed.differs:
        names = ", ".join(_DIFFERS.get(name, name) for name in changed.differs)
        lines.append(escape(f"=== also different: {names}"))
    if not whole_tree and len(lines) == 2:
        lines.append("=== the files are changed as they were in the approved preview")
    return lines


def _named(changed: ChangedSince) -> str:
    return f", {', '.join(changed.paths)}" if changed.paths else ""


def _part(title: str, found: Difference, *, colour: bool, full: bool) -> list[str]:
    if not found.changes_total:
        return []
    lines = [f"=== {title} ({counted(found.changes_total, 'path')})"]
    if found.diff:
        lines += diff_lines(found.diff, colour=colour, limit=0 if full else BRIEF_LINES)
    else:
        lines += [f"  {change_line(change)}" for change in found.changes[:BRIEF_LINES]]
    if found.diff_truncated:
        lines.append("… this difference is cut; `interlock workspace diff` shows all")
    return lines
