"""Reading a live directory as a tree: what changed since the last time where a watch tells, else all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Limits
from interlock.executor.snapshots.rescan import rescan
from interlock.executor.snapshots.scan import Scanned, StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.watches import Watches


@dataclass(frozen=True)
class Reader:
    """The caller holds the workspace's lock."""

    store: Store
    limits: Limits
    watches: Watches

    def read(self, workspace: str, path: Path, live: Root, cache: StatCache) -> Scanned:
        """The directory `live`, open at `path`, as a tree; `cache` is brought up to date. Raises like `scan`."""
        try:
            changed = self._changed(workspace, path, live, cache)
            if changed is not None:
                return changed
            with self.watches.beginning(workspace, live) as watch:
                return scan(live, self.store.batch(), cache, self.limits, watcher=watch)
        except BaseException:
            self.watches.drop(workspace)  # what it told has been taken, and not been used
            raise

    def _changed(self, workspace: str, path: Path, live: Root, cache: StatCache) -> Scanned | None:
        told = self.watches.look(workspace, path, live)
        if told is None:
            return None
        watch, changes = told
        return rescan(live, self.store.batch(), cache, self.limits, changes, watch)
