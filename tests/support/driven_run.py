"""One run driven as the orchestrator drives it: decide, seal, evolve, advance, act; checked after every transaction."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.executor_double import Executor, Result, call, digest, error
from tests.support.run_laws import Laws

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_approval, decide_plan, decide_run, decide_step, undo
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.advance import budget_left
from interlock.orchestrator.domain.chain import parse_time, seal
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.early import follow
from interlock.orchestrator.domain.envelopes import Observed
from interlock.orchestrator.domain.evolve import Recorded, evolve, fold
from interlock.orchestrator.domain.model import (
    ZERO_DIGEST,
    Budget,
    Gate,
    Policy,
    Run,
    RunState,
    Step,
    StepKind,
    StepSpec,
    Verdict,
)

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MOST_FOLLOWING = 20_100


def spec(kind: str = "run_command", gate: str | None = None, **fields: Any) -> StepSpec:
    """A step's spec; `fields` other than StepSpec's are its input."""
    defaults: dict[str, dict[str, Any]] = {
        "read_file": {"path": "a.txt"},
        "analyze": {"instruction": "look"},
        "summarize": {},
        "edit_file": {"path": "a.txt", "new_content": "x"},
        "run_command": {"command": "make"},
    }
    known = {k: fields.pop(k) for k in ("name", "retries", "on_failure") if k in fields}
    chosen = Gate(gate) if gate else None
    return StepSpec(StepKind(kind), fields or defaults[kind], gate=chosen, **known)


def drafted(**fields: Any) -> StepSpec:
    """An edit whose content a model writes."""
    return spec("edit_file", path="a.txt", instruction="improve it", **fields)


@dataclass(frozen=True)
class Stored:
    """An event as the journal has it."""

    recorded: Recorded
    canonical: bytes


class DrivenRun:
    """The run, its journal, the executor, and the actions in flight with the results that wait for delivery."""

    def __init__(
        self,
        specs: Sequence[StepSpec] = (),
        *,
        policy: Policy | None = None,
        budget: Budget | None = None,
        start: bool = False,
        steps_at_a_time: int = 0,
        most_steps: int = 0,
    ) -> None:
        self.now = START
        self._ids = itertools.count(1)
        self.executor = Executor()
        self.seen = Observed(complete=False)
        self.journal: list[Stored] = []
        self.laws = Laws()
        self._run: Run | None = None
        self._replayed: Run | None = None
        self.tx(
            decide_run.create(
                self.ctx(),
                goal="g",
                workspace_id="ws-1",
                specs=specs,
                policy=policy,
                budget=budget,
                start=start,
                steps_at_a_time=steps_at_a_time,
                most_steps=most_steps,
            )
        )

    # -- driving ----------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        assert self._run is not None
        return self._run

    def ctx(self, subject: str = "ann") -> Context:
        return Context(self.now, lambda prefix: f"{prefix}-{next(self._ids)}", subject)

    def tx(self, events: Sequence[e.Event]) -> list[e.Event]:
        """One transaction: the events, then all that follows by itself. Everything is checked after it."""
        self.now += timedelta(milliseconds=7)
        written = [*events]
        before = a.actions(self._run) if self._run else ()
        for event in events:
            self._append(event)
        if events:
            for _ in range(MOST_FOLLOWING):
                following = follow(self.run, self.now)
                if not following:
                    break
                for event in following:
                    self._append(event)
                written += following
            else:
                raise AssertionError("advance does not come to an end")
        self._check(before)
        return written

    def _append(self, event: e.Event) -> None:
        run = self._run
        seq, prev = (run.seq + 1, run.head) if run else (1, ZERO_DIGEST)
        sealed = seal("run-1", seq, prev, self.now, event.type, event.step, e.encode(event))
        self._run = evolve(run, Recorded("run-1", seq, self.now, event, sealed.digest))
        data = json.loads(sealed.canonical)
        assert data["prev"] == prev
        again = e.decode(data["type"], data["step"], data["data"])
        assert again == event, "an event reads back as what was written"
        stored = Recorded("run-1", seq, parse_time(data["at"]), again, sealed.digest)
        self.journal.append(Stored(stored, sealed.canonical))
        self._replayed = evolve(self._replayed, stored)
        self.laws.saw(run, self._run, event)

    def _check(self, before: tuple[a.Action, ...]) -> None:
        assert self._replayed == self._run, "folding the journal gives the state"
        self.laws.hold(self.run)
        models = (a.AskPlan, a.AskModel, a.Draft)
        fresh = [x for x in a.actions(self.run) if isinstance(x, models) and x not in before]
        assert not fresh or budget_left(self.run), "no model is asked beyond the budget"

    def crash(self) -> None:
        """The process dies; another one folds the journal."""
        self._run = fold(stored.recorded for stored in self.journal)
        assert self._run == self._replayed

    # -- people -----------------------------------------------------------------------------------------------

    def decide(self, verdict: str = "approve", **fields: Any) -> list[e.Event]:
        """Answers the open approval about what it shows."""
        step = self.current
        assert step.approval is not None
        digest_seen = fields.pop("digest", step.approval.digest)
        subject = fields.pop("by", "bob")
        decision = decide_approval.Decision(Verdict(verdict), digest_seen, subject, **fields)
        return self.tx(decide_approval.decide(self.run, self.ctx(), step.approval.approval_id, decision))

    def edit(self, **fields: Any) -> list[e.Event]:
        """Replaces the input of the step that waits."""
        return self.decide("edit", kind=self.current.spec.kind, input=fields)

    def command(self, name: str, *args: Any, **kwargs: Any) -> list[e.Event]:
        """A command of `decide_run`, `decide_plan` or `undo` by name."""
        homes = (decide_run, decide_plan, undo)
        decide = next(getattr(home, name) for home in homes if hasattr(home, name))
        return self.tx(decide(self.run, self.ctx(), *args, **kwargs))

    # -- the outside ------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> tuple[a.Action, ...]:
        return a.actions(self.run)

    def action(self, kind: type[a.Action]) -> Any:
        """The one action of this kind that the state wants."""
        (found,) = (x for x in self.wanted if isinstance(x, kind))
        return found

    def perform(self, action: a.Action, outcome: str = "changed", *, disjoint: bool = True) -> Result:
        """Carries an action out; nothing is recorded before `deliver`. Checks that the intent is in the journal."""
        self.laws.may_perform(self.run, action)
        if isinstance(action, a.Propose):
            return self.executor.propose(self.run, action)
        if isinstance(action, a.Prepare):
            return self.executor.prepare(self.run, action, outcome)
        if isinstance(action, a.Apply):
            return self.executor.apply(self.run, action, disjoint)
        if isinstance(action, a.Discard):
            return self.executor.discard(action)
        if isinstance(action, a.Restore):
            return self.executor.restore(action)
        if isinstance(action, a.TakeOut):
            return self.executor.take_out(action, conflict=outcome == "failed")
        if isinstance(action, a.Begin):
            return "ok", None
        if outcome == "failed":
            return error("MODEL_UNAVAILABLE")
        return "ok", digest("text", repr(action))

    def deliver(self, action: a.Action, result: Result, cost: int | None = 5) -> list[e.Event]:
        """Tells the state machine what came of an action."""
        return self.tx(self.outcome(action, result, cost))

    def outcome(self, action: a.Action, result: Result, cost: int | None = 5) -> list[e.Event]:
        kind, value = result
        run, ctx = self.run, self.ctx()
        if isinstance(action, a.AskPlan):
            calls = [call("plan", cost)]
            if kind == "error":
                return decide_run.planning_failed(run, ctx, value, calls, planning=action.planning)
            planned = value if isinstance(value, list) else [spec(), spec("read_file")]
            return decide_run.planned(run, ctx, planned, calls, planning=action.planning)
        if isinstance(action, (a.Restore, a.TakeOut)):
            return self._undone(action, kind, value)
        if isinstance(action, a.Begin):
            return decide_run.begin(run, ctx)
        assert isinstance(action, a.StepAction)
        at = (run, ctx, action.step, action.attempt)
        if isinstance(action, a.Due):
            return decide_approval.due(run, ctx, action.approval_id)
        if isinstance(action, a.Discard):
            return decide_step.discarded(*at)
        models = isinstance(action, (a.AskModel, a.Draft))
        calls = [call("analyze", cost)] if models else []
        if kind == "error":
            return decide_step.action_failed(*at, value, calls)
        if isinstance(action, a.AskModel):
            return decide_step.replied(*at, value, calls)
        if isinstance(action, a.Draft):
            return decide_step.drafted(*at, value, calls)
        if isinstance(action, a.Propose):
            return decide_step.proposed(*at, value)
        if isinstance(action, a.Prepare):
            return decide_step.prepared(*at, *value, seen=self.seen)
        assert isinstance(action, a.Apply)
        return decide_step.applied(*at, value[0], merged=value[1])

    def _undone(self, action: a.Restore | a.TakeOut, kind: str, value: Any) -> list[e.Event]:
        at = (self.run, self.ctx(), action.operation_id)
        if isinstance(action, a.Restore):
            return undo.rollback_failed(*at, value) if kind == "error" else undo.rolled_back(*at, *value)
        return undo.revert_failed(*at, value) if kind == "error" else undo.reverted(*at, *value, merged=True)

    def act(self, kind: type[a.Action], outcome: str = "changed", **options: Any) -> list[e.Event]:
        """Performs the one action of this kind and delivers its result."""
        action = self.action(kind)
        return self.deliver(action, self.perform(action, outcome, **options))

    def settle(self, outcome: str = "changed") -> None:
        """Performs everything that needs nobody, until there is nothing left but timers."""
        for _ in range(10_000):
            todo = [x for x in self.wanted if not isinstance(x, a.Due)]
            if not todo:
                return
            self.deliver(todo[0], self.perform(todo[0], outcome))
        raise AssertionError("the run never comes to rest")

    # -- looking ----------------------------------------------------------------------------------------------

    @property
    def current(self) -> Step:
        step = self.run.current
        assert step is not None
        return step

    def states(self) -> list[str]:
        """The states of the steps."""
        return [step.state.value for step in self.run.steps]

    def types(self) -> list[str]:
        """The types of all events."""
        return [stored.recorded.event.type for stored in self.journal]

    def is_final(self) -> bool:
        return self.run.state in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)
