"""Moving a workspace from one tree to another: record, stage, change base and live directory, new head.

The protocol, each line durable before the next:

    1 write the record (from, to)            publish.recorded
    2 stage new content in both directories  publish.base.staged, publish.live.staged
    3 change the base, then the live one     publish.base.entry …, publish.live.entry …
    4 new head, answer kept, record dropped  publish.committed

Killed before 4, the same is done again from 2 at the next start: every step looks at what is there. An error in 2
changes nothing and drops the record; an error in 3 leaves it, and the next use of the workspace does it again.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass

from interlock.common.clock import Clock, rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.files.names import to_text
from interlock.executor.files.root import Root
from interlock.executor.snapshots.apply import Application, Target
from interlock.executor.snapshots.compare import compare
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.model import Limits, Snapshot
from interlock.executor.snapshots.present import Present
from interlock.executor.snapshots.store import Store
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import open_live
from interlock.executor.workspaces.registry import Record, Registry
from interlock.executor.workspaces.runtime import Runtime


@dataclass(frozen=True)
class Moves:
    """Performs moves; the caller holds the workspace's lock."""

    layout: Layout
    store: Store
    registry: Registry
    limits: Limits
    clock: Clock

    def perform(self, record: Record, runtime: Runtime) -> tuple[str, ...]:
        """Carry out a new record. Returns the live paths left alone (see `apply`). Raises typed errors."""
        self.registry.begin(record)
        failpoints.hit("publish.recorded")
        return self._carry_out(record, runtime, redo=False)

    def settle(self, workspace: str, runtime: Runtime) -> list[tuple[Record, tuple[str, ...]]]:
        """Finish what an earlier process, or an error, left unfinished."""
        done = []
        for record in self.registry.records(workspace):
            done.append((record, self._carry_out(record, runtime, redo=True)))  # noqa: PERF401 order matters
        return done

    def _carry_out(self, record: Record, runtime: Runtime, *, redo: bool) -> tuple[str, ...]:
        workspace = self.registry.get(record.workspace)
        with ExitStack() as opened:
            try:
                base = opened.enter_context(self.layout.open_base(record.workspace))
                target = Target(base, "publish.base", self.layout.owner, redo=redo)
                work = [self._application(record, record.base, target)]
                if record.live is not None:
                    live = opened.enter_context(open_live(workspace.live))
                    work.append(self._application(record, record.live, self._live(live, runtime, redo=redo)))
                self._stage(record, work, redo=redo)
            except InterlockError:
                if not redo:
                    self._abandon(record)
                raise
            kept = self._run(work)
        try:
            self.registry.finish(record, rfc3339(self.clock.now()))
        except InterlockError as error:
            raise _half_way(OSError(errno.ENOSPC, "")) from error  # both directories are there already
        failpoints.hit("publish.committed")
        return kept

    def _abandon(self, record: Record) -> None:
        try:
            self.registry.abandon(record)
        except InterlockError as error:
            raise _half_way(OSError(errno.ENOSPC, "")) from error  # the record stays, and will be carried out

    def _live(self, live: Root, runtime: Runtime, *, redo: bool) -> Target:
        guard = Present(live, runtime.cache)
        return Target(live, "publish.live", inherit=os.geteuid() == 0, redo=redo, guard=guard)

    def _application(self, record: Record, old: bytes, target: Target) -> Application:
        before, after = self._snapshot(record, old), self._snapshot(record, record.target)
        changes = compare(self.store, before, after, self.limits)
        return Application(self.store, target, changes, after, record.token)

    def _snapshot(self, record: Record, tree: bytes) -> Snapshot:
        known = self.registry.snapshot(record.workspace, tree)
        return known[0] if known else Snapshot(tree)

    def _stage(self, record: Record, work: list[Application], *, redo: bool) -> None:
        """Raises what is wrong with the new content (EFFECT_TAMPERED, TREE_NOT_FOUND) or with the disk."""
        try:
            for application in work:
                application.stage()
            for application in work:
                application.flush()
        except (OSError, InterlockError) as error:
            for application in work:
                application.cancel()
            if isinstance(error, InterlockError):
                raise
            # A move that is done again has perhaps begun: it may not be called failed, and then happen.
            raise (_half_way(error) if redo else _failed(error, "Nothing was changed.")) from error

    def _run(self, work: list[Application]) -> tuple[str, ...]:
        """The paths that were left alone in the last of the directories."""
        kept: tuple[bytes, ...] = ()
        try:
            for application in work:
                kept = application.run().kept
            for application in work:
                application.sync()
        except OSError as error:
            raise _half_way(error) from error
        return tuple(to_text(path) for path in kept)


def _half_way(error: OSError) -> InterlockError:
    """The record stays, so the move will be finished: a final error would call failed what then happens."""
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Publishing stopped half-way: {os.strerror(error.errno or 0)}. It is finished as soon as that is possible.",
        fix="Check the owner, mode and attributes of the files in the workspace's directory, and the disk.",
    )


def _failed(error: OSError, so: str) -> InterlockError:
    why = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(so)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InterlockError(
            Reason.PERMISSION_DENIED,
            f"The executor may not write to the workspace's directory: {why}. {so}",
            fix="Check the directory's owner and mode.",
        )
    return InterlockError(Reason.INTERNAL, f"Publishing failed: {why}. {so}")
