"""Calls of the planner, on a run's terms."""

from __future__ import annotations

from typing import Any

from interlock.common.client import Channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert import results
from interlock.orchestrator.domain.model import Failure, ModelCall, Run
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.store.records import Payload
from interlock.orchestrator.worker import recorded
from interlock.orchestrator.worker.spending import Spending
from interlock.v1 import planner_pb2_grpc

_PURPOSES = {
    "PlanRequest": frozenset({"plan", "replan"}),
    "ReplanRequest": frozenset({"plan", "replan"}),
    "AnalyzeRequest": frozenset({"analyze"}),
    "SummarizeRequest": frozenset({"summarize"}),
    "DraftEditRequest": frozenset({"draft"}),
}
"""Of which purposes the recorded exchanges are that may answer a request."""


class Asking:
    """The planner; `seconds` bounds one call, with all that the planner makes of it."""

    def __init__(
        self,
        channel: Channel,
        payloads: Payloads,
        book: RunBook,
        spending: Spending,
        seconds: float = 600.0,
    ) -> None:
        self.stub = planner_pb2_grpc.PlannerStub(channel)
        self._payloads = payloads
        self._book = book
        self._spending = spending
        self._seconds = seconds

    async def call(self, method: Any, request: Any, run: Run, step: int) -> Any:
        """Asks the planner on the run's terms: a failed question comes back as data, with what was paid for.

        `step` is 0 for the run's plan. Raises BudgetReachedError,
        QuestionFailedError, PLANNER_UNAVAILABLE, MODEL_TIMEOUT.
        """
        request.terms.failure_as_data = True
        if run.replay_from:
            purposes = _PURPOSES[type(request).__name__]
            found = await recorded.record(self._book, self._payloads, run, step, purposes)
            request.terms.record.CopyFrom(found)
            response = await self._answer(method, request)
        else:
            response = await self._spending.ask(run, step, request, lambda: self._answer(method, request))
        if response.HasField("failure"):
            raise QuestionFailedError(results.failure(response.failure), *results.calls(response.exchanges))
        return response

    async def _answer(self, method: Any, request: Any) -> Any:
        try:
            with rpc_errors("planner"):
                return await method(request, timeout=self._seconds)
        except InterlockError as error:
            raise _failed(error, self._seconds) from None


class QuestionFailedError(InterlockError):
    """A question that failed in the end, with the model calls that were made for it."""

    def __init__(self, failure: Failure, calls: list[ModelCall], payloads: list[Payload]) -> None:
        super().__init__(
            Reason(failure.reason),
            failure.message,
            field=failure.field,
            fix=failure.fix,
            metadata={name: str(value) for name, value in failure.metadata.items()},
        )
        self.calls = calls
        self.payloads = payloads


def _failed(error: InterlockError, seconds: float) -> InterlockError:
    """What a planner that did not answer means: one that is away is asked again, one that was too slow is not.

    A model that was asked may have to be paid for, whoever gave up waiting; so a person says whether to ask again.
    """
    if error.reason is Reason.UNAVAILABLE:
        text = "The planner cannot be reached."
        return InterlockError(Reason.PLANNER_UNAVAILABLE, text, metadata=error.metadata)
    if error.reason is Reason.DEADLINE_EXCEEDED:
        return InterlockError(
            Reason.MODEL_TIMEOUT,
            f"The planner did not answer within {seconds:g} s.",
            fix="Try it again, or give it longer: INTERLOCK_MODEL_CALL_SECONDS.",
            metadata=error.metadata,
        )
    return error
