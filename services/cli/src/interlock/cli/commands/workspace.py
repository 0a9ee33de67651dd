"""`interlock workspace`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.names import FORMATS, one_of
from interlock.cli.settings import Settings

app = group("Create and look at workspaces.")

WORKSPACE = Annotated[str, typer.Argument(help="Workspace id, `ws-…`, or a directory that is one.")]
LIMITS = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="NAME=VALUE, what a command in it gets and may ask for at most: wall=10m, cpu=20m, memory=2GiB, "
        "processes=512, open-files=1024, file=512MiB, written=2GiB, files=100000, output=2GiB, kept=1MiB; "
        "repeatable.",
    ),
]
LABELS = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; repeatable.")]


@command(app, "create")
async def create(
    settings: Settings,
    source: Annotated[str, typer.Argument(help="Directory, git URL, or archive on the executor's machine.")],
    git: Annotated[bool, typer.Option("--git", help="Clone SOURCE, also when it is a directory.")] = False,
    ref: Annotated[str, typer.Option(help="Branch, tag or commit to clone.")] = "",
    strip: Annotated[int, typer.Option(min=0, max=16, help="Leading path parts to drop of an archive.")] = 0,
    label: LABELS = None,
    limit: LIMITS = None,
) -> None:
    """Make a directory, a clone or an archive a workspace."""
    from interlock.cli.limits import parse_limits
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_workspace
    from interlock.cli.values import parse_labels, parse_source

    where = parse_source(source, git=git, ref=ref, strip=strip)
    labels, limits = parse_labels(label), parse_limits(limit)
    async with connect(settings) as client:
        show_workspace(settings, await client.create_workspace(where, labels, limits))


@command(app, "list")
async def list_(settings: Settings) -> None:
    """List workspaces."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import list_workspaces

    async with connect(settings) as client:
        list_workspaces(settings, [each async for each in client.list_workspaces()])


@command(app, "show")
async def show(settings: Settings, workspace: WORKSPACE) -> None:
    """Show a workspace and the trees it has been at."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_history
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = await find_workspace(client, workspace)
        show_history(settings, found, await client.list_snapshots(found.workspace_id))


@command(app, "diff")
async def diff(
    settings: Settings,
    workspace: WORKSPACE,
    from_tree: Annotated[
        str, typer.Option("--from", help="Older tree, or its first digits; default: the first.")
    ] = "",
    to_tree: Annotated[
        str, typer.Option("--to", help="Newer tree, or its first digits; default: the head.")
    ] = "",
) -> None:
    """Show how two trees of a workspace differ."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_diff
    from interlock.cli.trees import find_tree
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = (await find_workspace(client, workspace)).workspace_id
        older = await find_tree(client, found, from_tree, "from")
        newer = await find_tree(client, found, to_tree, "to")
        show_diff(settings, await client.diff_trees(found, older, newer))


@command(app, "export")
async def export(
    settings: Settings,
    target: Annotated[str, typer.Argument(help="Run id, workspace id, or a directory that is a workspace.")],
    out: Annotated[
        str,
        typer.Option(
            "--out", help="Where to write; absent, or an empty directory. - = standard output (tar)."
        ),
    ],
    run: Annotated[str, typer.Option("--run", help="The run whose steps --at counts.")] = "",
    at: Annotated[
        int | None, typer.Option("--at", min=0, help="After this step; 0 = before the first. Default: now.")
    ] = None,
    tree: Annotated[str, typer.Option("--tree", metavar="TREE", help="This tree, or its first digits.")] = "",
    form: Annotated[
        str, typer.Option("--format", metavar=one_of(FORMATS), help="What to write.")
    ] = "directory",
) -> None:
    """Write a tree as a directory or a tar archive, or a run's history as a git repository.

    In the repository every step that changed something is a commit, with run, step, effect and approver in its
    trailers; the same run gives the same commits anywhere. What git cannot carry is listed at the end.
    """
    from interlock.cli.exporting import Form, Which
    from interlock.cli.exporting import export as write
    from interlock.cli.session import connect
    from interlock.cli.values import bad_value

    try:
        wanted = Form(form)
    except ValueError:
        raise bad_value("format", f"{form[:40]!r} is not a format.", "Use directory, tar or git.") from None
    async with connect(settings) as client:
        await write(settings, client, Which(target, run, at, tree), wanted, out)


@command(app, "files")
async def files(
    settings: Settings,
    workspace: WORKSPACE,
    path: Annotated[str, typer.Argument(help="Only at or below this path.")] = "",
    tree: Annotated[str, typer.Option(help="Tree, or its first digits; default: the head.")] = "",
) -> None:
    """List the entries of a tree."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import list_files
    from interlock.cli.trees import find_tree
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = (await find_workspace(client, workspace)).workspace_id
        wanted = await find_tree(client, found, tree, "tree")
        list_files(settings, [each async for each in client.list_files(found, wanted, path)])


@command(app, "du")
async def du(
    settings: Settings,
    workspace: Annotated[
        list[str] | None, typer.Argument(help="Workspace ids or directories; default: all.")
    ] = None,
) -> None:
    """Show what workspaces take on the executor's disk."""
    from interlock.cli.session import connect
    from interlock.cli.show.storage import show_storage
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        wanted = [(await find_workspace(client, each)).workspace_id for each in workspace or ()]
        show_storage(settings, await client.storage(wanted))


@command(app, "gc")
async def gc(
    settings: Settings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    keep_days: Annotated[
        int,
        typer.Option(
            "--keep-days", min=0, max=36_500, help="Days that ended runs are kept; 0 = as configured."
        ),
    ] = 0,
) -> None:
    """Remove what no run refers to any more and is past retention."""
    from datetime import timedelta

    from interlock.cli.session import connect
    from interlock.cli.show.storage import show_collected

    retention = timedelta(days=keep_days) if keep_days else None
    async with connect(settings) as client:
        show_collected(settings, await client.collect_storage(dry_run=dry_run, retention=retention))


@command(app, "remove")
async def remove(
    settings: Settings,
    workspace: WORKSPACE,
    delete_directory: Annotated[
        bool,
        typer.Option("--delete-directory", help="Delete the directory too; only one that Interlock made."),
    ] = False,
) -> None:
    """Take a workspace out of Interlock's care. Its directory stays as it is.

    Its trees and history go, so nothing of its runs can be undone afterwards; their journals stay. Refused while a
    run on it has not ended. `workspace gc` then frees what nothing else needs.
    """
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_removed
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = (await find_workspace(client, workspace)).workspace_id
        show_removed(settings, await client.remove_workspace(found, delete_directory=delete_directory))
