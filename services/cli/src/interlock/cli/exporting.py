"""`workspace export`: which tree or history is meant, and what is said about it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli.beginnings import find_run
from interlock.cli.output import progress, write_json
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.text import counted, enum_text, short_digest, size_text
from interlock.cli.trees import find_tree
from interlock.cli.values import bad_value, find_workspace
from interlock.client.exports import Exported
from interlock.common.errors import InterlockError, Reason
from interlock.v1.export_pb2 import ExportItem, ExportOmission, OmissionKind

if TYPE_CHECKING:
    from interlock.client import Client

_LISTED = 100
_WHY = {
    OmissionKind.OMISSION_KIND_EMPTY_DIRECTORY: "an empty directory, which git does not keep",
    OmissionKind.OMISSION_KIND_MODE: "git keeps only whether it is executable",
    OmissionKind.OMISSION_KIND_NAME: "left out with all below it: git allows no such name",
}


class Form(StrEnum):
    """What is written."""

    DIRECTORY = "directory"
    TAR = "tar"
    GIT = "git"


@dataclass(frozen=True, slots=True)
class Which:
    """What is asked for: of a run, a workspace or a directory, the tree after a step, or the one named."""

    target: str
    run: str = ""
    at: int | None = None
    tree: str = ""


async def export(settings: Settings, client: Client, which: Which, form: Form, out: str) -> None:
    """Write it and say what was written."""
    which = replace(
        which,
        target=await find_run(client, which.target) if _is_run(which.target) else which.target,
        run=await find_run(client, which.run),
    )
    items = await (_named(client, which, form) if which.tree else _items(client, which, form))
    if form is Form.GIT:
        done = await client.export_git(items, _place(out))
    elif form is Form.DIRECTORY:
        done = await client.export_directory(items[-1], _place(out))
    else:
        done = await client.export_tar(items[-1], sys.stdout.fileno() if out == "-" else _place(out))
    _say(settings, form, out, items[-1].tree, done)


async def _named(client: Client, which: Which, form: Form) -> list[ExportItem]:
    """The one tree, by its id."""
    if which.at is not None or form is Form.GIT:
        other = "--at" if which.at is not None else "--format git"
        raise bad_value(
            "tree", f"--tree names one tree, and {other} another or many.", "Leave one of them out."
        )
    named = which.run or which.target
    if _is_run(named):
        workspace_id = (await client.get_run(named, without_steps=True)).workspace_id
    else:
        workspace_id = (await find_workspace(client, which.target)).workspace_id
    tree = await find_tree(client, workspace_id, which.tree, "tree")
    return [ExportItem(workspace_id=workspace_id, tree=tree)]


def _is_run(target: str) -> bool:
    return target.startswith("run-") and "/" not in target


async def _items(client: Client, which: Which, form: Form) -> list[ExportItem]:
    """The trees, oldest first; for all forms but git the last one counts."""
    target, run, at = which.target, which.run, which.at
    if _is_run(target):
        if run and run != target:
            raise bad_value("run", f"The run is named twice: {target} and {run}.", "Leave --run out.")
        run = target
    elif not run:
        workspace = await find_workspace(client, target)
        if at is not None or form is Form.GIT:
            raise bad_value(
                "run",
                "A workspace has no steps of its own.",
                f"Name the run: `interlock run list --workspace {workspace.workspace_id}` shows them.",
            )
        return [ExportItem(workspace_id=workspace.workspace_id, tree=workspace.head_tree)]
    else:
        await _check_workspace(client, target, run)
    return await _of_run(client, run, at)


async def _check_workspace(client: Client, target: str, run: str) -> None:
    workspace = await find_workspace(client, target)
    found = await client.get_run(run, without_steps=True)
    if found.workspace_id != workspace.workspace_id:
        raise bad_value(
            "run", f"{run} works on {found.workspace_id}, not on {workspace.workspace_id}.", "Leave one out."
        )


async def _of_run(client: Client, run: str, at: int | None) -> list[ExportItem]:
    history = await client.run_history(run)
    if not history.items:
        workspace = await client.get_workspace(history.workspace_id)
        if at:
            raise _not_ended(run, at)
        return [ExportItem(workspace_id=workspace.workspace_id, tree=workspace.head_tree, message=f"{run}\n")]
    try:
        return history.at(at)
    except KeyError:
        raise _not_ended(run, at or 0) from None


def _not_ended(run: str, at: int) -> InterlockError:
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {at} of {run} has not ended, or does not exist.",
        field="at",
        fix=f"`interlock step list {run}` shows the steps; 0 is before the first.",
    )


def _place(out: str) -> Path:
    if out == "-":
        raise bad_value("out", "Only a tar archive can be written to standard output.", "Name a directory.")
    return Path(out).expanduser().absolute()


def _say(settings: Settings, form: Form, out: str, tree: str, done: Exported) -> None:
    if settings.output is not Output.TABLE and out != "-":
        value = {"out": out, "format": form.value, "tree": tree, "commits": done.commits}
        omissions = [
            {
                "path": each.path,
                "kind": enum_text(OmissionKind, each.kind),
                "mode": f"{each.mode:o}",
                "commit": each.item,
            }
            for each in done.omissions
        ]
        write_json({**value, "omissionsTotal": done.omissions_total, "omissions": omissions}, settings.output)
        return
    commits = f", {counted(done.commits, 'commit')}" if form is Form.GIT else ""
    progress(f"Wrote tree {short_digest(tree)} to {out}: {size_text(done.bytes)} received{commits}.")
    if done.omissions_total:
        progress(f"Not carried as it is in the tree: {counted(done.omissions_total, 'path')}.")
        for each in done.omissions[:_LISTED]:
            progress(f"  {_omission(each)}")
        if done.omissions_total > _LISTED:
            progress(f"  … and {done.omissions_total - _LISTED} more")


def _omission(one: ExportOmission) -> str:
    mode = f" (mode {one.mode:o})" if one.kind == OmissionKind.OMISSION_KIND_MODE else ""
    return f"{escape(one.path)}{mode}: {_WHY.get(one.kind, 'not carried')}"
