"""What a transaction writes besides its events: the run's head, approvals, and the hold on the workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from interlock.orchestrator.convert import approvals, salted
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import actions
from interlock.orchestrator.domain.chain import Sealed, seal
from interlock.orchestrator.domain.early import follow
from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.model import RUN_FINAL, ZERO_DIGEST, Run, RunState, Step
from interlock.orchestrator.store.records import (
    ApprovalUpsert,
    Payload,
    RunHead,
    SealedEvent,
    WorkspaceChange,
)

_ASKING = frozenset(
    {
        e.ApprovalRequested,
        e.ApprovalVoted,
        e.ApprovalReminded,
        e.ApprovalEscalated,
        e.PreviewSuperseded,
        e.ApprovalDecided,
        e.ApprovalExpired,
        e.ApprovalCancelled,
    }
)
"""Events that change rows of approvals."""


@dataclass(slots=True)
class Change:
    """A run before and after some events, and the rows that go with them."""

    run_id: str
    before: Run | None
    after: Run | None
    sealed: list[Sealed] = field(default_factory=list)
    approvals: dict[str, ApprovalUpsert] = field(default_factory=dict)
    told: dict[tuple[bytes, str], ApprovalUpsert] = field(default_factory=dict)
    """Each approval as an event left it, by the event's hash and the approval's id."""
    texts: dict[str, str] = field(default_factory=dict)
    payloads: list[Payload] = field(default_factory=list)

    def add(self, event: e.Event, at: datetime) -> None:
        """Puts one event at the end of the chain and folds it."""
        run = self.after
        seq, prev = (run.seq, run.head) if run else (0, ZERO_DIGEST)
        data = e.encode(event)
        if event.type in salted.TYPES:
            data, beside = salted.conceal(data)
            self.texts.update((digest, text) for digest, text, _ in beside)
            self.payloads.extend(payload for _, _, payload in beside)
        sealed = seal(self.run_id, seq + 1, prev, at, event.type, event.step, data)
        self.after = evolve(run, Recorded(self.run_id, seq + 1, at, event, sealed.digest))
        self.sealed.append(sealed)
        self._approval(run, event, at)

    def has(self, type_: str) -> bool:
        """Whether one of its events is of this type."""
        return any(sealed.type == type_ for sealed in self.sealed)

    def settle(self, at: datetime, policy: str = "") -> Run:
        """Adds what follows by itself under the installation's policy (its digest); the run after it."""
        assert self.after is not None
        while events := follow(self.after, at, policy):
            for event in events:
                self.add(event, at)
        return self.after

    def _approval(self, before: Run | None, event: e.Event, at: datetime) -> None:
        if type(event) not in _ASKING:
            return
        if isinstance(event, e.ApprovalRequested):
            assert self.after is not None
            step = self.after.steps[event.step - 1]
            row = approvals.requested(self.after, step, event.approval, at)
            self._put(row)
            self._replaced(step, {event.approval.replaces}, by=row.id)
        elif isinstance(event, e.ApprovalVoted | e.ApprovalReminded | e.ApprovalEscalated):
            assert self.after is not None
            step = self.after.steps[event.step - 1]
            assert step.approval is not None
            row = approvals.requested(self.after, step, step.approval, step.asked_at or at)
            self._put(row)
        elif isinstance(event, e.PreviewSuperseded):
            assert self.after is not None
            self._replaced(self.after.steps[event.step - 1], set(event.approval_ids))
        elif isinstance(event, e.ApprovalDecided | e.ApprovalExpired | e.ApprovalCancelled):
            self._resolve(before, event, at)

    def _replaced(self, step: Step, ids: set[str], by: str = "") -> None:
        assert self.after is not None
        for given in step.reviewed:
            if given.approval.approval_id in ids:
                self._put(approvals.superseded(self.after, step, given, by))

    def _resolve(
        self,
        before: Run | None,
        event: e.ApprovalDecided | e.ApprovalExpired | e.ApprovalCancelled,
        at: datetime,
    ) -> None:
        assert before is not None
        step = before.steps[event.step - 1]
        assert step.approval is not None
        asked = approvals.requested(before, step, step.approval, step.asked_at or at)
        if isinstance(event, e.ApprovalDecided):
            row = approvals.resolved(asked, approvals.decided_state(event.verdict), at, event)
        else:
            row = approvals.resolved(
                asked, "expired" if isinstance(event, e.ApprovalExpired) else "cancelled", at
            )
        self._put(row)

    def _put(self, row: ApprovalUpsert) -> None:
        self.approvals[row.id] = row
        self.told[_hash(self.sealed[-1]), row.id] = row

    def events(self) -> tuple[SealedEvent, ...]:
        """The events as they are stored."""
        return tuple(
            SealedEvent(s.seq, s.type, s.step or None, s.at, s.canonical, _hash(s), self.texts)
            for s in self.sealed
        )

    def head(self) -> RunHead:
        """The run's row after the change."""
        run = self.after
        assert run is not None
        return RunHead(
            state=run.state.value,
            steps=len(run.steps),
            steps_done=run.steps_done,
            cost_micros=run.spent.cost_micros,
            needs_driver=bool(actions(run)),
        )

    def workspace(self) -> WorkspaceChange | None:
        """Takes the workspace when the run starts or is reopened, and gives it back when the run has ended."""
        before, after = self.before, self.after
        assert after is not None
        moved = after.head_tree if after.head_tree != (before.head_tree if before else "") else None
        held_before, held = _holds(before), _holds(after)
        if held == held_before and moved is None:
            return None
        hold = "" if held == held_before else held or "release"
        return WorkspaceChange(after.workspace_id, hold=hold, head_to=moved)


def _hash(sealed: Sealed) -> bytes:
    return bytes.fromhex(sealed.digest[7:])


def _holds(run: Run | None) -> Literal["", "take", "wait"]:
    """Whether the run is the workspace's one writer: from its start to its end, and while it undoes something.

    `take`: it is; `wait`: it is in line.
    """
    if run is None:
        return ""
    if run.rollback is not None or run.revert is not None:
        return "take"
    if run.waiting is not None:
        return "wait"
    waiting = (RunState.CREATED, RunState.PLANNED)
    fresh = run.state in waiting or (run.state is RunState.PLANNING and run.cursor == 0)
    return "" if fresh or run.state in RUN_FINAL else "take"
