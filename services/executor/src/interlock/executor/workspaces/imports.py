"""Creating a workspace: its source becomes a live directory, its content a tree, its tree a base."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from interlock.common.clock import Clock, rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import shown
from interlock.executor.files.remove import remove_path
from interlock.executor.files.root import Root
from interlock.executor.snapshots.bulk import bulk_batch
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.mirror import Mirror
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.overlay import special_kind
from interlock.executor.snapshots.scan import ProgressFn, Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.archive import extract
from interlock.executor.workspaces.git import clone, without_credentials
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import check_directory, check_place, open_live
from interlock.executor.workspaces.model import (
    ArchiveSource,
    DirectorySource,
    GitSource,
    LeftOut,
    Source,
    Workspace,
)
from interlock.executor.workspaces.places import Places, begin, discard, staging
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.watches import Watches

NAMED: Final = 100
"""Of what an import leaves out, those that are remembered by name."""


@dataclass(frozen=True)
class Imports:
    """Creates and removes workspaces."""

    layout: Layout
    store: Store
    registry: Registry
    limits: Limits
    clock: Clock
    lock: threading.Lock
    closed: tuple[Path, ...]
    watches: Watches

    def create(
        self,
        name: str,
        source: Source,
        labels: Mapping[str, str],
        limits: Mapping[str, int],
        progress: ProgressFn | None,
    ) -> tuple[Workspace, StatCache]:
        """Import a source as the workspace `name`, with what was seen of it.

        On any failure nothing of it stays, but for a directory that has taken a place the source names.
        """
        workspace = self._enter(name, source, labels, limits)
        try:
            if isinstance(source, DirectorySource):
                scanned, cache = self._import(workspace, workspace.live, progress)
                self._ready(workspace, scanned)
            elif source.destination is None:
                workspace = self._own(workspace)
                self._fetch(source, workspace.live)
                scanned, cache = self._import(workspace, workspace.live, progress)
                self._ready(workspace, scanned)
            else:
                scanned, cache = self._placed(source, workspace, progress)
                workspace = replace(workspace, managed=True)
        except BaseException as error:
            discard(workspace.live, workspace.id)
            self._clear(workspace.id, workspace.live, managed=workspace.managed)
            self.registry.forget_failed(workspace.id)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise
        return self.registry.get(name), cache

    @property
    def places(self) -> Places:
        """What puts directories in places that callers name."""
        return Places(self.layout, self.registry, self.clock)

    def _own(self, workspace: Workspace) -> Workspace:
        """With a new directory among the executor's own, where nobody else works before the workspace is there."""
        workspace.live.mkdir(mode=0o755)
        self.registry.made_live(workspace.id)
        failpoints.hit("import.made")
        return replace(workspace, managed=True)

    def _placed(
        self, source: GitSource | ArchiveSource, workspace: Workspace, progress: ProgressFn | None
    ) -> tuple[Scanned, StatCache]:
        with begin(workspace.live, workspace.id) as private:
            failpoints.hit("import.made")
            there = staging(workspace.live, workspace.id)
            self._fetch(source, there)
            scanned, cache = self._import(workspace, there, progress)
            kernel.syncfs(private.fd)
        self.registry.put_snapshot(workspace.id, scanned.snapshot, scanned.totals)
        self.places.put(workspace, scanned.snapshot, scanned.totals, "import", replace=False)
        return scanned, cache

    def _ready(self, workspace: Workspace, scanned: Scanned) -> None:
        at = rfc3339(self.clock.now())
        self.registry.imported(workspace.id, scanned.snapshot, scanned.totals, at)
        failpoints.hit("import.done")

    def clean_up(self) -> list[str]:
        """Remove imports that were cut off, after `Places.settle`. Returns their ids.

        Of directories, only the executor's own: one at a place that a caller named may have become the caller's.
        """
        cut_off = self.registry.unfinished()
        for workspace, live, managed, _ in cut_off:
            self._undo(workspace, live, managed=managed and self.layout.live in live.parents)
        return [each[0] for each in cut_off]

    def remove(self, workspace: Workspace, *, delete: bool) -> None:
        """Forget a workspace and its base; with `delete`, which takes one that the executor made, its directory too."""
        if delete and not workspace.managed:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{shown(str(workspace.live))} was there before it was a workspace, and is not deleted.",
                field="delete_directory",
                fix="Leave that out; the directory stays, and its owner may delete it.",
            )
        self._undo(workspace.id, workspace.live, managed=delete)

    def _enter(
        self, name: str, source: Source, labels: Mapping[str, str], limits: Mapping[str, int]
    ) -> Workspace:
        with self.lock:
            taken = self.registry.lives()
            if isinstance(source, DirectorySource):
                live = check_directory(source.path, (self.layout.root, *self.closed), taken)
            else:
                live = self._destination(name, source.destination, taken)
            workspace = Workspace(
                id=name,
                live=live,
                managed=False,
                head="",
                entries=0,
                content_bytes=0,
                created=self.clock.now(),
                source=describe(source),
                labels=dict(labels),
                limits=dict(limits),
            )
            self.registry.add(workspace)
        return workspace

    def _destination(self, name: str, wanted: Path | None, taken: list[tuple[str, Path]]) -> Path:
        if wanted is None:
            return self.layout.live / name
        place = check_place(wanted, (self.layout.root, *self.closed), taken)
        if os.path.lexists(wanted):
            raise InterlockError(
                Reason.WORKSPACE_SOURCE_INVALID,
                f"{place} exists already.",
                field="destination",
                fix="Name a directory that does not exist, or use it as the workspace's source.",
            )
        return place

    def _fetch(self, source: GitSource | ArchiveSource, directory: Path) -> None:
        if isinstance(source, GitSource):
            clone(source.url, source.ref, directory)
        else:
            extract(source.path, directory, self.limits, strip=source.strip)
        failpoints.hit("import.fetched")

    def _import(
        self, workspace: Workspace, directory: Path, progress: ProgressFn | None
    ) -> tuple[Scanned, StatCache]:
        """Base and stat cache of what is in the directory, which is the live one or will be."""
        cache = StatCache()
        remove_path(self.layout.workspace(workspace.id))
        self.layout.make(self.layout.workspace(workspace.id), 0o700)
        self.layout.make(self.layout.base(workspace.id), 0o755)
        self.layout.make(self.layout.forks(workspace.id), 0o700)
        with self.layout.open_base(workspace.id) as base:
            scanned = self._copy(workspace, directory, base, cache, progress)
            kernel.syncfs(base.fd)
        failpoints.hit("import.checked-out")
        self.registry.save_cache(workspace.id, cache)
        return scanned, cache

    def _copy(
        self,
        workspace: Workspace,
        directory: Path,
        base: Root,
        cache: StatCache,
        progress: ProgressFn | None,
    ) -> Scanned:
        """Read the directory into the store and, with the same bytes, into the base; watch a live one from now on."""
        with open_live(directory) as live, bulk_batch(self.store) as batch, ExitStack() as opened:
            copy = opened.enter_context(closing(Mirror(self.store, base, self.layout.owner, progress)))
            watch = None
            with ExitStack() as watched:
                if directory == workspace.live:  # one that is still to be moved would lose its watch
                    watch = watched.enter_context(self.watches.beginning(workspace.id, live))
                scanned = scan(live, batch, cache, self.limits, progress, watcher=watch, copier=copy)
            self.registry.left_out(workspace.id, _left_out(live, scanned.skipped))
            failpoints.hit("import.scanned")
            copy.finish(cache.built)
        return scanned

    def _undo(self, workspace: str, live: Path, *, managed: bool) -> None:
        self._clear(workspace, live, managed=managed)
        self.registry.forget(workspace)

    def _clear(self, workspace: str, live: Path, *, managed: bool) -> None:
        self.watches.drop(workspace)
        if managed:
            remove_path(live)
        remove_path(self.layout.workspace(workspace))


def _left_out(live: Root, skipped: tuple[bytes, ...]) -> LeftOut:
    first = []
    for path in sorted(skipped)[:NAMED]:
        status = live.lstat(path)
        first.append((shown(path), special_kind(status.st_mode) if status else "device"))
    return LeftOut(len(skipped), tuple(first))


def describe(source: Source) -> str:
    """Where a workspace came from, in one printable line, without credentials."""
    if isinstance(source, DirectorySource):
        return f"directory {shown(str(source.path))}"
    if isinstance(source, ArchiveSource):
        return f"archive {shown(str(source.path))}"
    return f"git {shown(without_credentials(source.url))}"


def _failed(error: OSError) -> InterlockError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full("Nothing of the import stays.")
    why = os.strerror(error.errno or 0)
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID,
        f"The workspace's source cannot be read or copied: {why}.",
        field="source",
        fix="Check that the executor's user can read all of it and that the disk has space.",
    )
