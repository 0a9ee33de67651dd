"""Money for questions to models: held back before one is asked, settled after it.

What is taken of a budget is what is held back and what was settled, over every orchestrator. Whoever holds back more
takes the budgets' locks in one order, reads what is taken and writes in one transaction: two never see the same rest.
What an orchestrator held back that then died stands, and counts as spent once its run or step has ended: nobody knows
whether its question was answered, and has to be paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.types import Integer

from interlock.orchestrator.store.engine import Database, is_outage, unavailable

EACH: Final = "*"
"""The key of a budget that everyone has who has none of their own."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whose question it is. `limit_micros` and `unpriced_micros` are of the run's own budget; 0 = no limit."""

    run_id: str
    step: int
    workspace_id: str
    caller: str
    limit_micros: int = 0
    unpriced_micros: int = 0
    spent_micros: int = 0


@dataclass(frozen=True, slots=True)
class Cap:
    """A budget in force, and what is taken of it; `day` only of a caller's."""

    scope: str
    key: str
    limit_micros: int
    taken_micros: int = 0
    unpriced_micros: int = 0
    day: str = ""

    @property
    def left(self) -> int:
        """What may still be held back."""
        return max(0, self.limit_micros - self.taken_micros)


class Cost(NamedTuple):
    """What a question cost: `micros` counts against budgets, `cost_micros` is what is known."""

    micros: int
    purpose: str = ""
    model: str = ""
    cost_micros: int | None = None
    calls: int = 0
    unpriced: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


_CAPS: Final = text("""
SELECT DISTINCT ON (b.scope) b.scope, b.max_cost_micros, b.unpriced_call_micros,
       to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD')
  FROM budgets b
 WHERE (b.scope = 'workspace' AND b.key IN (:workspace, '*')) OR (b.scope = 'caller' AND b.key IN (:caller, '*'))
 ORDER BY b.scope, (b.key = '*')
""")
_BUDGETS: Final = text(
    """
SELECT b.scope, b.key, b.max_cost_micros, b.unpriced_call_micros, b.set_by, b.set_at,
       (SELECT coalesce(sum(s.micros) FILTER (WHERE s.state = 'settled'), 0) FROM spending s WHERE of_budget),
       (SELECT coalesce(sum(s.micros) FILTER (WHERE s.state = 'held'), 0) FROM spending s WHERE of_budget)
  FROM budgets b ORDER BY b.scope, b.key
""".replace(
        "of_budget",
        """(b.scope = 'workspace' AND s.workspace_id = b.key)
                      OR (b.scope = 'caller' AND s.caller = b.key AND s.day = (now() AT TIME ZONE 'utc')::date)""",
    )
)
_SET: Final = text("""
INSERT INTO budgets (scope, key, max_cost_micros, unpriced_call_micros, set_by) VALUES (:scope, :key, :most, :each, :by)
ON CONFLICT (scope, key) DO UPDATE SET max_cost_micros = excluded.max_cost_micros,
   unpriced_call_micros = excluded.unpriced_call_micros, set_by = excluded.set_by, set_at = now()
""")
_REMOVE: Final = text("DELETE FROM budgets WHERE scope = :scope AND key = :key")
_PAUSED: Final = text("""
SELECT r.id FROM runs r WHERE r.state = 'PAUSED' AND (:workspace = '' OR r.workspace_id = :workspace)
 ORDER BY r.id LIMIT 1000
""")
_GROUPS: Final = {
    "day": "to_char(day, 'YYYY-MM-DD')",
    "workspace": "workspace_id",
    "caller": "caller",
    "model": "model",
    "purpose": "purpose",
}
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7401))")
_TAKEN: Final = {
    "run": text("SELECT coalesce(sum(micros), 0) FROM spending WHERE run_id = :key AND state <> 'released'"),
    "workspace": text(
        "SELECT coalesce(sum(micros), 0) FROM spending WHERE workspace_id = :key AND state <> 'released'"
    ),
    "caller": text("""
SELECT coalesce(sum(micros), 0) FROM spending
 WHERE caller = :key AND day = to_date(:day, 'YYYY-MM-DD') AND state <> 'released'"""),
}
_INSERT: Final = text("""
INSERT INTO spending (id, run_id, step, workspace_id, caller, day, owner, state, micros)
VALUES (:id, :run_id, :step, :workspace_id, :caller, to_date(:day, 'YYYY-MM-DD'), :owner, 'held', :micros)
ON CONFLICT (id) DO NOTHING
""")
_TODAY: Final = text("SELECT to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD')")
_SETTLE: Final = text("""
UPDATE spending SET state = 'settled', micros = :micros, purpose = :purpose, model = :model,
       cost_micros = :cost_micros, calls = :calls, unpriced = :unpriced, prompt_tokens = :prompt_tokens,
       completion_tokens = :completion_tokens
 WHERE id = :id AND state = 'held' RETURNING id
""")
_COUNT_LOST: Final = text("""
UPDATE spending s SET state = 'settled', unpriced = 1
  FROM runs r
 WHERE s.state = 'held' AND r.id = s.run_id
   AND (r.state IN ('COMPLETED', 'FAILED', 'CANCELLED') OR (s.run_id = :run AND s.step = ANY (:ended)))
   AND NOT EXISTS (SELECT 1 FROM drivers d WHERE d.owner = s.owner AND d.until >= clock_timestamp())
""").bindparams(bindparam("ended", type_=ARRAY(Integer)))


async def caps(database: Database, asking: Asking) -> list[Cap]:
    """The budgets in force for a question, without what is taken of them."""
    return _of(asking, await database.all(_CAPS.bindparams(**_keys(asking))))


async def hold(
    database: Database, asking: Asking, *, new_id: str, owner: str, least: int, most: int
) -> tuple[int, Cap | None]:
    """Holds back up to `most` micro-dollars, at least `least`, under every budget in force.

    Returns what was held back and None; or 0 and the budget that does not allow it.
    """
    try:
        async with database.borrow() as connection, connection.begin():
            found = _of(asking, (await connection.execute(_CAPS, _keys(asking))).all())
            for cap in sorted(found, key=lambda each: (each.scope, each.key)):
                await connection.execute(_LOCK, {"name": f"budget/{cap.scope}/{cap.key}"})
            known = [await _taken(connection, cap, asking) for cap in found]
            for cap in known:
                if cap.left < least:
                    return 0, cap
            held = min([most, *(cap.left for cap in known)])
            day = next((cap.day for cap in known if cap.day), None) or await _today(connection)
            row = {**_row(asking), "id": new_id, "owner": owner, "micros": held, "day": day}
            await connection.execute(_INSERT, row)
            return held, None
    except (DBAPIError, PoolTimeout, OSError) as error:
        if not is_outage(error):
            raise
        raise unavailable(error, "unknown") from error


async def settle(database: Database, reservation: str, cost: Cost) -> None:
    """Says what the question cost; once."""
    await database.write(_SETTLE.bindparams(id=reservation, **cost._asdict()))


async def count_lost(database: Database, run_id: str, ended: Sequence[int]) -> None:
    """Counts as spent what orchestrators that died held back for runs, or for these steps of this run, that have ended.

    No report has it: what it cost, if anything, is not known.
    """
    await database.write(_COUNT_LOST.bindparams(run=run_id, ended=list(ended)))


async def set_budget(database: Database, scope: str, key: str, *, most: int, each: int, by: str) -> None:
    """Sets or replaces a budget."""
    await database.write(_SET.bindparams(scope=scope, key=key, most=most, each=each, by=by))


async def remove_budget(database: Database, scope: str, key: str) -> None:
    """Removes a budget; nothing, where there is none."""
    await database.write(_REMOVE.bindparams(scope=scope, key=key))


async def budgets(database: Database) -> list[Any]:
    """Scope, key, limit, allowance of unpriced calls, by whom, when, settled and held back of each."""
    return await database.all(_BUDGETS)


async def paused(database: Database, workspace_id: str) -> list[str]:
    """Runs that are PAUSED, on one workspace or (empty) on all; at most 1,000."""
    return [row[0] for row in await database.all(_PAUSED.bindparams(workspace=workspace_id))]


async def report(database: Database, by: Sequence[str], since: str, until: str) -> list[Any]:
    """Per group its values, questions, calls, unpriced calls, known cost, prompt and completion tokens."""
    groups = ", ".join(_GROUPS[name] for name in by)
    query = text(f"""
SELECT {groups}, count(*), sum(calls), sum(unpriced), sum(cost_micros), sum(prompt_tokens), sum(completion_tokens)
  FROM spending
 WHERE state = 'settled' AND calls > 0
   AND day >= coalesce(to_date(nullif(:since, ''), 'YYYY-MM-DD'), (now() AT TIME ZONE 'utc')::date - 30)
   AND day <= coalesce(to_date(nullif(:until, ''), 'YYYY-MM-DD'), (now() AT TIME ZONE 'utc')::date)
 GROUP BY {groups} ORDER BY {groups} LIMIT 10000
""")  # noqa: S608 - the names are those of the table above
    return await database.all(query.bindparams(since=since, until=until))


async def _taken(connection: Any, cap: Cap, asking: Asking) -> Cap:
    values = {"key": cap.key, "day": cap.day} if cap.scope == "caller" else {"key": cap.key}
    taken = int((await connection.execute(_TAKEN[cap.scope], values)).scalar_one())
    if cap.scope == "run":
        taken = max(taken, asking.spent_micros)  # what was spent before there was this table
    return Cap(cap.scope, cap.key, cap.limit_micros, taken, cap.unpriced_micros, cap.day)


async def _today(connection: Any) -> str:
    return str((await connection.execute(_TODAY)).scalar_one())


def _keys(asking: Asking) -> dict[str, str]:
    return {"workspace": asking.workspace_id, "caller": asking.caller}


def _row(asking: Asking) -> dict[str, Any]:
    return {
        "run_id": asking.run_id,
        "step": asking.step,
        "workspace_id": asking.workspace_id,
        "caller": asking.caller,
    }


def _of(asking: Asking, rows: Sequence[Any]) -> list[Cap]:
    keys = _keys(asking)
    found = [
        Cap(scope, keys[scope], int(limit), 0, int(unpriced), day if scope == "caller" else "")
        for scope, limit, unpriced, day in rows
    ]
    if asking.limit_micros:
        found.append(Cap("run", asking.run_id, asking.limit_micros, 0, asking.unpriced_micros))
    return found
