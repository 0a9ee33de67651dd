"""Runs and steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from interlock.client.connection import Connection
from interlock.v1 import orchestrator_pb2 as pb
from interlock.v1.explain_pb2 import ExplainRunRequest, ExplainRunResponse
from interlock.v1.policy_pb2 import Budget, Policy
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import Step, StepSpec

PLANNING_TIMEOUT = 600.0
"""Seconds a call that asks a model may take."""

_PAGE = 500


def _on_busy(wait: bool) -> pb.OnBusy.ValueType:
    return pb.ON_BUSY_WAIT if wait else pb.ON_BUSY_REFUSE


class RunCalls(Connection):
    """Calls of the orchestrator about runs and their steps. Every mutation gets a `request_id`."""

    async def create_run(
        self,
        goal: str,
        workspace_id: str,
        steps: Iterable[StepSpec] = (),
        *,
        policy: Policy | None = None,
        budget: Budget | None = None,
        labels: Mapping[str, str] | None = None,
        start: bool = False,
        wait_for_workspace: bool = False,
        replay_from: str = "",
        steps_at_a_time: int = 0,
        max_steps: int = 0,
        request_id: str = "",
    ) -> Run:
        """Create a run, with or without steps (at most 10,000), and start it where asked.

        With `replay_from`, the replies recorded for that run answer in place of models.
        With `steps_at_a_time` the model decides on so many at once from the results so far, until the goal is reached
        or there are `max_steps` (0 = 50); `plan_run` gets the first ones.

        While another run has the workspace, the start is refused (WORKSPACE_BUSY), or waits: see `start_run`.
        """
        request = pb.CreateRunRequest(
            request_id=self.request_id(request_id),
            goal=goal,
            workspace_id=workspace_id,
            steps=steps,
            policy=policy,
            budget=budget,
            labels=labels or {},
            start=start,
            on_busy=_on_busy(wait_for_workspace),
            replay_from=replay_from,
            steps_at_a_time=steps_at_a_time,
            max_steps=max_steps,
        )
        return (await self.call(self.orchestrator.CreateRun, request)).run

    async def get_run(self, run_id: str, *, without_steps: bool = False) -> Run:
        """A run; its steps carry the heads of large outputs only."""
        request = pb.GetRunRequest(run_id=run_id, without_steps=without_steps)
        return (await self.call(self.orchestrator.GetRun, request)).run

    async def list_runs(
        self,
        *,
        states: Iterable[int] = (),
        workspace_id: str = "",
        labels: Mapping[str, str] | None = None,
        prefix: str = "",
        limit: int = 100,
    ) -> list[Run]:
        """The newest runs that match, at most `limit`, without their steps. `prefix`: how their ids begin."""
        found: list[Run] = []
        request = pb.ListRunsRequest(workspace_id=workspace_id, labels=labels or {}, run_id_prefix=prefix)
        request.states.extend(states)  # type: ignore[arg-type]  # numbers of RunState
        while len(found) < limit:
            request.page_size = min(_PAGE, limit - len(found))
            page = await self.call(self.orchestrator.ListRuns, request)
            found.extend(page.runs)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def plan_run(
        self, run_id: str, *, additional_context: str = "", max_steps: int = 0, request_id: str = ""
    ) -> Run:
        """Ask the planner for steps towards the run's goal; returns when they are there."""
        request = pb.PlanRunRequest(
            request_id=self.request_id(request_id),
            run_id=run_id,
            additional_context=additional_context,
            max_steps=max_steps,
        )
        return (await self.call(self.orchestrator.PlanRun, request, seconds=PLANNING_TIMEOUT)).run

    async def replan_run(
        self, run_id: str, comment: str = "", *, max_steps: int = 0, request_id: str = ""
    ) -> Run:
        """Have the steps that have not run planned again; those that ended stay. Returns when the new ones are there.

        A PLANNED run stays so; a PAUSED or FAILED one is PAUSED then, so that they can be looked at before
        `resume_run`.
        """
        request = pb.ReplanRunRequest(
            request_id=self.request_id(request_id), run_id=run_id, comment=comment, max_steps=max_steps
        )
        return (await self.call(self.orchestrator.ReplanRun, request, seconds=PLANNING_TIMEOUT)).run

    async def start_run(self, run_id: str, *, wait_for_workspace: bool = False, request_id: str = "") -> Run:
        """Start a planned run. With `wait_for_workspace`, it may come back PLANNED, with `waiting` set.

        Raises WORKSPACE_BUSY, whose metadata names the `holder_run_id`, when it is not to wait.
        """
        request = pb.StartRunRequest(
            request_id=self.request_id(request_id), run_id=run_id, on_busy=_on_busy(wait_for_workspace)
        )
        return (await self.call(self.orchestrator.StartRun, request)).run

    async def execute_next_step(
        self, run_id: str, *, request_id: str = "", seconds: float = 3600.0
    ) -> pb.ExecuteNextStepResponse:
        """Carry out the next step only; returns when it has ended or waits for a decision."""
        request = pb.ExecuteNextStepRequest(request_id=self.request_id(request_id), run_id=run_id)
        return await self.call(self.orchestrator.ExecuteNextStep, request, seconds=seconds)

    async def explain_run(self, run_id: str) -> ExplainRunResponse:
        """What a run waits for, since when, and what can be done."""
        return await self.call(self.orchestrator.ExplainRun, ExplainRunRequest(run_id=run_id))

    async def pause_run(self, run_id: str, comment: str = "", *, request_id: str = "") -> Run:
        """Hold the run after the step that is under way."""
        request = pb.PauseRunRequest(request_id=self.request_id(request_id), run_id=run_id, comment=comment)
        return (await self.call(self.orchestrator.PauseRun, request)).run

    async def resume_run(self, run_id: str, *, request_id: str = "") -> Run:
        """Let a paused run go on."""
        request = pb.ResumeRunRequest(request_id=self.request_id(request_id), run_id=run_id)
        return (await self.call(self.orchestrator.ResumeRun, request)).run

    async def cancel_run(self, run_id: str, comment: str = "", *, request_id: str = "") -> Run:
        """End the run; the step under way is stopped down to its process tree."""
        request = pb.CancelRunRequest(request_id=self.request_id(request_id), run_id=run_id, comment=comment)
        return (await self.call(self.orchestrator.CancelRun, request)).run

    async def rollback_run(
        self,
        run_id: str,
        to_step: int = 0,
        comment: str = "",
        *,
        discard_later_changes: bool = False,
        validate_only: bool = False,
        request_id: str = "",
    ) -> pb.RollbackRunResponse:
        """Put the workspace back to the tree after `to_step`; 0 = before the first step.

        What others did since stays, and where they changed the same it raises REVERT_CONFLICT, whose metadata has the
        `paths`; with `discard_later_changes` it goes. `validate_only` finds out what it would do.
        """
        request = pb.RollbackRunRequest(
            request_id=self.request_id(request_id),
            run_id=run_id,
            to_step=to_step,
            comment=comment,
            discard_later_changes=discard_later_changes,
            validate_only=validate_only,
        )
        return await self.call(self.orchestrator.RollbackRun, request)

    async def revert_step(
        self, run_id: str, step: int, comment: str = "", *, validate_only: bool = False, request_id: str = ""
    ) -> pb.RevertStepResponse:
        """Take one step's effect out of the workspace, and keep what changed since.

        `validate_only` finds out what it would do. Raises REVERT_CONFLICT, whose metadata has the `paths`.
        """
        request = pb.RevertStepRequest(
            request_id=self.request_id(request_id),
            run_id=run_id,
            step=step,
            comment=comment,
            validate_only=validate_only,
        )
        return await self.call(self.orchestrator.RevertStep, request)

    async def set_run_budget(self, run_id: str, budget: Budget, *, request_id: str = "") -> Run:
        """Give a run another budget; one that holds for want of it goes on."""
        request = pb.SetRunBudgetRequest(request_id=self.request_id(request_id), run_id=run_id, budget=budget)
        return (await self.call(self.orchestrator.SetRunBudget, request)).run

    async def set_budget(self, budget: pb.SharedBudget, *, remove: bool = False) -> pb.SetBudgetResponse:
        """Set, or remove, what runs on a workspace, or a caller's of one day, may spend together."""
        request = pb.SetBudgetRequest(budget=budget, remove=remove)
        return await self.call(self.orchestrator.SetBudget, request)

    async def list_budgets(self) -> list[pb.SharedBudget]:
        """Budgets of workspaces and callers, with what is spent of them."""
        return list((await self.call(self.orchestrator.ListBudgets, pb.ListBudgetsRequest())).budgets)

    async def cost_report(
        self, by: Iterable[str] = (), *, since: str = "", until: str = ""
    ) -> pb.GetCostReportResponse:
        """What model calls cost across runs, grouped by `day`, `workspace`, `caller`, `model`, `purpose`."""
        request = pb.GetCostReportRequest(by=by, since=since, until=until)
        return await self.call(self.orchestrator.GetCostReport, request)

    async def get_cost(self, run_id: str) -> pb.GetCostResponse:
        """What the run cost so far, in all and per step that asked a model."""
        return await self.call(self.orchestrator.GetCost, pb.GetCostRequest(run_id=run_id))

    async def add_steps(
        self, run_id: str, steps: Iterable[StepSpec], *, request_id: str = ""
    ) -> pb.AddStepsResponse:
        """Append steps to an open run, or to one of which something was undone."""
        request = pb.AddStepsRequest(request_id=self.request_id(request_id), run_id=run_id, steps=steps)
        return await self.call(self.orchestrator.AddSteps, request)

    async def get_step(self, run_id: str, step: int) -> Step:
        """One step with its outputs as kept."""
        return (await self.call(self.orchestrator.GetStep, pb.GetStepRequest(run_id=run_id, step=step))).step

    async def list_steps(self, run_id: str) -> AsyncIterator[Step]:
        """All steps of a run by number, page by page; large outputs are cut."""
        request = pb.ListStepsRequest(run_id=run_id, page_size=_PAGE)
        while True:
            page = await self.call(self.orchestrator.ListSteps, request)
            for step in page.steps:
                yield step
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def retry_step(self, run_id: str, step: int, *, request_id: str = "") -> Run:
        """Try a FAILED, REJECTED, OUTCOME_UNKNOWN or undone step again."""
        request = pb.RetryStepRequest(request_id=self.request_id(request_id), run_id=run_id, step=step)
        return (await self.call(self.orchestrator.RetryStep, request)).run

    async def skip_step(self, run_id: str, step: int, comment: str = "", *, request_id: str = "") -> Run:
        """Pass over a step that has not taken effect."""
        request = pb.SkipStepRequest(
            request_id=self.request_id(request_id), run_id=run_id, step=step, comment=comment
        )
        return (await self.call(self.orchestrator.SkipStep, request)).run
