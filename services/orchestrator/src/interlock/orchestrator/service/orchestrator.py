"""The Orchestrator service: each handler calls one use case. Validation, credentials and errors are interceptors'."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from interlock.orchestrator.commands import envelopes, set_budget
from interlock.orchestrator.commands.archive_run import archive_run
from interlock.orchestrator.commands.collect_storage import collect_storage
from interlock.orchestrator.commands.create_run import create_run
from interlock.orchestrator.commands.erase import erase
from interlock.orchestrator.commands.execute_next import execute_next
from interlock.orchestrator.commands.fork_run import fork_run
from interlock.orchestrator.commands.mutate import mutate
from interlock.orchestrator.commands.plan_run import plan_run, replan_run
from interlock.orchestrator.commands.record_decision import record_decision
from interlock.orchestrator.commands.remove_workspace import remove_workspace
from interlock.orchestrator.commands.revert_step import revert_step
from interlock.orchestrator.commands.rollback_run import rollback_run
from interlock.orchestrator.commands.start_run import start_run
from interlock.orchestrator.convert import inputs, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.queries import (
    anchors,
    approvals,
    backtest,
    bundle,
    compare,
    costs,
    explain,
    journal,
    policy,
    runs,
    watch,
)
from interlock.orchestrator.queries.replay.steps import replay
from interlock.v1 import envelope_pb2, explain_pb2, fork_pb2, orchestrator_pb2_grpc, replay_pb2, rules_pb2
from interlock.v1 import orchestrator_pb2 as o


class OrchestratorService(orchestrator_pb2_grpc.OrchestratorServicer):
    """Handlers of interlock.v1.Orchestrator."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def CreateRun(self, request: o.CreateRunRequest, context: Any) -> o.CreateRunResponse:
        return await create_run(self._deps, request)

    async def GetRun(self, request: o.GetRunRequest, context: Any) -> o.GetRunResponse:
        return await runs.get_run(self._deps, request)

    async def ListRuns(self, request: o.ListRunsRequest, context: Any) -> o.ListRunsResponse:
        return await runs.list_runs(self._deps, request)

    async def GetStep(self, request: o.GetStepRequest, context: Any) -> o.GetStepResponse:
        return await runs.get_step(self._deps, request)

    async def ListSteps(self, request: o.ListStepsRequest, context: Any) -> o.ListStepsResponse:
        return await runs.list_steps(self._deps, request)

    async def AddSteps(self, request: o.AddStepsRequest, context: Any) -> o.AddStepsResponse:
        specs, payloads = inputs.specs(request.steps)
        return await mutate(
            self._deps,
            request,
            lambda run, ctx: decide_run.add_steps(run, ctx, specs),
            lambda run: o.AddStepsResponse(run=views.run(run), first_step=len(run.steps) - len(specs) + 1),
            payloads,
        )

    async def PlanRun(self, request: o.PlanRunRequest, context: Any) -> o.PlanRunResponse:
        return await plan_run(self._deps, request)

    async def ReplanRun(self, request: o.ReplanRunRequest, context: Any) -> o.ReplanRunResponse:
        return await replan_run(self._deps, request)

    async def StartRun(self, request: o.StartRunRequest, context: Any) -> o.StartRunResponse:
        return await start_run(self._deps, request)

    async def ExecuteNextStep(
        self, request: o.ExecuteNextStepRequest, context: Any
    ) -> o.ExecuteNextStepResponse:
        return await execute_next(self._deps, request)

    async def PauseRun(self, request: o.PauseRunRequest, context: Any) -> o.PauseRunResponse:
        return await mutate(
            self._deps,
            request,
            lambda run, ctx: decide_run.pause(run, ctx, request.comment),
            lambda run: o.PauseRunResponse(run=views.run(run)),
        )

    async def ResumeRun(self, request: o.ResumeRunRequest, context: Any) -> o.ResumeRunResponse:
        return await mutate(
            self._deps, request, decide_run.resume, lambda run: o.ResumeRunResponse(run=views.run(run))
        )

    async def CancelRun(self, request: o.CancelRunRequest, context: Any) -> o.CancelRunResponse:
        return await mutate(
            self._deps,
            request,
            lambda run, ctx: decide_run.cancel(run, ctx, request.comment),
            lambda run: o.CancelRunResponse(run=views.run(run)),
        )

    async def RetryStep(self, request: o.RetryStepRequest, context: Any) -> o.RetryStepResponse:
        return await mutate(
            self._deps,
            request,
            lambda run, ctx: decide_run.retry_step(run, ctx, request.step),
            lambda run: o.RetryStepResponse(run=views.run(run)),
        )

    async def SkipStep(self, request: o.SkipStepRequest, context: Any) -> o.SkipStepResponse:
        return await mutate(
            self._deps,
            request,
            lambda run, ctx: decide_run.skip_step(run, ctx, request.step, request.comment),
            lambda run: o.SkipStepResponse(run=views.run(run)),
        )

    async def GrantEnvelope(
        self, request: envelope_pb2.GrantEnvelopeRequest, context: Any
    ) -> envelope_pb2.GrantEnvelopeResponse:
        return await envelopes.grant(self._deps, request)

    async def RevokeEnvelope(
        self, request: envelope_pb2.RevokeEnvelopeRequest, context: Any
    ) -> envelope_pb2.RevokeEnvelopeResponse:
        return await envelopes.revoke(self._deps, request)

    async def WatchRun(self, request: o.WatchRunRequest, context: Any) -> AsyncIterator[o.WatchRunResponse]:
        async with aclosing(watch.watch(self._deps, request)) as responses:
            async for response in responses:
                yield response

    async def ListEvents(self, request: o.ListEventsRequest, context: Any) -> o.ListEventsResponse:
        return await journal.list_events(self._deps, request)

    async def ExportJournal(
        self, request: o.ExportJournalRequest, context: Any
    ) -> AsyncIterator[o.ExportJournalResponse]:
        async with aclosing(bundle.export(self._deps, request)) as responses:
            async for response in responses:
                yield response

    async def ArchiveRun(self, request: o.ArchiveRunRequest, context: Any) -> o.ArchiveRunResponse:
        return await archive_run(self._deps, request)

    async def ReplayRun(
        self, request: replay_pb2.ReplayRunRequest, context: Any
    ) -> AsyncIterator[replay_pb2.ReplayRunResponse]:
        async with aclosing(replay(self._deps, request)) as steps:
            async for step in steps:
                yield step

    async def EraseFromRun(self, request: o.EraseFromRunRequest, context: Any) -> o.EraseFromRunResponse:
        return await erase(self._deps, request)

    async def ListAnchors(self, request: o.ListAnchorsRequest, context: Any) -> o.ListAnchorsResponse:
        return await anchors.list_anchors(self._deps, request)

    async def ExplainRun(
        self, request: explain_pb2.ExplainRunRequest, context: Any
    ) -> explain_pb2.ExplainRunResponse:
        return await explain.explain_run(self._deps, request)

    async def SetRunBudget(self, request: o.SetRunBudgetRequest, context: Any) -> o.SetRunBudgetResponse:
        return await set_budget.set_run_budget(self._deps, request)

    async def SetBudget(self, request: o.SetBudgetRequest, context: Any) -> o.SetBudgetResponse:
        return await set_budget.set_budget(self._deps, request)

    async def ListBudgets(self, request: o.ListBudgetsRequest, context: Any) -> o.ListBudgetsResponse:
        return await costs.list_budgets(self._deps, request)

    async def GetCostReport(self, request: o.GetCostReportRequest, context: Any) -> o.GetCostReportResponse:
        return await costs.get_cost_report(self._deps, request)

    async def GetCost(self, request: o.GetCostRequest, context: Any) -> o.GetCostResponse:
        return await runs.get_cost(self._deps, request)

    async def RollbackRun(self, request: o.RollbackRunRequest, context: Any) -> o.RollbackRunResponse:
        return await rollback_run(self._deps, request)

    async def RevertStep(self, request: o.RevertStepRequest, context: Any) -> o.RevertStepResponse:
        return await revert_step(self._deps, request)

    async def ForkRun(self, request: fork_pb2.ForkRunRequest, context: Any) -> fork_pb2.ForkRunResponse:
        return await fork_run(self._deps, request)

    async def CompareRuns(
        self, request: fork_pb2.CompareRunsRequest, context: Any
    ) -> fork_pb2.CompareRunsResponse:
        return await compare.compare_runs(self._deps, request)

    async def CollectStorage(
        self, request: o.CollectStorageRequest, context: Any
    ) -> o.CollectStorageResponse:
        return await collect_storage(self._deps, request)

    async def RemoveWorkspace(
        self, request: o.RemoveWorkspaceRequest, context: Any
    ) -> o.RemoveWorkspaceResponse:
        return await remove_workspace(self._deps, request)

    async def GetPolicy(
        self, request: rules_pb2.GetPolicyRequest, context: Any
    ) -> rules_pb2.GetPolicyResponse:
        return await policy.get_policy(self._deps, request)

    async def BacktestPolicy(
        self, request: rules_pb2.BacktestPolicyRequest, context: Any
    ) -> AsyncIterator[rules_pb2.BacktestPolicyResponse]:
        async with aclosing(backtest.backtest(self._deps, request)) as responses:
            async for response in responses:
                yield response

    async def RecordDecision(
        self, request: o.RecordDecisionRequest, context: Any
    ) -> o.RecordDecisionResponse:
        return await record_decision(self._deps, request)

    async def GetApprovalRecord(
        self, request: o.GetApprovalRecordRequest, context: Any
    ) -> o.GetApprovalRecordResponse:
        return await approvals.get_record(self._deps, request)

    async def ListApprovalRecords(
        self, request: o.ListApprovalRecordsRequest, context: Any
    ) -> o.ListApprovalRecordsResponse:
        return await approvals.list_records(self._deps, request)

    async def WatchApprovals(
        self, request: o.WatchApprovalsRequest, context: Any
    ) -> AsyncIterator[o.WatchApprovalsResponse]:
        async with aclosing(approvals.watch(self._deps, request)) as responses:
            async for response in responses:
                yield response
