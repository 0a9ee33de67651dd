"""What the workspaces of one executor are made of, put together; and the lock of each of them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.common.clock import Clock, SystemClock, rfc3339
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids, UlidIds
from interlock.executor.snapshots.model import Limits, Owner, Snapshot
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.collector import Collector, Retention
from interlock.executor.workspaces.forks import Forks
from interlock.executor.workspaces.imports import Imports
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.model import (
    Fork,
    Workspace,
)
from interlock.executor.workspaces.moves import Moves
from interlock.executor.workspaces.publications import Publications
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.runtime import Runtime, Runtimes
from interlock.executor.workspaces.tree_imports import TreeImports
from interlock.executor.workspaces.watches import Watches


@dataclass(frozen=True)
class Recovered:
    """What a start found unfinished.

    `finished` are moves done again, with live paths left alone because somebody had changed them; `failed` the
    workspaces whose move could not be finished yet, and why; `removed` imports that were cut off.
    """

    finished: tuple[tuple[Record, tuple[str, ...]], ...]
    failed: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]


class Parts:
    """Opens the executor's directory for `Workspaces`, and removes all forks.

    It finishes or cleans up whatever an earlier process left: see `recovered`.

    Args:
        root: the executor's directory, made if absent; only one process at a time can have it open.
        owner: the step's uid and gid, when this process is root; None where steps run as this process's user.
        limits: bounds on every workspace and effect.
        copy_forks: fork by copy instead of overlay (no user namespaces or overlay here).
        closed: more directories that no workspace may contain or be in: tokens and databases.
        max_bytes: the most the snapshot store may take; 0 is no cap.
        retention: what `collector` keeps of itself.
        watches: how live directories are watched for changes; closed with this. By default as `Watches()` does.
    """

    def __init__(
        self,
        root: Path,
        *,
        owner: Owner | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        copy_forks: bool = False,
        closed: tuple[Path, ...] = (),
        max_bytes: int = 0,
        retention: Retention | None = None,
        watches: Watches | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.copy_forks = copy_forks
        clock = clock or SystemClock()
        self._ids, self._ids_lock = ids or UlidIds(clock), threading.Lock()
        self._layout = Layout(root, owner)
        self.store = Store(self._layout.store, max_bytes)
        self._registry = Registry(self._layout.register, self.store.sessions, lambda: rfc3339(clock.now()))
        self._runtimes = Runtimes(self._registry.load_cache)
        parts = (self._layout, self.store, self._registry, self.limits)
        self._watches = Watches() if watches is None else watches
        self._imports = Imports(*parts, clock, threading.Lock(), closed, self._watches)
        self._tree_imports = TreeImports(self._layout, self.store, self._registry, self._imports, clock)
        self._forks = Forks(*parts, self._ids, self._ids_lock)
        self._moves = Moves(*parts, clock)
        self.collector = Collector(
            self.store, self._registry, self._forks, self._runtimes, clock, retention or Retention()
        )
        self.store.on_full = self.collector.make_room
        reader = Reader(self.store, self.limits, self._watches)
        self._publications = Publications(self.store, self._registry, self._moves, self.limits, clock, reader)
        self._closed = False
        self.recovered = self._recover()

    def close(self) -> None:
        """Save the stat caches and close all files. Nothing but `close` may be called afterwards."""
        if self._closed:
            return
        self._closed = True
        self._watches.close()
        known = {workspace.id for workspace in self._registry.workspaces()}
        for name, cache in self._runtimes.loaded():
            if name in known:
                self._registry.save_cache(name, cache)
        self._registry.close()
        self.store.close()
        self._layout.close()

    def drain(self) -> None:
        """Wait until the disk space of what was discarded is free."""
        self._layout.scratch.drain()

    @contextmanager
    def _locked(self, workspace: str) -> Iterator[tuple[Workspace, Runtime, Snapshot]]:
        with self._alone(workspace) as runtime:
            self._moves.settle(workspace, runtime)
            yield self._registry.get(workspace), runtime, self._head(workspace)

    @contextmanager
    def _alone(self, workspace: str) -> Iterator[Runtime]:
        """The workspace's lock, whatever is unfinished in it."""
        self._registry.get(workspace)
        runtime = self._runtimes.of(workspace)
        with runtime.changed:
            yield runtime

    def _no_forks(self, workspace: str, runtime: Runtime, wait: float) -> None:
        if not runtime.changed.wait_for(lambda: not runtime.open_forks, wait):
            running = ", ".join(sorted(runtime.open_forks)[:5])
            raise InterlockError(
                Reason.WORKSPACE_BUSY,
                f"Workspace {workspace} has running forks: {running}.",
                fix="Wait for the step that runs in it, or cancel its run (`interlock run list` shows it).",
                metadata={"forks": running},
            )

    def _release(self, fork: Fork) -> None:
        runtime = self._runtimes.of(fork.workspace)
        with runtime.changed:
            runtime.open_forks.discard(fork.id)
            runtime.changed.notify_all()

    def _tree(self, workspace: str, tree: str) -> bytes:
        return self._publications.known(workspace, digest_bytes(tree))[0].tree

    def _head(self, workspace: str) -> Snapshot:
        return self._publications.known(workspace, digest_bytes(self._registry.get(workspace).head))[0]

    def _recover(self) -> Recovered:
        self._tree_imports.clean_up()
        removed = self._imports.clean_up()
        finished: list[tuple[Record, tuple[str, ...]]] = []
        failed: list[tuple[str, str]] = []
        for workspace in self._registry.workspaces(limit=1 << 31):
            try:
                self._forks.remove_all(workspace.id)
                finished += self._moves.settle(workspace.id, self._runtimes.of(workspace.id))
            except InterlockError as error:
                failed.append((workspace.id, error.message))
            except (OSError, sqlite3.Error) as error:  # the other workspaces have nothing to do with it
                failed.append((workspace.id, str(error)))
        return Recovered(tuple(finished), tuple(failed), tuple(removed))
