"""Creating a workspace: its source becomes a live directory, its content a tree, its tree a base."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.common.clock import Clock, rfc3339
from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import shown
from interlock.executor.files.remove import remove_path
from interlock.executor.files.root import Root
from interlock.executor.snapshots.bulk import bulk_batch
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.mirror import Mirror
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.scan import ProgressFn, Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.archive import extract
from interlock.executor.workspaces.git import clone, without_credentials
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import check_directory, check_place, open_live
from interlock.executor.workspaces.model import ArchiveSource, DirectorySource, GitSource, Source, Workspace
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.watches import Watches


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
        self, name: str, source: Source, labels: Mapping[str, str], progress: ProgressFn | None
    ) -> tuple[Workspace, StatCache]:
        """Import a source as the workspace `name`, with what was seen of it. On any failure nothing of it stays."""
        workspace = self._enter(name, source, labels)
        try:
            if not isinstance(source, DirectorySource):
                workspace.live.mkdir(mode=0o755)
                workspace = replace(workspace, managed=True)
                # Only now: a directory that somebody else put there must survive a failed import.
                self.registry.made_live(workspace.id)
                failpoints.hit("import.made")
                self._fetch(source, workspace)
            scanned, cache = self._import(workspace, progress)
        except BaseException as error:
            self._clear(workspace.id, workspace.live, managed=workspace.managed)
            self.registry.forget_failed(workspace.id)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise
        size = scanned.totals
        head = digest_text(scanned.snapshot.tree)
        return replace(workspace, head=head, entries=size.entries, content_bytes=size.content_bytes), cache

    def clean_up(self) -> list[str]:
        """Remove imports that were cut off. Returns their ids."""
        cut_off = self.registry.unfinished()
        for workspace, live, managed in cut_off:
            self._undo(workspace, live, managed=managed)
        return [workspace for workspace, _, _ in cut_off]

    def remove(self, workspace: Workspace) -> None:
        """Forget a workspace and its base. The live directory stays unless the executor keeps it itself."""
        inside = self.layout.live in workspace.live.parents
        self._undo(workspace.id, workspace.live, managed=inside)

    def _enter(self, name: str, source: Source, labels: Mapping[str, str]) -> Workspace:
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

    def _fetch(self, source: GitSource | ArchiveSource, workspace: Workspace) -> None:
        if isinstance(source, GitSource):
            clone(source.url, source.ref, workspace.live)
        else:
            extract(source.path, workspace.live, self.limits, strip=source.strip)
        failpoints.hit("import.fetched")

    def _import(self, workspace: Workspace, progress: ProgressFn | None) -> tuple[Scanned, StatCache]:
        cache = StatCache()
        remove_path(self.layout.workspace(workspace.id))
        self.layout.make(self.layout.workspace(workspace.id), 0o700)
        self.layout.make(self.layout.base(workspace.id), 0o755)
        self.layout.make(self.layout.forks(workspace.id), 0o700)
        with self.layout.open_base(workspace.id) as base:
            scanned = self._copy(workspace, base, cache, progress)
            kernel.syncfs(base.fd)
        failpoints.hit("import.checked-out")
        self.registry.save_cache(workspace.id, cache)
        at = rfc3339(self.clock.now())
        self.registry.imported(workspace.id, scanned.snapshot, scanned.totals, at)
        failpoints.hit("import.done")
        return scanned, cache

    def _copy(
        self, workspace: Workspace, base: Root, cache: StatCache, progress: ProgressFn | None
    ) -> Scanned:
        """Read the live directory into the store and, with the same bytes, into the base; watch it from now on."""
        with open_live(workspace.live) as live, bulk_batch(self.store) as batch:
            copy = Mirror(self.store, base, self.layout.owner, progress)
            try:
                with self.watches.beginning(workspace.id, live) as watch:
                    scanned = scan(live, batch, cache, self.limits, progress, watcher=watch, copier=copy)
                failpoints.hit("import.scanned")
                copy.finish(cache.built)
            finally:
                copy.close()
        return scanned

    def _undo(self, workspace: str, live: Path, *, managed: bool) -> None:
        self._clear(workspace, live, managed=managed)
        self.registry.forget(workspace)

    def _clear(self, workspace: str, live: Path, *, managed: bool) -> None:
        self.watches.drop(workspace)
        if managed:
            remove_path(live)
        remove_path(self.layout.workspace(workspace))


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
