"""Moving a workspace from one tree to another: record, stage, change base and live directory, new head.

The protocol, each line durable before the next:

    1 write the record (from, to)            publish.recorded
    2 stage new content in both directories  publish.base.staged, publish.live.staged
    3 look at the live paths one by one: one in neither its old nor its new state refuses the move
    4 change the base, then the live one     publish.base.entry …, publish.live.entry …
    5 new head, answer kept, record dropped  publish.committed

Killed before 5, the same is done again from 2 at the next start: every step looks at what is there. An error before 4
changes nothing and drops the record; an error in 4 leaves it, and the next use of the workspace does it again.

Where 4 cannot go on for a reason that does not pass by itself (a file that nobody may replace), the record is turned
(publish.turned), both directories are brought back by the same means, and the record is dropped (publish.back.done);
head and answers stay as they were. Killed in between, the next start goes on in the direction the record says.

Where an object that is needed is damaged or gone, `salvage` looks for it in the directories themselves; what cannot be
finished then is taken back, and where that cannot be done either, the workspace is quarantined: every use of it says
so, and tries again first.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from interlock.common.clock import Clock, rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.files.names import shown, to_text
from interlock.executor.files.root import Root
from interlock.executor.snapshots.apply import Application
from interlock.executor.snapshots.compare import compare
from interlock.executor.snapshots.contents import contents_of
from interlock.executor.snapshots.database import disk_full
from interlock.executor.snapshots.model import Change, Limits, Snapshot
from interlock.executor.snapshots.present import Present
from interlock.executor.snapshots.problems import lost_object
from interlock.executor.snapshots.scan import StatCache
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.target import Target
from interlock.executor.workspaces.layout import Layout
from interlock.executor.workspaces.livedir import open_live
from interlock.executor.workspaces.records import Record
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.runtime import Runtime
from interlock.executor.workspaces.salvage import Salvage, quarantined

Check = Callable[[Root, list[Change]], None]
"""Raises the refusal of a move that must not change these paths of the live directory as they are."""

_PASSING: Final = frozenset(
    {
        errno.EIO,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EINTR,
        errno.EAGAIN,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What a disk or a machine may be in for a while: the move waits for its end. All else would be met again."""

_LASTING: Final = frozenset({Reason.PERMISSION_DENIED, Reason.EFFECT_TAMPERED, Reason.TREE_NOT_FOUND})


class TakenBack(InterlockError):
    """EFFECT_NOT_PUBLISHABLE for a move that had begun: both directories are as they were."""


@dataclass(frozen=True)
class Moves:
    """Performs moves; the caller holds the workspace's lock."""

    layout: Layout
    store: Store
    registry: Registry
    limits: Limits
    clock: Clock

    @property
    def _salvage(self) -> Salvage:
        return Salvage(self.layout, self.store, self.registry, self.limits)

    def perform(self, record: Record, runtime: Runtime, check: Check | None = None) -> tuple[str, ...]:
        """Carry out a new record. Returns the live paths left alone (see `apply`). Raises typed errors.

        Args:
            check: looks at the live directory when everything is staged and nothing is changed.
        """
        self.registry.begin(record)
        failpoints.hit("publish.recorded")
        with self._work(record, runtime, redo=False, abandon=True) as work:
            self._stage(record, work, redo=False)
            if check is not None and record.live is not None:
                self._check(record, work, check)
            return self._forward(record, runtime, work)

    def settle(self, workspace: str, runtime: Runtime) -> list[tuple[Record, tuple[str, ...]]]:
        """Finish what an earlier process, or an error, left unfinished, in the direction its record says.

        Returns the moves that took effect. Raises typed errors, UNAVAILABLE mostly, where one has to wait.
        """
        done: list[tuple[Record, tuple[str, ...]]] = []
        for record in self.registry.records(workspace):
            if record.back:
                self._back(record, runtime)
                continue
            try:
                done.append((record, self._again(record, runtime)))
            except TakenBack:
                continue  # whoever asked for it asks again, and is told then
        return done

    def _again(self, record: Record, runtime: Runtime) -> tuple[str, ...]:
        try:
            return self._salvage.mending(record.workspace, lambda: self._redo(record, runtime))
        except InterlockError as error:
            if error.reason not in _LASTING:
                raise
            if lost_object(error) is not None and self._by_looking(record, turned=False):
                self._abandon(record)
                raise _taken_back(error) from error
            raise self._turn(record, runtime, error) from error

    def _redo(self, record: Record, runtime: Runtime) -> tuple[str, ...]:
        with self._work(record, runtime, redo=True) as work:
            self._stage(record, work, redo=True)
            return self._forward(record, runtime, work)

    def _forward(self, record: Record, runtime: Runtime, work: list[Application]) -> tuple[str, ...]:
        try:
            kept = self._run(work)
        except (OSError, InterlockError) as error:
            raise self._stopped(record, runtime, work, error) from error
        try:
            self.registry.finish(record, rfc3339(self.clock.now()), kept)
        except InterlockError as error:
            raise _half_way(OSError(errno.ENOSPC, "")) from error  # both directories are there already
        failpoints.hit("publish.committed")
        return kept

    def _stopped(
        self, record: Record, runtime: Runtime, work: list[Application], error: OSError | InterlockError
    ) -> InterlockError:
        if isinstance(error, OSError):
            if error.errno in _PASSING:
                return _half_way(error)
            path = next((one.at for one in reversed(work) if one.at), b"")
            why = f"{shown(path) or 'The directory'} cannot be changed: {os.strerror(error.errno or 0)}."
            return self._turn(record, runtime, InterlockError(Reason.EFFECT_NOT_PUBLISHABLE, why))
        return self._turn(record, runtime, error) if error.reason in _LASTING else error

    def _turn(self, record: Record, runtime: Runtime, why: InterlockError) -> InterlockError:
        """Take back what was done. Returns what to raise then."""
        turned = replace(record, back=why.message[:1000])
        try:
            self.registry.turn_back(turned)
        except InterlockError:
            return _half_way(OSError(errno.ENOSPC, ""))
        failpoints.hit("publish.turned")
        self._back(turned, runtime)
        return _taken_back(why)

    def _back(self, record: Record, runtime: Runtime) -> None:
        """Raises UNAVAILABLE where that cannot go on yet, WORKSPACE_QUARANTINED where it cannot at all."""
        try:
            self._salvage.mending(record.workspace, lambda: self._take_back(record, runtime))
        except InterlockError as error:
            if lost_object(error) is None:
                raise
            if not self._by_looking(record, turned=True):
                raise quarantined(self.registry.get(record.workspace), error) from error
        self._abandon(record)
        failpoints.hit("publish.back.done")

    def _by_looking(self, record: Record, *, turned: bool) -> bool:
        with _waiting():
            return self._salvage.take_back_by_looking(record, turned=turned)

    def _take_back(self, record: Record, runtime: Runtime) -> None:
        with _waiting():
            with self._work(record, runtime, redo=True, back=True) as work:
                for application in work:
                    # Now, while what was displaced is still there to make good what is lost.
                    application.check_contents()
            with self._work(record, runtime, redo=True) as forward:
                for application in forward:
                    application.clear()
            with self._work(record, runtime, redo=True, back=True) as work:
                self._stage(record, work, redo=True)
                # The live one first: as long as it is between two trees, the base shows one of them.
                self._run(work[::-1])

    @contextmanager
    def _work(
        self, record: Record, runtime: Runtime, *, redo: bool, abandon: bool = False, back: bool = False
    ) -> Iterator[list[Application]]:
        """What is to be done in each directory. With `abandon`, the record goes where one cannot be opened."""
        workspace = self.registry.get(record.workspace)
        point = "publish.back" if back else "publish"
        with ExitStack() as opened:
            try:
                base = opened.enter_context(self.layout.open_base(record.workspace))
                seen, scratch = Present(base, StatCache()) if redo else None, self.layout.scratch
                owner = self.layout.owner
                target = Target(base, point + ".base", owner, redo=redo, seen=seen, scratch=scratch)
                token = record.token + ("-back" if back else "")
                changes, new = self._changes(record, record.base, back=back)
                contents = contents_of(self.store, changes)
                work = [Application(self.store, target, changes, new, token, contents)]
                if record.live is not None:
                    live = opened.enter_context(open_live(workspace.live))
                    place = self._live(record, live, runtime, point + ".live", redo=redo)
                    if record.live != record.base:
                        changes, new = self._changes(record, record.live, back=back)
                        contents = contents_of(self.store, changes)
                    work.append(Application(self.store, place, changes, new, token, contents))
            except InterlockError:
                if abandon:
                    self._abandon(record)
                raise
            for application in work:
                opened.callback(application.displaced.close)
            yield work

    def _abandon(self, record: Record) -> None:
        try:
            self.registry.abandon(record)
        except InterlockError as error:
            raise _half_way(OSError(errno.ENOSPC, "")) from error  # the record stays, and will be carried out

    def _live(self, record: Record, live: Root, runtime: Runtime, point: str, *, redo: bool) -> Target:
        guard, modes = Present(live, runtime.cache), _Modes(self.registry, record.workspace)
        inherit, scratch = os.geteuid() == 0, self.layout.scratch
        return Target(live, point, inherit=inherit, redo=redo, modes=modes, guard=guard, scratch=scratch)

    def _changes(self, record: Record, old: bytes, *, back: bool) -> tuple[list[Change], Snapshot]:
        before, after = self._snapshot(record, old), self._snapshot(record, record.target)
        if back:
            before, after = after, before
        return compare(self.store, before, after, self.limits), after

    def _snapshot(self, record: Record, tree: bytes) -> Snapshot:
        known = self.registry.snapshot(record.workspace, tree)
        return known[0] if known else Snapshot(tree)

    def _stage(self, record: Record, work: list[Application], *, redo: bool) -> None:
        """Raises what is wrong with the new content (EFFECT_TAMPERED, TREE_NOT_FOUND) or with the disk."""
        try:
            self._write(work)
        except (OSError, InterlockError) as error:
            for application in work:
                application.cancel()
            if not redo:
                self._abandon(record)
            if isinstance(error, InterlockError):
                raise
            # A move that is done again has perhaps begun: it may not be called failed, and then happen.
            raise (_half_way(error) if redo else _failed(error, "Nothing was changed.")) from error

    def _write(self, work: list[Application]) -> None:
        try:
            _write_all(work)
        except OSError as error:
            # What was discarded a moment ago may still have the space.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.layout.scratch.drain():
                raise
            _write_all(work)

    def _check(self, record: Record, work: list[Application], check: Check) -> None:
        try:
            check(work[-1].root, work[-1].changes)
        except (OSError, InterlockError) as error:
            for application in work:
                application.cancel()
            self._abandon(record)
            if isinstance(error, InterlockError):
                raise
            raise _failed(error, "Nothing was changed.") from error

    def _run(self, work: list[Application]) -> tuple[str, ...]:
        """The paths that were left alone in the last of the directories. Raises OSError, PERMISSION_DENIED."""
        kept: tuple[bytes, ...] = ()
        for application in work:
            kept = application.run().kept
        for application in work:
            application.sync()
        return tuple(to_text(path) for path in kept)


def _write_all(work: list[Application]) -> None:
    for application in work:
        application.stage()
    for application in work:
        application.flush()


@dataclass(frozen=True)
class _Modes:
    registry: Registry
    workspace: str

    def note(self, path: bytes, mode: int) -> None:
        try:
            self.registry.note_mode(self.workspace, path, mode)
        except InterlockError as error:  # the move has begun
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def noted(self) -> Mapping[bytes, int]:
        return self.registry.noted_modes(self.workspace)


def _taken_back(why: InterlockError) -> TakenBack:
    return TakenBack(
        Reason.EFFECT_NOT_PUBLISHABLE,
        f"{why.message} What had been published of it was taken back.",
        fix=why.fix
        or "Look at the attributes, the owner and the mounts of that path; then `interlock step retry RUN STEP`.",
        metadata=why.metadata,
    )


@contextmanager
def _waiting() -> Iterator[None]:
    """An error of the system leaves the record as it is, and the next use goes on."""
    try:
        yield
    except OSError as error:
        raise _half_way(error) from error


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
