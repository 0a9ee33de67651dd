"""The workspaces of one executor: everything the service does with files goes through here."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import check_id
from interlock.executor.snapshots.batch import Screen
from interlock.executor.snapshots.scan import ProgressFn
from interlock.executor.workspaces.edits import edit
from interlock.executor.workspaces.guard import guarded
from interlock.executor.workspaces.model import (
    AnySource,
    Capture,
    Drift,
    Fork,
    PublishResult,
    TreeSource,
    Workspace,
)
from interlock.executor.workspaces.publications import Look, Request
from interlock.executor.workspaces.reverts import Revert, Reverted, revert
from interlock.executor.workspaces.views import Views


@guarded
class Workspaces(Views):
    """Thread-safe. Methods block; one workspace's methods that change it wait for each other. Made as `Parts`."""

    def create(
        self,
        source: AnySource,
        *,
        workspace: str = "",
        labels: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        progress: ProgressFn | None = None,
    ) -> Workspace:
        """Import a source as a new workspace; `workspace` is its id (`ws-…`), a new one when empty.

        Costs one reading of the source and one copy. Sockets, fifos and devices are left out,
        and the answer names them. On failure nothing
        stays. `limits` are recorded (see `Workspace`); a tree brings those of its workspace, where none are given.
        `progress` is called from this thread every thousand names.
        Raises WORKSPACE_SOURCE_INVALID, WORKSPACE_EXISTS, WORKSPACE_LIMIT_EXCEEDED, PERMISSION_DENIED.
        """
        with self._ids_lock:
            name = workspace or self._ids.new("ws")
        check_id(name, "ws", field="workspace")
        if isinstance(source, TreeSource):
            return self._tree_imports.create(name, source, labels or {}, limits or {}, progress)
        created, cache = self._imports.create(name, source, labels or {}, limits or {}, progress)
        self._runtimes.of(name).adopt(cache)
        return created

    def remove(self, workspace: str, *, delete: bool = False) -> None:
        """Forget a workspace, quarantined or not. Its live directory stays, but with `delete`.

        Raises WORKSPACE_NOT_FOUND; WORKSPACE_BUSY while a fork is running; INVALID_ARGUMENT for `delete` of a
        directory that the executor did not make.
        """
        with self._alone(workspace) as runtime:
            try:
                self._moves.settle(workspace, runtime)
            except InterlockError as error:
                if error.reason is not Reason.WORKSPACE_QUARANTINED:
                    raise
            self._no_forks(workspace, runtime, 0.0)
            self._imports.remove(self._registry.get(workspace), delete=delete)
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

        Others' changes since `expected_head` are kept where they are disjoint; without it they become the head first,
        as a change of their own, and are then gone back over like everything else. Raises like `publish`.
        """
        with self._locked(workspace) as (here, runtime, _):
            target = digest_bytes(tree)
            if key and (found := self._registry.publication(workspace, key)) is not None:
                ask = Request(found[0][:32], target, "rollback", key, look)
            else:
                self._no_forks(workspace, runtime, wait)
                if expected_head:
                    base = digest_bytes(expected_head)
                else:
                    base = self._publications.adopt(here, runtime, self._head(workspace))[0].tree
                ask = Request(base, target, "rollback", key, look)
            return self._publications.publish(here, runtime, self._head(workspace), ask)

    def revert(self, workspace: str, ask: Revert, *, wait: float = 0.0) -> Reverted:
        """Take published effects out again, or put them back, and keep what else changed since; exactly once.

        By the same protocol as `publish`, merged finely (see `snapshots.merge`) with the live directory as it is.
        `only_look` finds out what would become of it, and changes nothing.
        Raises REVERT_CONFLICT (naming paths; nothing was changed), WORKSPACE_HEAD_MOVED (not `expected_head`),
        TREE_NOT_FOUND (no such effect was published here), WORKSPACE_BUSY, and as `publish` for the disk.
        """
        with self._locked(workspace) as (here, runtime, _):
            if not ask.only_look:
                self._no_forks(workspace, runtime, wait)
            return revert(self._publications, here, runtime, self._head(workspace), ask)

    def settle(self, workspace: str) -> None:
        """Finish or take back what has begun, as every use does. Raises typed errors where it has to wait."""
        with self._locked(workspace):
            pass

    def look_for_drift(self, workspace: str) -> Drift | None:
        """Read the live directory and make others' changes the head. Raises WORKSPACE_BUSY while a fork runs."""
        with self._locked(workspace) as (here, runtime, head):
            self._no_forks(workspace, runtime, 0.0)
            return self._publications.adopt(here, runtime, head)[1]
