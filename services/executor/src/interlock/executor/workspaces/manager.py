"""The workspaces of one executor: everything the service does with files goes through here."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.common.clock import Clock, SystemClock, rfc3339
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids, UlidIds, check_id
from interlock.executor.files.names import shown
from interlock.executor.files.read import FileContent
from interlock.executor.snapshots.batch import Screen
from interlock.executor.snapshots.diff import Diff, DiffLimits, diff_trees
from interlock.executor.snapshots.model import Limits, Owner, Snapshot
from interlock.executor.snapshots.previews import Differences, Effect, differences
from interlock.executor.snapshots.scan import ProgressFn
from interlock.executor.snapshots.store import Store, StoreSize
from interlock.executor.workspaces.collector import Collector, Retention
from interlock.executor.workspaces.edits import edit
from interlock.executor.workspaces.forks import Forks
from interlock.executor.workspaces.guard import guarded
from interlock.executor.workspaces.imports import Imports
from interlock.executor.workspaces.interval import undone_by_going_back
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.model import (
    AnySource,
    Capture,
    Drift,
    Fork,
    Head,
    PublishResult,
    TreeSource,
    Workspace,
)
from interlock.executor.workspaces.moves import Moves
from interlock.executor.workspaces.publications import Look, Publications, Request
from interlock.executor.workspaces.queries import Listing, list_tree, read_live, read_tree
from interlock.executor.workspaces.reading import Reader
from interlock.executor.workspaces.registry import Record, Registry
from interlock.executor.workspaces.reverts import Revert, Reverted, revert
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


@guarded
class Workspaces:
    """Thread-safe. Methods block; one workspace's methods that change it wait for each other.

    Args:
        root: the executor's directory, made if absent; only one process at a time can have it open.
        owner: the step's uid and gid, when this process is root; None where steps run as this process's user.
        limits: bounds on every workspace and effect.
        copy_forks: fork by copy instead of overlay (no user namespaces or overlay here).
        closed: more directories that no workspace may contain or be in: tokens and databases.
        max_bytes: the most the snapshot store may take; 0 is no cap.
        retention: what `collector` keeps of itself.
        watches: how live directories are watched for changes; closed with this. By default as `Watches()` does.

    Opening it finishes or cleans up whatever an earlier process left (see `recovered`), and removes all forks.
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

    def create(
        self,
        source: AnySource,
        *,
        workspace: str = "",
        labels: Mapping[str, str] | None = None,
        progress: ProgressFn | None = None,
    ) -> Workspace:
        """Import a source as a new workspace; `workspace` is its id (`ws-…`), a new one when empty.

        Costs one reading of the source and one copy. Sockets, fifos and devices are left out. On failure nothing
        stays. `progress` is called from this thread every thousand names.
        Raises WORKSPACE_SOURCE_INVALID, WORKSPACE_EXISTS, WORKSPACE_LIMIT_EXCEEDED, PERMISSION_DENIED.
        """
        with self._ids_lock:
            name = workspace or self._ids.new("ws")
        check_id(name, "ws", field="workspace")
        if isinstance(source, TreeSource):
            return self._tree_imports.create(name, source, labels or {}, progress)
        created, cache = self._imports.create(name, source, labels or {}, progress)
        self._runtimes.of(name).adopt(cache)
        return created

    def get(self, workspace: str) -> Workspace:
        """One workspace. Raises WORKSPACE_NOT_FOUND."""
        return self._registry.get(workspace)

    def list_workspaces(self, *, after: str = "", limit: int = 100) -> list[Workspace]:
        """Workspaces in order of id, after the one named."""
        return self._registry.workspaces(after, limit)

    def heads(self, workspace: str) -> list[Head]:
        """Every state the workspace has been in, oldest first. Raises WORKSPACE_NOT_FOUND."""
        self._registry.get(workspace)
        return self._registry.heads(workspace)

    def remove(self, workspace: str) -> None:
        """Forget a workspace. Its live directory stays, unless the executor keeps it in its own directory.

        Raises WORKSPACE_NOT_FOUND; WORKSPACE_BUSY while a fork is running.
        """
        with self._locked(workspace) as (here, runtime, _):
            self._no_forks(workspace, runtime, 0.0)
            self._imports.remove(here)
        self._runtimes.drop(workspace)

    def fork(self, workspace: str, *, look: bool = True) -> Fork:
        """A fresh fork of the head.

        With `look`, the live directory is read first (only what its stat cache does not know) and others' changes
        become the head, reported as `drift`. While another fork is running the base cannot move: then the new
        fork stands on the head as it is. The fork blocks publication until `capture` or `discard`.
        Raises WORKSPACE_NOT_FOUND, WORKSPACE_SOURCE_INVALID (directory gone), WORKSPACE_LIMIT_EXCEEDED.
        """
        with self._locked(workspace) as (here, runtime, before):
            head, drift = before, None
            if look and not runtime.open_forks:
                head, drift = self._publications.adopt(here, runtime, before)
            fork = self._forks.make(workspace, head, drift, copy=self.copy_forks)
            if fork.mode == "overlay":
                runtime.open_forks.add(fork.id)
            return fork

    def capture(self, fork: Fork, *, screen: Screen | None = None) -> Capture:
        """What was changed in a fork, whose processes have all ended. It no longer blocks publication.

        The result is durable and independent of the fork, which may be discarded. May be repeated.
        `screen` looks at what would be stored for the first time.
        Raises EFFECT_NOT_PUBLISHABLE (sockets, devices, set-id files … by name; `screen`), WORKSPACE_LIMIT_EXCEEDED,
        EFFECT_DISCARDED (the fork is gone).
        """
        base, size = self._publications.known(fork.workspace, digest_bytes(fork.base_tree))
        try:
            return self._forks.capture(fork, base, size, screen)
        finally:
            self._release(fork)

    def discard(self, fork: Fork) -> None:
        """Delete a fork, whose processes have all ended. Discarding again is not an error."""
        self._forks.remove(fork)
        self._release(fork)

    def edit(
        self, workspace: str, base_tree: str, path: str, content: bytes | None, *, mode: int | None = None
    ) -> Capture:
        """The effect of writing (or, with None, deleting) one file on a tree, without a fork.

        Raises as `edits.edit`; TREE_NOT_FOUND, WORKSPACE_LIMIT_EXCEEDED.
        """
        self._registry.get(workspace)
        base, size = self._publications.known(workspace, digest_bytes(base_tree))
        result = edit(self.store, base, path, content, mode, self.limits)
        return self._forks.enter(workspace, base, size, result)

    def publish(
        self,
        workspace: str,
        base_tree: str,
        result_tree: str,
        *,
        fork: Fork | None = None,
        key: str = "",
        wait: float = 0.0,
        look: Look = "everything",
    ) -> PublishResult:
        """Make a captured result the head, and the base and the live directory match. Exactly once, crash-safe.

        Args:
            base_tree: what the result stands on. Must be the head, or the head may since have moved only by
                others' changes to the live directory.
            fork: where given, it is captured again and must still show `result_tree`.
            key: names this publication; repeating it returns the first answer (`already`).
            wait: seconds to wait for running forks; the base never changes under one.
            look: `everything` reads the live directory for others' changes (stat cache) and merges disjoint ones;
                `affected` looks only at the paths about to change, at a cost independent of the tree's size.

        Raises WORKSPACE_HEAD_MOVED, WORKSPACE_DRIFTED (others changed the same paths, named; nothing was
        changed), WORKSPACE_BUSY, TREE_NOT_FOUND, EFFECT_TAMPERED, EFFECT_DISCARDED, REQUEST_ID_REUSED,
        RESOURCE_EXHAUSTED and PERMISSION_DENIED (disk full, not writable; the message tells what happened).
        """
        ask = Request(digest_bytes(base_tree), digest_bytes(result_tree), "publish", key, look)
        if fork is not None:
            self._release(fork)
        with self._locked(workspace) as (here, runtime, _):
            repeated = self._publications.repeated(workspace, ask)
            if repeated is not None:
                return repeated
            self._no_forks(workspace, runtime, wait)
            head = self._head(workspace)  # read after the wait, which lets others in
            if fork is not None:
                base, _ = self._publications.known(workspace, ask.base)
                self._forks.check_untouched(fork, base, result_tree)
            return self._publications.publish(here, runtime, head, ask)

    def rollback(
        self,
        workspace: str,
        tree: str,
        *,
        expected_head: str = "",
        key: str = "",
        wait: float = 0.0,
        look: Look = "everything",
    ) -> PublishResult:
        """Publish an earlier tree in place of `expected_head`, or of any, by the same protocol.

        Others' changes since then are kept where they are disjoint. Raises like `publish`.
        """
        with self._locked(workspace) as (here, runtime, _):
            target = digest_bytes(tree)
            if key and (found := self._registry.publication(workspace, key)) is not None:
                ask = Request(found[0][:32], target, "rollback", key, look)
            else:
                self._no_forks(workspace, runtime, wait)
                base = digest_bytes(expected_head) if expected_head else self._head(workspace).tree
                ask = Request(base, target, "rollback", key, look)
            return self._publications.publish(here, runtime, self._head(workspace), ask)

    def revert(
        self,
        workspace: str,
        from_tree: str,
        to_tree: str,
        *,
        key: str,
        wait: float = 0.0,
        expected_head: str = "",
        only_look: bool = False,
    ) -> Reverted:
        """Take the effect that led from `to_tree` to `from_tree` out again, keep what changed since; exactly once.

        By the same protocol as `publish`, merged finely (see `snapshots.merge`) with the live directory as it is.
        `only_look` finds out what would become of it, and changes nothing.
        Raises REVERT_CONFLICT (naming paths; nothing was changed), WORKSPACE_HEAD_MOVED (not `expected_head`),
        TREE_NOT_FOUND (no such effect was published here), WORKSPACE_BUSY, and as `publish` for the disk.
        """
        expected = digest_bytes(expected_head) if expected_head else b""
        trees = digest_bytes(from_tree), digest_bytes(to_tree)
        with self._locked(workspace) as (here, runtime, _):
            if not only_look:
                self._no_forks(workspace, runtime, wait)
            ask = Revert(*trees, "revert", "" if only_look else key, "everything", expected, only_look)
            return revert(self._publications, here, runtime, self._head(workspace), ask)

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

    def settle(self, workspace: str) -> None:
        """Finish or take back what has begun, as every use does. Raises typed errors where it has to wait."""
        with self._locked(workspace):
            pass

    def look_for_drift(self, workspace: str) -> Drift | None:
        """Read the live directory and make others' changes the head. Raises WORKSPACE_BUSY while a fork runs."""
        with self._locked(workspace) as (here, runtime, head):
            self._no_forks(workspace, runtime, 0.0)
            return self._publications.adopt(here, runtime, head)[1]

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

    def _tree(self, workspace: str, tree: str) -> bytes:
        return self._publications.known(workspace, digest_bytes(tree))[0].tree

    def _head(self, workspace: str) -> Snapshot:
        return self._publications.known(workspace, digest_bytes(self._registry.get(workspace).head))[0]

    @contextmanager
    def _locked(self, workspace: str) -> Iterator[tuple[Workspace, Runtime, Snapshot]]:
        self._registry.get(workspace)
        runtime = self._runtimes.of(workspace)
        with runtime.changed:
            self._moves.settle(workspace, runtime)
            yield self._registry.get(workspace), runtime, self._head(workspace)

    def _no_forks(self, workspace: str, runtime: Runtime, wait: float) -> None:
        if not runtime.changed.wait_for(lambda: not runtime.open_forks, wait):
            running = ", ".join(sorted(runtime.open_forks)[:5])
            raise InterlockError(
                Reason.WORKSPACE_BUSY,
                f"Workspace {workspace} has running forks: {running}.",
                fix="Wait for the step that runs in it, or cancel it.",
                metadata={"forks": running},
            )

    def _release(self, fork: Fork) -> None:
        runtime = self._runtimes.of(fork.workspace)
        with runtime.changed:
            runtime.open_forks.discard(fork.id)
            runtime.changed.notify_all()

    def _recover(self) -> Recovered:
        self._tree_imports.clean_up()
        removed = self._imports.clean_up()
        finished: list[tuple[Record, tuple[str, ...]]] = []
        failed: list[tuple[str, str]] = []
        for workspace in self._registry.workspaces(limit=1 << 31):
            self._forks.remove_all(workspace.id)
            try:
                finished += self._moves.settle(workspace.id, self._runtimes.of(workspace.id))
            except InterlockError as error:
                failed.append((workspace.id, error.message))
        return Recovered(tuple(finished), tuple(failed), tuple(removed))
