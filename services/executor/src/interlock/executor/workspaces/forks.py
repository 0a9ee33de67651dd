"""Forks: isolated views of a head, and what was changed in them."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock.common.digests import digest_bytes, digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids
from interlock.executor.files.root import Root
from interlock.executor.sandbox.disk import measure
from interlock.executor.snapshots.batch import Screen
from interlock.executor.snapshots.clone import copy_tree
from interlock.executor.snapshots.closed import refuse_closed
from interlock.executor.snapshots.compare import compare, totals_after
from interlock.executor.snapshots.model import FILE, Change, Limits, Snapshot, Totals, limit_exceeded
from interlock.executor.snapshots.overlay import SET_ID_FILE, capture_overlay, not_publishable, special_kind
from interlock.executor.snapshots.scan import StatCache, scan
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.model import Capture, Drift, Fork, path_changes
from interlock.executor.workspaces.registry import Registry


@dataclass(frozen=True)
class Forks:
    """Makes, captures and removes forks; keeps no state, the caller holds the workspace's lock where needed."""

    layout: Layout
    store: Store
    registry: Registry
    limits: Limits
    ids: Ids
    ids_lock: threading.Lock
    _bases: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def bases(self) -> list[tuple[str, bytes]]:
        """The workspace and the base tree of every fork that is there."""
        return list(self._bases.values())

    def make(self, workspace: str, head: Snapshot, drift: Drift | None, *, copy: bool) -> Fork:
        """A fresh fork of `head`, which the base shows."""
        with self.ids_lock:
            name = self.ids.new("fork")
        self._bases[name] = (workspace, head.tree)
        directory = self.layout.forks(workspace) / name
        fork = Fork(
            id=name,
            workspace=workspace,
            base_tree=digest_text(head.tree),
            mode="copy" if copy else "overlay",
            lower=self.layout.base(workspace),
            upper=directory / "up",
            work=directory / "wk",
            drift=drift,
        )
        try:
            held = self._fill(fork, directory)
        except BaseException:
            self.remove(fork)
            raise
        return replace(fork, held=held)

    def _fill(self, fork: Fork, directory: Path) -> tuple[int, int]:
        self._directory(directory.parent, os.fsencode(directory.name))
        self.layout.make(fork.upper, 0o755)
        self.layout.make(fork.work, 0o700)
        if fork.mode == "copy":
            with self.layout.open_base(fork.workspace) as base, Root.open(fork.upper) as root:
                copy_tree(base, root, self.layout.owner)
            return measure(str(fork.upper), self.limits.entries)
        return 0, 0

    def remove(self, fork: Fork) -> None:
        """Delete a fork's directory, whatever the step made of it."""
        self._discard(self.layout.forks(fork.workspace), fork.id)
        self._bases.pop(fork.id, None)

    def remove_all(self, workspace: str) -> None:
        """Delete every fork of a workspace: after a restart nothing runs in them any more."""
        directory = self.layout.forks(workspace)
        for name in os.listdir(directory) if directory.is_dir() else []:
            self._discard(directory, name)

    def _directory(self, parent: Path, name: bytes) -> None:
        with Root.open(parent) as root:
            self.layout.scratch.make_some(root.fd, name)
            if self.layout.owner is not None:
                os.chown(name, *self.layout.owner, dir_fd=root.fd, follow_symlinks=False)

    def _discard(self, parent: Path, name: str) -> None:
        try:
            root = Root.open(parent)
        except FileNotFoundError:
            return
        with root:
            self.layout.scratch.discard(root.fd, os.fsencode(name))

    def result(self, fork: Fork, base: Snapshot, screen: Screen | None = None) -> Snapshot:
        """The tree that the fork shows now. Durable in the store on return."""
        with _open(fork.upper) as upper:
            if fork.mode == "overlay":
                return capture_overlay(upper, base, self.store, self.limits, screen)
            cache = StatCache()
            scanned = scan(upper, self.store.batch(screen), cache, self.limits, unlock=True)
            refused = [(path, self._kind(upper, path)) for path in scanned.skipped]
            refused += [(path, SET_ID_FILE) for path in cache.set_id]
            if refused:
                raise not_publishable(refused)
            return scanned.snapshot

    def capture(self, fork: Fork, base: Snapshot, size: Totals, screen: Screen | None = None) -> Capture:
        """What the step changed, entered in the register. Raises as `capture_overlay`; WORKSPACE_LIMIT_EXCEEDED."""
        return self.enter(fork.workspace, base, size, self.result(fork, base, screen))

    def enter(self, workspace: str, base: Snapshot, size: Totals, result: Snapshot) -> Capture:
        """Enter a result in the register, if it is within the limits."""
        changes = compare(self.store, base, result, self.limits)
        refuse_closed(changes)
        after = totals_after(self.store, size, changes)
        if after.entries > self.limits.entries:
            raise limit_exceeded(self.limits, "entries", after.entries)
        if after.content_bytes > self.limits.content_bytes:
            raise limit_exceeded(self.limits, "content_bytes", after.content_bytes)
        new = _new_bytes(self.store, changes)
        if new > self.limits.effect_bytes:
            raise limit_exceeded(self.limits, "effect_bytes", new)
        if result.tree != base.tree:
            self.registry.put_snapshot(workspace, result, after)
        return Capture(digest_text(base.tree), digest_text(result.tree), path_changes(self.store, changes))

    def check_untouched(self, fork: Fork, base: Snapshot, result_tree: str) -> None:
        """Raises EFFECT_TAMPERED when the fork no longer shows the result that was captured from it."""
        if self.result(fork, base).tree != digest_bytes(result_tree):
            raise InterlockError(
                Reason.EFFECT_TAMPERED,
                "The fork was changed after its effect was captured.",
                fix="Find out who wrote to the executor's directory; then `interlock step retry RUN STEP`.",
            )

    def _kind(self, root: Root, path: bytes) -> str:
        status = root.lstat(path)
        return special_kind(status.st_mode) if status else "device"


def _new_bytes(store: Store, changes: list[Change]) -> int:
    """Bytes of content that were not at their path before."""
    files = [(c.old, c.new) for c in changes if c.new is not None and c.new.kind == FILE]
    fresh = [new.value for old, new in files if old is None or old.value != new.value]
    sizes = store.sizes(fresh)
    return sum(sizes[content] for content in fresh)


def _open(path: Path) -> Root:
    try:
        if path.lstat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
            path.chmod(0o755)  # the step closed its own /workspace; no tree holds that mode
        return Root.open(path)
    except OSError:
        raise InterlockError(Reason.EFFECT_DISCARDED, "The fork is gone: it was discarded.") from None
