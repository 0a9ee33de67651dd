"""Garbage collection of one executor: what is kept, and taking out the rest. docs/storage.md has the rules.

The order is what makes it safe beside everything that goes on at the same time:

    0 time and position in the register are noted; callers say what to keep   `Collector.begin`
    1 sessions that end from here on leave their notes             `begin_collection`
    2 rows that may go are deleted; what others refer to is read   `collect.pruned`
    3 what that reaches is marked, while work goes on              `collect.marked`
    4 what is neither marked nor noted is deleted, page by page    `collect.page`, `collect.deleted`

What is entered after 0 stays, whatever the clock says: nobody can have spoken for it. An object in use is found in
3 (it was entered before 2) or in 4 (its session has it, or left it). Killed anywhere, rows are gone before the
objects they named, so nothing ever refers to what is not there.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from interlock.common.clock import Clock, rfc3339
from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.snapshots.mark import Marks
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.sweep import Swept, sweep
from interlock.executor.workspaces.entries import Since
from interlock.executor.workspaces.forks import Forks
from interlock.executor.workspaces.registry import Registry
from interlock.executor.workspaces.retention import Keep, Pruned, Roots
from interlock.executor.workspaces.runtime import Runtimes

Use = tuple[str, str]
"""A workspace and a tree (text) that something undecided stands on or leads to."""


@dataclass(frozen=True)
class Retention:
    """`history`: how far back workspaces that nobody speaks for can return; `grace`: nothing younger goes."""

    history: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(hours=1)


class Begun(NamedTuple):
    """When a collection began: the time, as rows have it and as objects have it, and what was entered since."""

    at: datetime
    system: float
    since: Since


@dataclass(frozen=True)
class Ask:
    """What a caller says: its workspaces, how far back their history is kept, trees to keep anywhere.

    `begun`: from before the caller began to find that out; None: it has nothing to find out.
    """

    named: frozenset[str] = frozenset()
    trees: frozenset[bytes] = frozenset()
    history: timedelta | None = None
    begun: Begun | None = None


class Collected(NamedTuple):
    """Objects and rows that went, or would go."""

    swept: Swept
    pruned: Pruned


class Collector:
    """Thread-safe; one collection at a time. `effects` tells what undecided effects refer to."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        forks: Forks,
        runtimes: Runtimes,
        clock: Clock,
        retention: Retention,
    ) -> None:
        self._store, self._registry, self._forks, self._runtimes = store, registry, forks, runtimes
        self._clock = clock
        self.retention = retention
        self.effects: Callable[[], Iterable[Use]] = tuple
        self._running = threading.Lock()

    def begin(self) -> Begun:
        """To be called before the first reading of what is to be kept. Ages count back from here."""
        return Begun(self._clock.now(), time.time(), self._registry.since())

    def collect(self, ask: Ask, *, dry_run: bool = False) -> Collected:
        """Collect for a caller who has said what to keep. Raises UNAVAILABLE while another collection goes on."""
        if not self._running.acquire(blocking=False):
            raise InterlockError(
                Reason.UNAVAILABLE,
                "A collection is under way in this executor.",
                fix="Try again when it has ended.",
            )
        try:
            return self._collect(ask, self.retention.grace, dry_run=dry_run)
        finally:
            self._running.release()

    def make_room(self) -> None:
        """Collect what may go without asking anybody: the store is full. Waits for a collection under way.

        Objects need no grace here: the sessions know what is in use, and a failed import leaves much behind.
        """
        self._forks.layout.scratch.drain()
        with self._running:
            self._collect(Ask(), timedelta(0), dry_run=False)

    def back_to(self, history: timedelta | None = None, begun: Begun | None = None) -> str:
        """The time from which history is kept, seen from `begun` or now; never younger than the grace period."""
        age = self.retention.history if history is None else history
        now = begun.at if begun else self._clock.now()
        return rfc3339(now - max(age, self.retention.grace))

    def marks(self, workspace: str) -> Marks:
        """What one workspace's trees reach."""
        marks = Marks(self._store)
        marks.add(self._registry.trees_of(workspace))
        return marks

    def reachable(self) -> Marks:
        """What anything refers to now."""
        return self._marked(self._registry.roots([name for name, _ in self._runtimes.loaded()]))

    def _collect(self, ask: Ask, grace: timedelta, *, dry_run: bool) -> Collected:
        begun = ask.begun or self.begin()
        with self._store.reserve.given_up():
            if not dry_run:
                self._registry.name(ask.named)
            return self._in_order(ask, begun, grace, dry_run=dry_run)

    def _in_order(self, ask: Ask, begun: Begun, grace: timedelta, *, dry_run: bool) -> Collected:
        self._store.sessions.begin_collection()
        try:
            # Theirs are in memory; what was saved of them earlier may name what is long gone.
            loaded = [name for name, _ in self._runtimes.loaded()]
            pruned, roots = self._registry.prune(self._keep(ask, begun), loaded, dry_run=dry_run)
            failpoints.hit("collect.pruned")
            marks = self._marked(roots)
            if not dry_run:
                self._registry.forget_contents(loaded, marks.ids)
            failpoints.hit("collect.marked")
            before = begun.system - grace.total_seconds()
            swept = sweep(self._store, marks.ids, before=before, dry_run=dry_run)
            return Collected(swept, pruned)
        finally:
            self._store.sessions.end_collection()

    def _keep(self, ask: Ask, begun: Begun) -> Keep:
        used: dict[str, set[bytes]] = defaultdict(set)
        # Forks first: one that is discarded meanwhile has its effect on record by then.
        for workspace, tree in self._forks.bases():
            used[workspace].add(tree)
        for workspace, text in self.effects():
            used[workspace].add(digest_bytes(text))
        return Keep(
            grace=rfc3339(begun.at - self.retention.grace),
            own=self.back_to(None, begun),
            history=self.back_to(ask.history, begun),
            named=ask.named,
            trees=ask.trees,
            used={workspace: frozenset(trees) for workspace, trees in used.items()},
            since=begun.since.notes,
        )

    def _marked(self, roots: Roots) -> Marks:
        marks = Marks(self._store)
        marks.add(roots.snapshots)
        marks.ids |= roots.contents
        for _, cache in self._runtimes.loaded():
            # A scan takes over ids that it finds here without putting the objects again.
            top = cache.built.get(b"")
            if top is not None:
                marks.add([top.snapshot])
            for files in list(cache.files.values()):
                marks.ids.update(content for _, content in list(files.values()))
        return marks
