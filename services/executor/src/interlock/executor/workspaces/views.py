"""Workspaces as they are and were: nothing here changes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.common.digests import digest_bytes
from interlock.executor.files.names import shown
from interlock.executor.files.read import FileContent
from interlock.executor.snapshots.diff import Diff, DiffLimits, diff_trees
from interlock.executor.snapshots.previews import Differences, Effect, differences
from interlock.executor.snapshots.store import StoreSize
from interlock.executor.workspaces.guard import guarded
from interlock.executor.workspaces.interval import undone_by_going_back
from interlock.executor.workspaces.model import (
    Head,
    Workspace,
)
from interlock.executor.workspaces.parts import Parts
from interlock.executor.workspaces.queries import Listing, list_tree, read_live, read_tree


@guarded
class Views(Parts):
    """Thread-safe. Methods block; they wait for nobody who changes a workspace."""

    def get(self, workspace: str) -> Workspace:
        """One workspace. Raises WORKSPACE_NOT_FOUND."""
        return self._registry.get(workspace)

    def limits_of(self, workspace: str) -> Mapping[str, int]:
        """What commands in a workspace may use, as far as it has limits of its own; nothing where there is none."""
        found = self._registry.workspaces(workspace=workspace)
        return found[0].limits if found else {}

    def list_workspaces(self, *, after: str = "", limit: int = 100) -> list[Workspace]:
        """Workspaces in order of id, after the one named."""
        return self._registry.workspaces(after, limit)

    def heads(self, workspace: str) -> list[Head]:
        """Every state the workspace has been in, oldest first. Raises WORKSPACE_NOT_FOUND."""
        self._registry.get(workspace)
        return self._registry.heads(workspace)

    def undone_by_going_back(self, workspace: str, tree: str, expected_head: str) -> list[str]:
        """Paths others changed between the two, as text, that going back from the second would undo."""
        trees = digest_bytes(tree), digest_bytes(expected_head)
        found = undone_by_going_back(self.store, self._registry, workspace, *trees)
        return [shown(path) for path in found]

    def unsettled(self, workspace: str) -> str | None:
        """The key of a publication that has begun and is neither finished nor taken back; None without one."""
        return next((record.key for record in self._registry.records(workspace)), None)

    def kept(self, workspace: str, key: str) -> tuple[int, tuple[str, ...]]:
        """How many live paths the publication of this name left alone because somebody saved them, and the first."""
        found = self._registry.publication(workspace, key)
        return (found.kept_count, found.kept) if found else (0, ())

    def read_file(
        self, workspace: str, path: str, *, tree: str = "", offset: int = 0, limit: int = 1 << 20
    ) -> FileContent:
        """A range of a file of a tree, or of the live directory where `tree` is empty. Raises as `read_regular`."""
        here = self._registry.get(workspace)
        if not tree:
            return read_live(here, path, offset, limit)
        return read_tree(self.store, self._tree(workspace, tree), path, offset, limit)

    def list_files(
        self, workspace: str, *, tree: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Listing:
        """A page of the paths of a tree (the head where empty). Raises as `queries.list_tree`."""
        here = self._registry.get(workspace)
        raw = self._tree(workspace, tree or here.head)
        return list_tree(self.store, raw, prefix, after, max(1, min(limit, 10_000)))

    def diff(
        self,
        workspace: str,
        old_tree: str,
        new_tree: str,
        limits: DiffLimits | None = None,
        *,
        new_workspace: str = "",
    ) -> Diff:
        """What changed between two trees of a workspace, or of two, for people. Raises TREE_NOT_FOUND."""
        self._registry.get(workspace)
        self._registry.get(new_workspace or workspace)
        old = self._publications.known(workspace, digest_bytes(old_tree))[0]
        new = self._publications.known(new_workspace or workspace, digest_bytes(new_tree))[0]
        return diff_trees(self.store, old, new, limits or DiffLimits())

    def compare_effects(
        self, workspace: str, earlier: tuple[str, str], later: tuple[str, str], limits: DiffLimits
    ) -> Differences:
        """How two effects differ, each given as base tree and result tree (empty: nothing ran).

        Raises as `differences`, WORKSPACE_NOT_FOUND.
        """
        self._registry.get(workspace)
        before, after = self._effect(workspace, *earlier), self._effect(workspace, *later)
        return differences(self.store, before, after, limits)

    def known_tree(self, workspace: str, tree: str) -> bytes:
        """The raw id of a tree of a workspace. Raises WORKSPACE_NOT_FOUND, TREE_NOT_FOUND."""
        self._registry.get(workspace)
        return self._tree(workspace, tree)

    def named_since(self, at: str) -> set[str]:
        """The workspaces that somebody has named as theirs since a time."""
        return self._registry.named_since(at)

    def entered(self) -> list[str]:
        """Every workspace's id, unfinished ones included."""
        return [name for name, _ in self._registry.lives()]

    def known_trees(self) -> set[bytes]:
        """Every tree that some workspace has."""
        return self._registry.known_trees()

    def trees_kept(self, workspace: str) -> int:
        """How many trees a workspace has."""
        return len(self._registry.trees_of(workspace))

    def directories(self, workspace: str) -> tuple[Path, Path]:
        """Where the executor's checkout of a workspace is, and where its forks are."""
        return self._layout.base(workspace), self._layout.forks(workspace)

    def usage(self) -> StoreSize:
        """How much the snapshot store of all workspaces holds."""
        return self.store.usage()

    def _effect(self, workspace: str, base: str, result: str) -> Effect:
        known = self._publications.known
        after = known(workspace, digest_bytes(result))[0] if result else None
        return Effect(known(workspace, digest_bytes(base))[0], after)
