"""What a change of one run means for others: a rollback that goes back over what they did is told by them too."""

from __future__ import annotations

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.rows import Change
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import later


async def beside(database: Database, book: RunBook, change: Change) -> list[tuple[Run, e.Event]]:
    """The runs that have to say so in the same transaction, as they are now, and what each has to say.

    Only a rollback to that very tree goes back over others; every other undoing leaves alone what they did.
    """
    before, after = change.before, change.after
    if before is None or after is None or before.rollback is None or before.rollback.from_tree:
        return []
    if after.rollback is not None or not change.has("run.rolled_back"):
        return []
    asked = before.rollback
    position = await later.position_of(database, before.run_id, asked.moment)
    found: list[tuple[Run, e.Event]] = []
    for run_id, moment in await later.runs_since(database, before.workspace_id, before.run_id, position):
        run = await book.refresh(run_id)
        if undo.goes_back_over(run, moment):
            said = e.RunOvertaken(before.run_id, asked.operation_id, after.head_tree, moment)
            found.append((run, said))
    return found
