"""The line of runs that wait for a workspace: who may take it is decided where it is taken."""

from __future__ import annotations

from tests.support.store import append

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import others
from interlock.orchestrator.store.records import NewWorkspace, WorkspaceChange

NEW = NewWorkspace("ex-1", "/src")


async def change(journal: Journal, run: str, seq: int, hold: str) -> str:
    """Has the run take, wait or release; `ok`, or the run that is in the way."""
    workspace = WorkspaceChange("ws-1", hold, create=NEW)  # type: ignore[arg-type]
    try:
        await journal.append(append(run, seq, workspace=workspace))
    except InterlockError as error:
        if error.reason is not Reason.WORKSPACE_BUSY:
            raise
        return error.metadata["holder_run_id"]
    return "ok"


async def test_nobody_passes_those_who_wait(journal: Journal, database: Database) -> None:
    assert await change(journal, "run-a", 0, "take") == "ok"
    assert await change(journal, "run-c", 0, "wait") == "ok"
    assert await change(journal, "run-b", 0, "wait") == "ok"
    assert await change(journal, "run-d", 0, "take") == "run-a"
    assert await others.line(database, "run-b") == ("run-a", 1)
    assert await others.next_in_line(database, ["run-b", "run-c"]) == []
    assert await change(journal, "run-a", 1, "release") == "ok"
    # It is free now, and still not for everybody: not for who does not wait, nor for who came later.
    assert await change(journal, "run-d", 0, "take") == "run-c"
    assert await change(journal, "run-b", 1, "take") == "run-c"
    assert await others.next_in_line(database, ["run-b", "run-c"]) == ["run-c"]
    assert await others.line(database, "run-b") == ("", 1)
    assert await change(journal, "run-c", 1, "take") == "ok"
    assert await others.line(database, "run-c") is None
    assert (await others.workspace(database, "ws-1")).holder_run == "run-c"


async def test_who_leaves_the_line_is_not_waited_for(journal: Journal, database: Database) -> None:
    assert await change(journal, "run-a", 0, "take") == "ok"
    assert await change(journal, "run-b", 0, "wait") == "ok"
    assert await change(journal, "run-c", 0, "wait") == "ok"
    assert await change(journal, "run-b", 1, "release") == "ok"
    assert (await others.workspace(database, "ws-1")).holder_run == "run-a", "not its to release"
    assert await others.line(database, "run-c") == ("run-a", 0)
    await change(journal, "run-a", 1, "release")
    assert await change(journal, "run-c", 1, "take") == "ok"


async def test_waiting_again_keeps_the_place(journal: Journal, database: Database) -> None:
    await change(journal, "run-a", 0, "take")
    for run, seq in (("run-b", 0), ("run-c", 0), ("run-b", 1)):
        assert await change(journal, run, seq, "wait") == "ok"
    assert await others.line(database, "run-b") == ("run-a", 0)
