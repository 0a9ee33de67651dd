"""`interlock workspace`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Create and look at workspaces.")

WORKSPACE = Annotated[str, typer.Argument(help="Workspace id, `ws-…`, or a directory that is one.")]
LABELS = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; repeatable.")]


@command(app, "create")
async def create(
    settings: Settings,
    source: Annotated[str, typer.Argument(help="Directory, git URL, or archive on the executor's machine.")],
    git: Annotated[bool, typer.Option("--git", help="Clone SOURCE, also when it is a directory.")] = False,
    ref: Annotated[str, typer.Option(help="Branch, tag or commit to clone.")] = "",
    strip: Annotated[int, typer.Option(min=0, max=16, help="Leading path parts to drop of an archive.")] = 0,
    label: LABELS = None,
) -> None:
    """Make a directory, a clone or an archive a workspace."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_workspace
    from interlock.cli.values import parse_labels, parse_source

    where = parse_source(source, git=git, ref=ref, strip=strip)
    labels = parse_labels(label)
    async with connect(settings) as client:
        show_workspace(settings, await client.create_workspace(where, labels))


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
    from_tree: Annotated[str, typer.Option("--from", help="Older tree; default: the first.")] = "",
    to_tree: Annotated[str, typer.Option("--to", help="Newer tree; default: the head.")] = "",
) -> None:
    """Show how two trees of a workspace differ."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import show_diff
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = await find_workspace(client, workspace)
        show_diff(settings, await client.diff_trees(found.workspace_id, from_tree, to_tree))


@command(app, "files")
async def files(
    settings: Settings,
    workspace: WORKSPACE,
    path: Annotated[str, typer.Argument(help="Only at or below this path.")] = "",
    tree: Annotated[str, typer.Option(help="Tree; default: the head.")] = "",
) -> None:
    """List the entries of a tree."""
    from interlock.cli.session import connect
    from interlock.cli.show.workspaces import list_files
    from interlock.cli.values import find_workspace

    async with connect(settings) as client:
        found = await find_workspace(client, workspace)
        list_files(settings, [each async for each in client.list_files(found.workspace_id, tree, path)])
