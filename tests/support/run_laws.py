"""What must hold of every run after every transaction; each check names the rule it guards."""

from __future__ import annotations

from collections import Counter

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import (
    RUN_FINAL,
    STEP_ACTIVE,
    STEP_FINAL,
    Gate,
    OnFailure,
    PolicyVerdict,
    Prepared,
    Run,
    RunState,
    Spent,
    Step,
    StepKind,
    StepState,
    Verdict,
)
from interlock.orchestrator.domain.transitions import RUN, STEP

Key = tuple[int, int]


class Laws:
    """Watches events as they are appended and states as they are committed."""

    def __init__(self) -> None:
        self.approved: dict[Key, list[str]] = {}
        self.known: dict[Key, Prepared] = {}
        self.proposed: dict[Key, Prepared] = {}
        self.intents: set[Key] = set()
        self.tried: dict[Key, str] = {}
        self.within: dict[Key, str] = {}
        self.executing: set[Key] = set()
        self.discarded: Counter[Key] = Counter()
        self.cancelling = False
        self.calls = 0
        self.single: set[int] | None = None

    def saw(self, before: Run | None, after: Run, event: e.Event) -> None:
        """An event was appended."""
        if before is None:
            return
        self._in_table(before, after, event)
        self._approvals(before, event)
        self._effects(before, after, event)
        self._single_steps(before, event)
        if isinstance(event, e.CancelRequested):
            self.cancelling = True
        if isinstance(event, e.RunReopened):
            assert before.undone, "a run is reopened only after something of it was undone"
            self.cancelling = False
        if self.cancelling:
            forbidden = (
                e.StepApplying,
                e.ApprovalRequested,
                e.StepStarted,
                e.StepExecuting,
                e.PlanningStarted,
            )
            assert not isinstance(event, forbidden), "nothing new begins once a run is being cancelled"
        self.calls += isinstance(event, e.ModelCalled)

    def _in_table(self, before: Run, after: Run, event: e.Event) -> None:
        if event.type in RUN:
            assert after.state in RUN[event.type][before.state]
        else:
            assert after.state is before.state
        if event.step and event.type in STEP:
            old, new = before.steps[event.step - 1], after.steps[event.step - 1]
            assert new.state in STEP[event.type][old.state]
        if isinstance(event, e.RunResumed):
            cursor = before.step(before.cursor)
            assert cursor is None or cursor.state is not StepState.OUTCOME_UNKNOWN, "an unknown outcome holds"
        if isinstance(event, e.StepStarted):
            assert before.state is RunState.RUNNING
            assert all(s.state is not StepState.OUTCOME_UNKNOWN for s in before.steps), (
                "nothing passes it over"
            )

    def _approvals(self, before: Run, event: e.Event) -> None:
        if isinstance(event, e.ApprovalDecided) and event.verdict is Verdict.APPROVE:
            step = before.steps[event.step - 1]
            assert step.approval is not None
            assert step.approval.digest == event.digest
            self._enough_votes(before, event)
            self.approved.setdefault((event.step, step.attempt), []).append(event.digest)

    def _enough_votes(self, before: Run, event: e.ApprovalDecided) -> None:
        """Stages: as many different people as each asks for, each of them named where it names people."""
        step = before.steps[event.step - 1]
        people = [name for vote in step.votes for name in (vote.subject, vote.on_behalf_of) if name]
        assert len(people) == len(set(people)), "a person counts once"
        groups = {group.name: group.subjects for group in before.policy.groups}
        for number, stage in enumerate(before.policy.stages):
            voted = [vote.on_behalf_of or vote.subject for vote in step.votes if vote.stage == number]
            assert len(voted) == stage.quorum, "a stage has its quorum, no less and no more"
            named = {
                person
                for name in stage.approvers
                for person in (groups[name[6:]] if name.startswith("group:") else (name,))
            }
            if step.escalated_at is not None and step.approval is not None:
                named |= set(step.approval.escalate_to) if named else set()
            of_groups = {
                vote.subject
                for vote in step.votes
                if not vote.on_behalf_of and {f"provider:{name}" for name in vote.groups} & named
            }
            assert not named or set(voted) <= named | of_groups
        if before.policy.separate_requester:
            assert event.subject != before.created_by, "who asked does not approve"

    def _effects(self, before: Run, after: Run, event: e.Event) -> None:
        if isinstance(event, e.StepProposed):
            self.proposed[event.step, event.attempt] = event.prepared
        if isinstance(event, e.StepPrepared):
            assert (event.step, event.attempt) not in self.known, "an attempt is computed once"
            self.known[event.step, event.attempt] = event.prepared
        if isinstance(event, e.EnvelopeTried):
            self.tried[event.step, event.attempt] = event.request
        if isinstance(event, e.EnvelopeUsed):
            self.within[event.step, event.attempt] = event.digest
        if isinstance(event, e.StepExecuting):
            self.executing.add((event.step, event.attempt))
        if isinstance(event, e.StepApplying):
            self.intents.add((event.step, event.attempt))
        if isinstance(event, e.EffectDiscarded):
            self.discarded[event.step, event.attempt] += 1
            assert self.discarded[event.step, event.attempt] == 1, "an attempt is thrown away once"
        if isinstance(event, e.StepSucceeded):
            self._bound(before, event.step, event.attempt)

    def _bound(self, run: Run, number: int, attempt: int) -> None:
        """Law 1: what took effect had been approved by its digest, after it was known."""
        step, key = run.steps[number - 1], (number, attempt)
        effect = self.known.get(key)
        if effect is None:
            return
        given = self.approved.get(key, [])
        if step.envelope:
            assert effect.effect_digest == self.within[key], (
                "what is published is what was within the envelope"
            )
            given = [effect.effect_digest, effect.request_digest]
        if key in self.tried:
            assert effect.request_digest == self.tried[key], "what ran is what an envelope was about"
            assert effect.effect_digest in given, (
                "what was only tried is published by a person or an envelope"
            )
        elif step.gate in (Gate.COMMAND, Gate.BOTH):
            assert effect.request_digest in given, "what ran is what was approved"
        # An edit without a change has nothing that could take effect.
        shows = effect.changes_tree or step.spec.kind is not StepKind.EDIT_FILE
        if step.gate in (Gate.EFFECT, Gate.BOTH) and shows and not _by_rule(step):
            assert effect.effect_digest in given, "what was reviewed is what is published"
        if effect.changes_tree:
            assert key in self.intents, "the intent is recorded before the effect"

    def _single_steps(self, before: Run, event: e.Event) -> None:
        if isinstance(event, (e.RunStarted, e.RunResumed)):
            under_way = {before.current.number} if before.current else set()
            self.single = under_way if event.single_step else None
        if isinstance(event, e.StepStarted) and self.single is not None:
            self.single.add(event.step)
            assert len(self.single) == 1, "a single step is one step, with its retries"

    def may_perform(self, run: Run, action: a.Action) -> None:
        """Law 2: what takes effect was recorded before."""
        if isinstance(action, a.Apply):
            key = (action.step, action.attempt)
            assert key in self.intents, "the intent is recorded before the effect"
            step = run.steps[action.step - 1]
            # What a rule lets through has no approval, but for the command where that was asked about.
            by_rule = _by_rule(step) and not step.approved_request
            free = step.gate is Gate.NONE or key in self.within or by_rule
            assert free or action.approved_digest in self.approved.get(key, [])
            assert key not in self.within or action.approved_digest == self.within[key]
            given = action.approved_digest in self.approved.get(key, [])
            assert given if action.approval_id else free, (
                "who names an approval has one, and who has none is free"
            )
        if isinstance(action, a.Prepare) and run.steps[action.step - 1].attempt == action.attempt:
            gate = run.steps[action.step - 1].gate
            key = (action.step, action.attempt)
            if gate in (Gate.COMMAND, Gate.BOTH):
                may = [*self.approved.get(key, []), self.tried.get(key)]
                assert action.expected_request in may
            if key in self.tried:
                assert not run.steps[action.step - 1].spec.input.get("network"), "no network before approval"
            if gate is Gate.EFFECT:
                assert not run.steps[action.step - 1].spec.input.get("network"), "no network before approval"

    def hold(self, run: Run) -> None:
        """A transaction was committed."""
        active = [s for s in run.steps if s.state in STEP_ACTIVE]
        assert len(active) <= 1
        assert run.current == (active[0] if active else None)
        assert run.steps_done == sum(s.state in STEP_FINAL for s in run.steps)
        assert all(s.state is not StepState.PENDING for s in run.steps[: run.scan_from - 1])
        assert len(run.discards) == len(set(run.discards))
        self._costs(run)
        self._final(run)
        self._awaiting(run)
        self._never_stuck(run)

    def _costs(self, run: Run) -> None:
        spent = Spent()
        for call in (*run.model_calls, *(c for s in run.steps for c in s.model_calls)):
            spent = spent.plus(call)
        assert (run.spent.calls, run.spent.cost_micros) == (spent.calls, spent.cost_micros)
        assert run.spent == spent
        assert self.calls == spent.calls, "no call is lost"

    def _final(self, run: Run) -> None:
        if run.state not in RUN_FINAL:
            return
        assert run.current is None, "a final run has no step under way"
        assert not run.cancelling
        assert run.planning is None
        if run.state is not RunState.FAILED:
            assert all(s.state is not StepState.PENDING for s in run.steps)
        if run.state is RunState.COMPLETED:
            # What failed before the last re-plan was dealt with by it.
            failed = [s for s in run.steps[run.settled :] if s.state is StepState.FAILED]
            stopped = [s for s in failed if s.spec.on_failure is OnFailure.STOP]
            assert not stopped, "a step that stopped the run was passed over"
            assert all(s.state is not StepState.OUTCOME_UNKNOWN for s in run.steps)

    def _awaiting(self, run: Run) -> None:
        step = run.current
        open_question = step is not None and step.state is StepState.AWAITING_APPROVAL
        if open_question:
            assert step is not None
            assert step.approval is not None
            assert run.state in (RunState.AWAITING_APPROVAL, RunState.PAUSED)
        assert (run.state is RunState.AWAITING_APPROVAL) <= open_question
        assert not any(s.approval for s in run.steps if s is not step), "only the current step asks"

    def _never_stuck(self, run: Run) -> None:
        todo = [x for x in a.actions(run) if not isinstance(x, a.Due)]
        if run.set_aside is not None:
            assert not todo, "a run that is set aside is left alone"
            return
        if run.state in (RunState.RUNNING, RunState.PLANNING) or run.cancelling:
            assert todo, f"{run.state} and nothing to do"
        if run.state is RunState.PAUSED and run.current is not None and not (run.rollback or run.revert):
            waits = run.current.state in (StepState.AWAITING_APPROVAL, StepState.APPROVED)
            assert waits or todo, f"PAUSED in {run.current.state} and nothing to do"
        if run.state in (RunState.CREATED, RunState.PLANNED):
            assert run.current is None
        assert (run.rollback is not None) == any(isinstance(x, a.Restore) for x in todo)
        assert (run.revert is not None) == any(isinstance(x, a.TakeOut) for x in todo)
        assert run.rollback is None or run.revert is None, "one undo at a time"
        assert (run.waiting is not None) == any(isinstance(x, a.Begin) for x in todo)
        assert run.waiting is None or run.state is RunState.PLANNED, "only what has not started waits"
        assert (run.state is RunState.PLANNING) == any(isinstance(x, a.AskPlan) for x in todo)


def _by_rule(step: Step) -> bool:
    """Whether a named rule has let through what the step did."""
    return step.observed is not None and step.observed.verdict is PolicyVerdict.ALLOW
