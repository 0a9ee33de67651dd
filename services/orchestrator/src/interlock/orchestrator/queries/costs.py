"""Budgets that several runs share, and what model calls cost across runs."""

from __future__ import annotations

from typing import Any

from interlock.orchestrator.commands.set_budget import SCOPES
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import spending
from interlock.v1 import cost_pb2
from interlock.v1 import orchestrator_pb2 as o

_SCOPES = {name: value for value, name in SCOPES.items()}


async def list_budgets(deps: Deps, message: o.ListBudgetsRequest) -> o.ListBudgetsResponse:
    """All budgets of workspaces and callers."""
    response = o.ListBudgetsResponse()
    for scope, key, most, each, by, at, settled, held in await spending.budgets(deps.database):
        found = response.budgets.add(
            scope=_SCOPES[scope],
            key=key,
            max_cost_micros=most,
            unpriced_call_micros=each,
            set_by=by,
            set_at=views.timestamp(at),
        )
        if key != spending.EACH:
            found.spent_micros, found.reserved_micros = int(settled), int(held)
    return response


async def get_cost_report(deps: Deps, message: o.GetCostReportRequest) -> o.GetCostReportResponse:
    """What model calls cost, in groups."""
    by = list(message.by) or ["day"]
    rows = await spending.report(deps.database, by, message.since, message.until)
    response = o.GetCostReportResponse()
    for row in rows:
        values = [str(value) for value in row[: len(by)]]
        response.groups.add(values=values, questions=int(row[len(by)]), cost=_cost(row[len(by) + 1 :]))
    response.total.CopyFrom(_cost([_sum(rows, len(by) + 1 + index) for index in range(5)]))
    return response


def _sum(rows: list[Any], index: int) -> int | None:
    known = [row[index] for row in rows if row[index] is not None]
    return sum(known) if known else None


def _cost(values: Any) -> cost_pb2.Cost:
    calls, unpriced, micros, prompt, completion = (None if each is None else int(each) for each in values)
    return cost_pb2.Cost(
        total=None if micros is None else cost_pb2.Money(micros=micros),
        prompt_tokens=prompt,
        completion_tokens=completion,
        model_calls=calls or 0,
        unpriced_calls=unpriced or 0,
    )
