"""Money is held back before it is spent: however many ask at once, together they never get more than the cap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from interlock.orchestrator.store import leases, spending
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.spending import Asking, Cost


def asking(run: str, workspace: str = "ws-1", caller: str = "ann", **more: int) -> Asking:
    return Asking(run, 1, workspace, caller, **more)


@pytest.fixture
async def databases(database_url: str) -> AsyncIterator[list[Database]]:
    """Four orchestrators' connections to one database."""
    made = [Database(database_url, pool=3) for _ in range(4)]
    yield made
    for each in made:
        await each.close()


async def hold(database: Database, number: int, least: int, most: int) -> int:
    held, refused = await spending.hold(
        database, asking(f"run-{number}"), new_id=f"res-{number}", owner="o", least=least, most=most
    )
    assert (held >= least) == (refused is None)
    return held


async def test_twenty_runs_at_once_never_get_more_than_the_cap(databases: list[Database]) -> None:
    first = databases[0]
    await spending.set_budget(first, "workspace", "ws-1", most=1000, each=0, by="root")
    await spending.set_budget(first, "caller", "*", most=800, each=0, by="root")
    held = await asyncio.gather(*(hold(databases[n % 4], n, 90, 130) for n in range(20)))
    assert sum(held) <= 800  # the day's of the caller is the smaller one
    assert 800 - sum(held) < 90  # and nothing that was left was enough for one more
    rows = await first.all(text("SELECT sum(micros) FROM spending WHERE state = 'held'"))
    assert int(rows[0][0]) == sum(held)
    # What turns out cheaper gives back the rest, exactly once.
    for _ in range(2):
        await spending.settle(first, "res-" + str(held.index(max(held))), Cost(10, cost_micros=10, calls=1))
    again = [await hold(first, 100 + n, 90, 90) for n in range(3)]
    assert sum(held) - max(held) + 10 + sum(again) <= 800
    assert again[0] == 90


async def test_a_callers_day_does_not_count_against_another_caller(databases: list[Database]) -> None:
    database = databases[0]
    await spending.set_budget(database, "caller", "*", most=100, each=0, by="root")
    await spending.set_budget(database, "caller", "bob", most=500, each=7, by="root")
    for number, (caller, least, refused) in enumerate(
        [("ann", 100, ""), ("ann", 1, "caller"), ("eve", 100, ""), ("bob", 400, ""), ("bob", 101, "caller")]
    ):
        held, cap = await spending.hold(
            database,
            asking(f"run-{number}", caller=caller),
            new_id=f"res-{number}",
            owner="o",
            least=least,
            most=least,
        )
        assert (cap.scope if cap else "") == refused
        assert held == (0 if refused else least)
    (cap,) = await spending.caps(database, asking("run-9", caller="bob"))
    assert (cap.limit_micros, cap.unpriced_micros, cap.key) == (500, 7, "bob")


async def test_what_a_dead_orchestrator_held_counts_as_spent_when_the_step_has_ended(
    databases: list[Database],
) -> None:
    database = databases[0]
    mine = asking("run-1", limit_micros=100)
    await leases.renew(database, "alive", 60)
    for owner in ("dead", "alive"):
        held, _ = await spending.hold(database, mine, new_id=f"res-{owner}", owner=owner, least=50, most=50)
        assert held == 50
    await database.write(
        text("""
INSERT INTO runs (id, state, goal, created_at, updated_at, seq, head_hash, position)
VALUES ('run-1', 'RUNNING', 'g', now(), now(), 1, '', 1)""")
    )

    async def taken() -> int:
        _, cap = await spending.hold(database, mine, new_id="res-x", owner="o", least=101, most=101)
        assert cap is not None
        return cap.taken_micros

    async def states() -> dict[str, str]:
        rows = await database.all(text("SELECT owner, state FROM spending"))
        return {row[0]: row[1] for row in rows}

    await spending.count_lost(database, "run-1", [2, 3])  # not its step
    assert await states() == {"dead": "held", "alive": "held"}
    await spending.count_lost(database, "run-1", [1])
    assert await states() == {"dead": "settled", "alive": "held"}  # the other one may still be asking
    assert await taken() == 100
    await spending.settle(database, "res-dead", Cost(0))  # who was only away for long is too late
    assert await taken() == 100


async def test_a_run_counts_what_it_spent_before_there_was_a_record(databases: list[Database]) -> None:
    mine = asking("run-1", limit_micros=100, spent_micros=95)
    held, cap = await spending.hold(databases[0], mine, new_id="res-1", owner="o", least=6, most=6)
    assert (held, cap.taken_micros if cap else None) == (0, 95)
