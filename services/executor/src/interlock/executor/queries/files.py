"""Looking at workspaces and their trees."""

from __future__ import annotations

from interlock.executor.commands.prepare import look_for_base
from interlock.executor.engine import Engine
from interlock.executor.files.read import FileContent
from interlock.executor.snapshots.diff import Diff, DiffLimits
from interlock.executor.snapshots.previews import Differences
from interlock.executor.steps.preview import LIMITS as PREVIEW_LIMITS
from interlock.executor.workspaces.model import Head, Node, Workspace
from interlock.executor.workspaces.queries import Listing

_DIFF = DiffLimits(files=10_000)


async def tree_of(engine: Engine, workspace: str, tree: str) -> str:
    """The tree named, or the head after looking for others' changes. Raises WORKSPACE_NOT_FOUND."""
    return tree or await engine.call(look_for_base, engine, workspace)


async def list_files(
    engine: Engine, workspace: str, tree: str, prefix: str, after: str, limit: int
) -> Listing:
    """A page of a tree. Raises WORKSPACE_NOT_FOUND, TREE_NOT_FOUND, PATH_NOT_FOUND."""
    return await engine.call(
        lambda: engine.workspaces.list_files(workspace, tree=tree, prefix=prefix, after=after, limit=limit)
    )


async def read_file(
    engine: Engine, workspace: str, tree: str, path: str, offset: int, limit: int
) -> tuple[FileContent, Node]:
    """Bytes of a file, and what it is. Raises PATH_*, TREE_NOT_FOUND, WORKSPACE_NOT_FOUND."""

    def read() -> tuple[FileContent, Node]:
        content = engine.workspaces.read_file(workspace, path, tree=tree, offset=offset, limit=limit)
        return content, Node("file", content.mode, content.size, "", "")

    return await engine.call(read)


async def diff_trees(
    engine: Engine, workspace: str, old: str, new: str, other: str = ""
) -> tuple[str, str, Diff]:
    """The two trees and their difference; the workspace's first tree and its head where not named.

    With `other`, the second tree is of that workspace.
    """

    def diff() -> tuple[str, str, Diff]:
        first = old or engine.workspaces.heads(workspace)[0].tree
        last = new or look_for_base(engine, other or workspace)
        return first, last, engine.workspaces.diff(workspace, first, last, _DIFF, new_workspace=other)

    return await engine.call(diff)


async def compare_effects(
    engine: Engine, workspace: str, earlier: tuple[str, str], later: tuple[str, str]
) -> Differences:
    """How two effects of a workspace differ, each as base and result tree. Raises TREE_NOT_FOUND."""
    return await engine.call(
        lambda: engine.workspaces.compare_effects(workspace, earlier, later, PREVIEW_LIMITS)
    )


async def snapshots(engine: Engine, workspace: str, before: int, limit: int) -> tuple[list[Head], int]:
    """States newest first, with numbers below `before` (0: all); and where the next page begins, or 0."""
    heads = await engine.call(engine.workspaces.heads, workspace)
    page = [head for head in reversed(heads) if not before or head.number < before][: limit + 1]
    return page[:limit], page[limit - 1].number if len(page) > limit else 0


async def list_workspaces(
    engine: Engine, after: str, limit: int
) -> tuple[list[tuple[Workspace, bytes]], str]:
    """Workspaces with their sources, by id; and after which the next page begins, or empty."""

    def page() -> tuple[list[tuple[Workspace, bytes]], str]:
        found = engine.workspaces.list_workspaces(after=after, limit=limit + 1)
        shown = [(item, engine.store.source(item.id)) for item in found[:limit]]
        return shown, found[limit - 1].id if len(found) > limit else ""

    return await engine.call(page)
