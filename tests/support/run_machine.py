"""A run under everything that can happen to it, in any order: the laws hold after every transaction.

People command and decide, the executor and the planner answer late, twice or not at all, files change under
the previews, the process dies and folds the journal. `tests/support/run_laws.py` says what must hold.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.driven_run import DrivenRun, drafted, spec
from tests.support.executor_double import Result

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.advance import next_pending
from interlock.orchestrator.domain.effects import in_place, undone
from interlock.orchestrator.domain.model import (
    Budget,
    Gate,
    OnFailure,
    Policy,
    RejectAction,
    RunState,
    StepKind,
    StepState,
)

_GATE = st.sampled_from([None, "none", "command", "effect", "both"])
_OPTIONS: dict[str, Any] = {
    "retries": st.integers(0, 2),
    "on_failure": st.sampled_from(list(OnFailure)),
}
_SPEC = st.one_of(
    st.builds(spec, st.sampled_from(["read_file", "analyze", "summarize"]), **_OPTIONS),
    st.builds(spec, st.sampled_from(["edit_file", "run_command"]), _GATE, **_OPTIONS),
    st.builds(drafted, gate=_GATE, **_OPTIONS),
    st.builds(
        lambda gate, **options: spec("run_command", gate, command="x", network=["h:1"], **options),
        _GATE,
        **_OPTIONS,
    ),
)
_OUTCOME = st.sampled_from(
    ["changed"] * 6
    + ["unchanged", "failed", "failed", "unknown", "WORKSPACE_DRIFTED", "PATH_NOT_FOUND", "PLAN_INVALID"]
)
_VERDICT = st.sampled_from(["approve"] * 4 + ["reject", "reject", "skip", "edit", "edit"])
_ACTION = st.sampled_from(list(RejectAction))
_EDIT: dict[StepKind, list[dict[str, Any]]] = {
    StepKind.EDIT_FILE: [{"path": "b", "new_content": "y"}, {"path": "b", "instruction": "z"}],
    StepKind.RUN_COMMAND: [{"command": "y"}, {"command": "y", "network": ["h:2"]}],
}


class RunMachine(RuleBasedStateMachine):
    """Commands that a state refuses change nothing; everything else is checked by `DrivenRun.tx`."""

    @initialize(
        specs=st.lists(_SPEC, max_size=6),
        policy=st.builds(
            Policy,
            edit_file_gate=st.sampled_from(list(Gate)),
            run_command_gate=st.sampled_from(list(Gate)),
            steps_may_weaken=st.just(True),
            approval_timeout_us=st.sampled_from([None, 60_000_000]),
        ),
        budget=st.sampled_from([Budget(), Budget(), Budget(0, 3), Budget(12, 0)]),
        start=st.sampled_from([True, True, True, False]),
        few=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def create(self, specs: list[Any], policy: Policy, budget: Budget, start: bool, few: int) -> None:
        self.run = DrivenRun(
            specs,
            policy=policy,
            budget=budget,
            start=start and bool(specs),
            steps_at_a_time=few,
            most_steps=8,
        )
        self.in_flight: dict[a.Action, Result | None] = {}
        self.delivered: list[tuple[a.Action, Result]] = []
        self.dispatch()

    def dispatch(self) -> None:
        for action in self.run.wanted:
            self.in_flight.setdefault(action, None)

    def attempt(self, name: str, *args: Any, **kwargs: Any) -> None:
        before = self.run.run
        try:
            self.run.command(name, *args, **kwargs)
        except InterlockError:
            unchanged = self.run.run is before
            assert unchanged
        self.dispatch()

    # -- people -----------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(
            ["start", "start", "plan", "pause", "resume", "resume", "execute_next", "replan"]
        )
    )
    def command(self, name: str) -> None:
        self.attempt(name)

    @rule()
    def wait_to_start(self) -> None:
        self.attempt("wait_to_start", "run-0")

    @rule(sure=st.integers(0, 6))
    def cancel(self, sure: int) -> None:
        if sure == 6:
            self.attempt("cancel")

    @rule(specs=st.lists(_SPEC, min_size=1, max_size=2))
    def add_steps(self, specs: list[Any]) -> None:
        if len(self.run.run.steps) < 12:
            self.attempt("add_steps", specs)

    @rule(name=st.sampled_from(["retry_step", "retry_step", "skip_step"]), pick=st.integers(0, 11))
    def amend(self, name: str, pick: int) -> None:
        stuck = {StepState.FAILED, StepState.REJECTED, StepState.OUTCOME_UNKNOWN, StepState.AWAITING_APPROVAL}
        numbers = [s.number for s in self.run.run.steps if s.state in stuck] or [pick + 1]
        self.attempt(name, numbers[pick % len(numbers)])

    @rule(to_step=st.integers(0, 5))
    def roll_back(self, to_step: int) -> None:
        self.attempt("roll_back", to_step=min(to_step, len(self.run.run.steps)))

    @rule(pick=st.integers(0, 5))
    def revert(self, pick: int) -> None:
        there = [s.number for s in self.run.run.steps if in_place(s.effects)] or [1]
        self.attempt("revert_step", there[pick % len(there)])

    @rule(pick=st.integers(0, 5))
    def redo(self, pick: int) -> None:
        gone = [s.number for s in self.run.run.steps if undone(s.effects)]
        if gone:
            self.attempt("retry_step", gone[pick % len(gone)])

    @rule(
        verdict=_VERDICT,
        action=_ACTION,
        pick=st.integers(0, 1),
        seen=st.sampled_from([None, None, None, "sha256:" + "1" * 64]),
    )
    def decide(self, verdict: str, action: RejectAction, pick: int, seen: str | None) -> None:
        step = self.run.run.current
        if step is None or step.approval is None:
            return
        fields: dict[str, Any] = {"action": action, "kind": step.spec.kind}
        if verdict == "edit":
            fields["input"] = _EDIT[step.spec.kind][pick]
        if seen:
            fields["digest"] = seen
        before = self.run.run
        try:
            self.run.decide(verdict, **fields)
        except InterlockError:
            assert self.run.run is before
        else:
            assert seen is None, "a decision about another digest counts"
        self.dispatch()

    @rule(seconds=st.sampled_from([1, 61]))
    def time_passes(self, seconds: int) -> None:
        self.run.now += timedelta(seconds=seconds)

    @rule()
    def someone_edits_the_directory(self) -> None:
        self.run.executor.drift()

    @rule(step=st.integers(1, 3), attempt=st.integers(1, 3))
    def someone_plants_an_effect(self, step: int, attempt: int) -> None:
        self.run.executor.plant(step, attempt)

    # -- the executor and the planner -------------------------------------------------------------------------

    @rule(pick=st.integers(0, 5), outcome=_OUTCOME, disjoint=st.booleans())
    def perform(self, pick: int, outcome: str, disjoint: bool) -> None:
        """The work is done outside; its result is still on its way."""
        waiting = [x for x, result in self.in_flight.items() if result is None]
        if waiting:
            action = waiting[pick % len(waiting)]
            self.in_flight[action] = self._result(action, outcome, disjoint)

    def _result(self, action: a.Action, outcome: str, disjoint: bool) -> Result:
        if isinstance(action, a.AskPlan) and outcome == "unchanged":
            return "ok", []
        return self.run.perform(action, outcome, disjoint=disjoint)

    @rule(pick=st.integers(0, 5), cost=st.sampled_from([None, 0, 5]))
    def deliver(self, pick: int, cost: int | None) -> None:
        ready = [x for x, result in self.in_flight.items() if result is not None]
        if ready:
            action = ready[pick % len(ready)]
            result = self.in_flight.pop(action)
            assert result is not None
            self.delivered.append((action, result))
            self.run.deliver(action, result, cost)
            self.dispatch()

    @rule(pick=st.integers(0, 3), outcomes=st.lists(_OUTCOME, min_size=1, max_size=6))
    def work(self, pick: int, outcomes: list[str]) -> None:
        """Time goes by with nothing unusual."""
        for outcome in outcomes:
            self.perform(pick, outcome, disjoint=True)
            self.deliver(pick, 5)

    @rule(outcomes=st.lists(_OUTCOME, min_size=1, max_size=8), verdict=_VERDICT, action=_ACTION)
    def work_and_decide(self, outcomes: list[str], verdict: str, action: RejectAction) -> None:
        for outcome in outcomes:
            self.perform(0, outcome, disjoint=True)
            self.deliver(0, 5)
            if self.run.run.state is RunState.AWAITING_APPROVAL:
                self.decide(verdict, action, len(outcomes) % 2, None)
                verdict = "approve"

    @rule(pick=st.integers(0, 30))
    def deliver_again(self, pick: int) -> None:
        """A result that arrives a second time, however late, changes nothing but what models cost."""
        done = [(x, r) for x, r in self.delivered if x not in self.run.wanted]
        if done:
            events = self.run.deliver(*done[pick % len(done)])
            assert {event.type for event in events} <= {"model.called"}
            self.dispatch()

    @rule()
    def crash(self) -> None:
        """What was done stays done; what was on its way is lost; a new process asks again."""
        self.run.crash()
        self.in_flight.clear()
        self.dispatch()

    @invariant()
    def the_journal_knows_which_effects_are_in_the_workspace(self) -> None:
        """Whatever was published, rolled back, reverted and done again: as the executor's trees have it."""
        run = self.run.run
        known = (in_place(step.effects) for step in run.steps)
        told = {(effect.base_tree, effect.result_tree) for effect in known if effect}
        recorded = run.head_tree in (self.run.executor.head, "")
        settled = run.rollback is None and run.revert is None and run.current is None
        if recorded and settled:
            assert told == self.run.executor.present()

    @invariant()
    def abandoned_effects_are_thrown_away(self) -> None:
        run = self.run.run
        for key in self.run.executor.kept():
            step = run.steps[key[0] - 1]
            under_way = step.attempt == key[1] and step.state in (
                StepState.PREPARING,
                StepState.AWAITING_APPROVAL,
                StepState.APPROVED,
                StepState.APPLYING,
                StepState.OUTCOME_UNKNOWN,
            )
            assert under_way or key in run.discards, f"nobody will throw away {key}"

    def teardown(self) -> None:
        """From wherever it is, people and a working executor bring the run to an end, and nothing is left over."""
        if not hasattr(self, "run"):
            return
        driven = self.run
        driven.crash()
        if driven.run.seq % 4 == 0 or driven.run.state in (RunState.CREATED, RunState.PLANNED):
            self._cancel_it()
        else:
            self._finish_it()
        driven.settle()
        assert driven.is_final()
        assert driven.wanted == ()
        assert driven.executor.kept() == []
        unknown = [s for s in driven.run.steps if s.state is StepState.OUTCOME_UNKNOWN]
        assert not unknown or driven.run.state is RunState.CANCELLED

    def _cancel_it(self) -> None:
        if not self.run.is_final() and not self.run.run.cancelling:
            self.run.command("cancel")

    def _finish_it(self) -> None:
        for _ in range(200):
            self.run.settle()
            run = self.run.run
            if self.run.is_final() and run.state is not RunState.FAILED:
                return
            step = run.step(run.cursor)
            if step is not None and step.approval is not None:
                if run.state is RunState.PAUSED:
                    self.run.command("resume")
                self._answer(step.approval.expires_at)
            elif run.state is RunState.FAILED or (step and step.state is StepState.OUTCOME_UNKNOWN):
                assert step is not None
                self.run.command("skip_step", step.number)
            elif run.state is RunState.PAUSED and run.steps_at_a_time and next_pending(run) is None:
                self._end()
            elif run.state is RunState.PAUSED:
                self._resume()
            else:
                self.run.command("start")
        raise AssertionError("people cannot bring the run to an end")

    def _answer(self, expires_at: str) -> None:
        try:
            self.run.decide("approve")
        except InterlockError as late:
            if late.reason is not Reason.APPROVAL_EXPIRED:
                raise
            self.run.act(a.Due)

    def _end(self) -> None:
        """The model would decide on more steps; it is not asked."""
        self._resume("execute_next")

    def _resume(self, how: str = "resume") -> None:
        try:
            self.run.command(how)
        except InterlockError as refused:
            if refused.reason is Reason.RUN_WRONG_STATE and "step" in refused.metadata:
                # It had failed when the run was cancelled: the refusal says which one to decide about first.
                self.run.command("skip_step", int(refused.metadata["step"]))
                return
            if refused.reason is not Reason.RUN_BUDGET_REACHED:
                raise
            pending = next(s for s in self.run.run.steps if s.state is StepState.PENDING)
            self.run.command("skip_step", pending.number)
