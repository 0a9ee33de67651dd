"""What `interlock budget` and `interlock cost` do."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from interlock.cli.beginnings import find_run, whole_workspace_id
from interlock.cli.output import progress, show_list, show_one, write_fields, write_table
from interlock.cli.settings import Settings
from interlock.cli.show.runs import show_run
from interlock.cli.text import cost_text, enum_text, money_text, time_text
from interlock.cli.values import bad_value
from interlock.client import Client
from interlock.v1 import orchestrator_pb2 as pb
from interlock.v1.policy_pb2 import Budget
from interlock.v1.run_pb2 import Run

Whose = tuple[str, str, str]
"""A run, a workspace and a caller: one of them, the others empty."""


async def set_budget(
    settings: Settings, client: Client, whose: Whose, amount: str, calls: int, unpriced_call: str
) -> None:
    """Set the budget of a run, a workspace or a caller."""
    run, *_ = whose
    most, each = micros(amount, "amount"), micros(unpriced_call, "unpriced-call")
    if run and not any(whose[1:]):
        budget = Budget(max_cost_micros=most, max_model_calls=calls, unpriced_call_micros=each)
        show_run(settings, await client.set_run_budget(await find_run(client, run), budget))
        return
    shared = await _shared(client, whose)
    shared.max_cost_micros, shared.unpriced_call_micros = most, each
    if calls:
        raise bad_value("calls", "Only a run's budget counts calls.", "Leave --calls out.")
    answer = await client.set_budget(shared)
    show_one(settings, answer, lambda: _resumed(answer))


async def remove_budget(settings: Settings, client: Client, whose: Whose) -> None:
    """Remove the budget of a workspace or a caller."""
    answer = await client.set_budget(await _shared(client, whose), remove=True)
    show_one(settings, answer, lambda: _resumed(answer))


async def list_budgets(settings: Settings, client: Client) -> None:
    """Budgets of workspaces and callers."""
    show_list(
        settings,
        "budgets",
        await client.list_budgets(),
        ("OF", "WHOSE", "LIMIT", "SPENT", "HELD BACK", "UNPRICED CALL", "SET BY", "AT"),
        lambda b: (
            enum_text(pb.BudgetScope, b.scope),
            b.key,
            money_text(b.max_cost_micros),
            money_text(b.spent_micros) if b.HasField("spent_micros") else "",
            money_text(b.reserved_micros) if b.HasField("reserved_micros") else "",
            money_text(b.unpriced_call_micros) if b.unpriced_call_micros else "none",
            b.set_by,
            time_text(b.set_at),
        ),
        empty="No budgets of workspaces or callers; `interlock budget set` sets one.",
    )


def show_budget(settings: Settings, run: Run) -> None:
    """A run's budget."""
    budget = run.budget
    each = budget.unpriced_call_micros
    show_one(
        settings,
        budget,
        lambda: write_fields(
            [
                ("limit", money_text(budget.max_cost_micros) if budget.max_cost_micros else "none"),
                ("calls", str(budget.max_model_calls) if budget.max_model_calls else "no limit"),
                ("unpriced call", money_text(each) if each else "none"),
                ("spent", cost_text(run.cost)),
            ]
        ),
    )


async def cost_report(settings: Settings, client: Client, by: Sequence[str], since: str, until: str) -> None:
    """What model calls cost across runs."""
    report = await client.cost_report(by, since=since, until=until)

    def people() -> None:
        rows = [(*group.values, str(group.questions), cost_text(group.cost)) for group in report.groups]
        if rows:
            write_table((*(name.upper() for name in by), "QUESTIONS", "COST"), rows)
        write_fields([("total", cost_text(report.total))])

    show_one(settings, report, people)


def micros(text: str, field: str) -> int:
    """US dollars as micro-dollars. Raises INVALID_ARGUMENT for what is no amount, negative, or finer than that."""
    try:
        amount = Decimal(text.removeprefix("$")) * 1_000_000
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < 2**53 or amount != amount.to_integral_value():
        raise bad_value(field, f"{text[:40]!r} is no amount of US dollars.", "Write it as 2.50.")
    return int(amount)


async def _shared(client: Client, whose: Whose) -> pb.SharedBudget:
    run, workspace, caller = whose
    if bool(run) + bool(workspace) + bool(caller) != 1:
        fix = "Give one of --run, --workspace and --caller."
        raise bad_value("budget", "A budget is of one run, one workspace or one caller.", fix)
    if workspace:
        key = workspace if workspace == "*" else await whole_workspace_id(client, workspace)
        return pb.SharedBudget(scope=pb.BUDGET_SCOPE_WORKSPACE, key=key)
    return pb.SharedBudget(scope=pb.BUDGET_SCOPE_CALLER, key=caller)


def _resumed(answer: pb.SetBudgetResponse) -> None:
    for run_id in answer.resumed_run_ids:
        progress(f"{run_id} goes on.")
