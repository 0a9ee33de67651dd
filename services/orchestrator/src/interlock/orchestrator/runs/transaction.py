"""Changing a run: decide on its newest state, append, and decide again if somebody else was first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.domain.people import named
from interlock.orchestrator.domain.standing import ended, rights
from interlock.orchestrator.runs.asked import Asked
from interlock.orchestrator.runs.beside import beside
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.runs.rows import Change
from interlock.orchestrator.store import standing
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.errors import Conflict
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import others
from interlock.orchestrator.store.records import (
    Append,
    ApprovalUpsert,
    NewRun,
    Payload,
    RequestRecord,
    WorkspaceChange,
)

Decide = Callable[[Run, Context], list[e.Event]]
"""Turns the newest state into events; raises InterlockError to refuse. Called again after a conflict."""

_TRIES = 50


@dataclass(frozen=True, slots=True)
class Request:
    """A mutation that may be repeated: `respond` makes the response that is stored with its effect."""

    method: str
    request_id: str
    fingerprint: bytes
    respond: Callable[[Run], bytes]

    def record(self, run: Run) -> RequestRecord:
        """The row that a repeated request is answered from."""
        return RequestRecord(self.method, self.request_id, self.fingerprint, self.respond(run))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run after a transaction, and the approvals that it changed.

    `replayed` is the recorded response of a request that was made before.
    """

    run: Run
    replayed: bytes | None = None
    approvals: Mapping[str, ApprovalUpsert] = field(default_factory=dict)


class Transactions:
    """All changes of runs go through here.

    Args:
        asked: told of every approval that is written.
        owner: this process as a driver.
        policy: digest of the installation's policy; empty = it has none.
        on_lease: called with (run_id, epoch) when a transaction gave this process the lease of a run.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        book: RunBook,
        payloads: Payloads,
        asked: Asked,
        clock: Clock,
        ids: Ids,
        *,
        owner: str,
        policy: str = "",
        on_lease: Callable[[str, int], None],
    ) -> None:
        self._database = database
        self._journal = journal
        self._book = book
        self._payloads = payloads
        self._asked = asked
        self._clock = clock
        self._ids = ids
        self._owner = owner
        self._policy = policy
        self._on_lease = on_lease
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def context(self, subject: str = "", owner: str = "") -> Context:
        """What a decision made now needs from outside."""
        return Context(self._clock.now(), self._ids.new, subject, self._policy, owner)

    async def create(
        self,
        run_id: str,
        events: Sequence[e.Event],
        workspace: WorkspaceChange,
        *,
        payloads: Sequence[Payload] = (),
        request: Request | None = None,
        goal: str,
        labels: dict[str, str],
    ) -> Outcome:
        """Writes a new run. Raises WORKSPACE_BUSY when it is to start and another run holds the workspace."""
        change = self._change(run_id, None, events)
        assert change.after is not None
        hold = change.workspace()
        if hold is not None:
            workspace = WorkspaceChange(workspace.id, hold.hold, create=workspace.create)
        new = NewRun(goal, workspace.id, labels)
        return await self._append(change, None, payloads, request, create=new, workspace=workspace)

    async def change(
        self,
        run_id: str,
        decide: Decide,
        *,
        subject: str = "",
        owners: Mapping[str, str] | None = None,
        epoch: int | None = None,
        payloads: Sequence[Payload] = (),
        request: Request | None = None,
    ) -> Outcome:
        """Decides on the run's newest state and makes the events durable.

        `owners`: whose agents those are who act here (agent → owner); told with what they do.
        Without events nothing is written (and a `request` is not recorded: repeating it has no effect either).
        Raises what `decide` raises, RUN_NOT_FOUND, LEASE_LOST, WORKSPACE_BUSY, DATABASE_UNAVAILABLE, and
        RUN_CONFLICT when others were first too many times in a row.
        """
        lock = self._locks.setdefault(run_id, asyncio.Lock())
        async with lock:
            run = await self._book.get(run_id)
            for _ in range(_TRIES):
                try:
                    change = await self._begun(run, owners or {})
                    assert change.after is not None
                    events = decide(change.after, self.context(subject))
                except InterlockError:
                    # A refusal must not rest on an old state, nor meet a caller who repeats what succeeded.
                    newest = await self._book.refresh(run_id)
                    if newest.seq == run.seq:
                        before = await self._recorded(request)
                        if before is None:
                            raise
                        return Outcome(run, before)
                    run = newest
                    continue
                if not events:
                    return Outcome(run)
                self._finish(change, events)
                try:
                    return await self._append(change, epoch, payloads, request)
                except Conflict:  # of this run, or of one that it went back over
                    newest = await self._book.refresh(run_id)
                    if newest.seq == run.seq:  # nothing followed: it may have been archived
                        self._book.forget(run_id)
                        newest = await self._book.refresh(run_id)
                    run = newest
        raise InterlockError(
            Reason.RUN_CONFLICT,
            f"Run {run_id} is being changed by many at once.",
            metadata={"run_id": run_id},
        )

    async def together(
        self, said: Mapping[str, Sequence[e.Event]], approvals: Mapping[str, Sequence[ApprovalUpsert]]
    ) -> None:
        """Adds events to several runs, and changes rows of their approvals, in one transaction.

        Raises RUN_NOT_FOUND, DATABASE_UNAVAILABLE, and RUN_CONFLICT when others were first too many times in a row.
        """
        for _ in range(_TRIES):
            changes = [
                self._change(run_id, await self._book.refresh(run_id), events)
                for run_id, events in said.items()
            ]
            for change in changes:
                change.approvals.update((row.id, row) for row in approvals.get(change.run_id, ()))
            try:
                await self._journal.append_all([self._record(change) for change in changes])
            except Conflict:
                continue
            for change in changes:
                if change.after is not None:
                    self._book.put(change.after)
            return
        raise InterlockError(Reason.RUN_CONFLICT, "The runs are being changed by many at once.")

    async def _recorded(self, request: Request | None) -> bytes | None:
        if request is None or not request.request_id:
            return None
        return await others.recorded(self._database, request.method, request.request_id, request.fingerprint)

    async def _begun(self, run: Run, owners: Mapping[str, str]) -> Change:
        """A change that tells what a decision has to know: whose agents act, and which rights have ended."""
        now = self._clock.now()
        change = Change(run.run_id, run, run)
        over = await standing.over(self._database, rights(run, now))
        for event in (*named(run, owners), *ended(run, now, over)):
            change.add(event, now)
        return change

    def _change(self, run_id: str, run: Run | None, events: Sequence[e.Event]) -> Change:
        return self._finish(Change(run_id, run, run), events)

    def _finish(self, change: Change, events: Sequence[e.Event]) -> Change:
        now = self._clock.now()
        for event in events:
            change.add(event, now)
        change.settle(now, self._policy)
        return change

    async def _append(
        self,
        change: Change,
        epoch: int | None,
        payloads: Sequence[Payload],
        request: Request | None,
        *,
        create: NewRun | None = None,
        workspace: WorkspaceChange | None = None,
    ) -> Outcome:
        run = change.after
        assert run is not None
        append = self._record(change, epoch, payloads, request, create=create, workspace=workspace)
        others = [self._change(other.run_id, other, [event]) for other, event in await self._beside(change)]
        # Before it is durable: a follower of the feed may be told in the same moment as we are.
        self._asked.expect(change.run_id, change.told)
        if others:
            result, *_ = await self._journal.append_all([append, *(self._record(each) for each in others)])
        else:
            result = await self._journal.append(append)
        if result.replayed is not None:
            return Outcome(run, result.replayed)
        for each in (change, *others):
            if each.after is not None:
                self._book.put(each.after)
        self._asked.learn(change.run_id, change.approvals.values())
        self._payloads.learn([*payloads, *change.payloads])
        if result.epoch:
            self._on_lease(change.run_id, result.epoch)
        return Outcome(run, approvals=change.approvals)

    async def _beside(self, change: Change) -> list[tuple[Run, e.Event]]:
        return await beside(self._database, self._book, change)

    def _record(
        self,
        change: Change,
        epoch: int | None = None,
        payloads: Sequence[Payload] = (),
        request: Request | None = None,
        *,
        create: NewRun | None = None,
        workspace: WorkspaceChange | None = None,
    ) -> Append:
        run, head = change.after, change.head()
        assert run is not None
        return Append(
            run_id=change.run_id,
            expected_seq=change.before.seq if change.before else 0,
            events=change.events(),
            head=head,
            epoch=epoch,
            create=create,
            approvals=tuple(change.approvals.values()),
            payloads=_unique([*payloads, *change.payloads]),
            request=request.record(run) if request and request.request_id else None,
            workspace=workspace or change.workspace(),
            take=self._owner if head.needs_driver else None,
        )


def _unique(payloads: Sequence[Payload]) -> tuple[Payload, ...]:
    return tuple({payload.digest: payload for payload in payloads}.values())
