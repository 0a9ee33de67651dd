"""Erasing: nothing of a text remains, the journal verifies and names what is gone, the database permits only that."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest
from tests.support.orchestrator import (
    Running,
    command,
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    read,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import orchestrator_pb2 as o
from interlock.verify import Report, verify_bundle

SECRET = "Ann Example, 4 Mulberry Street"
LONG = SECRET + "\n" + "x" * 5000
EVERYWHERE = """
SELECT string_agg(t::text, ' ') FROM (
    SELECT convert_from(canonical, 'UTF8') FROM journal UNION ALL SELECT encode(body, 'escape') FROM payloads
    UNION ALL SELECT encode(response, 'escape') FROM requests UNION ALL SELECT goal || doc::text FROM runs
    UNION ALL SELECT doc::text FROM approvals UNION ALL SELECT encode(body, 'escape') FROM webhook_deliveries) AS t
"""


def connect(database_url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True)


def stored(database_url: str) -> str:
    """All text that the database holds."""
    with connect(database_url) as connection:
        row = connection.execute(EVERYWHERE).fetchone()
    assert row
    return str(row[0])


async def told(it: Running) -> str:
    """A run in whose goal, input and decision a person is named; it has ended."""
    request = o.CreateRunRequest(
        goal=f"Write to {SECRET}",
        workspace_id="ws-1",
        steps=[edit(LONG), read()],
        start=True,
        request_id="one",
    )
    run = (await it.stub.CreateRun(request)).run
    question = await pending(it.stub, run.run_id)
    await decide(it.stub, question, approve={}, comment=f"{SECRET} agrees")
    await until(it.stub, run.run_id, "COMPLETED")
    return str(run.run_id)


async def erase(it: Running, run_id: str, **what: Any) -> o.EraseFromRunResponse:
    with rpc_errors():
        done: o.EraseFromRunResponse = await it.stub.EraseFromRun(
            o.EraseFromRunRequest(run_id=run_id, reason="asked for", **what)
        )
    return done


async def verified(it: Running, run_id: str) -> Report:
    call = it.stub.ExportJournal(o.ExportJournalRequest(run_id=run_id))
    raw = b"".join([part.data async for part in call])
    report = verify_bundle(raw.splitlines(keepends=True))
    assert report.problems == []
    assert (SECRET.encode() in raw) is False
    return report


async def test_nothing_of_a_person_remains(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run_id = await told(it)
        before = (await it.stub.GetRun(o.GetRunRequest(run_id=run_id))).run
        assert before.goal == f"Write to {SECRET}"
        assert stored(database_url).count(SECRET) >= 4
        one = await erase(it, run_id, fields=["1:goal"])
        assert (len(one.erased), one.run_ids) == (1, [run_id])
        assert (await erase(it, run_id, fields=["goal"])).erased == []
        more = await erase(it, run_id, everything=True)
        assert len(more.erased) >= 4
        assert SECRET not in stored(database_url)
        report = await verified(it, run_id)
        after = (await it.stub.GetRun(o.GetRunRequest(run_id=run_id))).run
        events = (await it.stub.ListEvents(o.ListEventsRequest(run_id=run_id, page_size=100))).events
    assert len(report.erased) == len(one.erased) + len(more.erased)
    seqs = [event.seq for event in events if event.type == "run.erased"]
    assert f"goal of event 1, erased by event {seqs[0]}" in report.erased
    assert any(each.startswith("new_content of event 2, ") for each in report.erased)
    assert any(each.startswith("comment of event ") for each in report.erased)
    assert after.goal == "[erased]"
    assert [step.state for step in after.steps] == [step.state for step in before.steps]
    assert [event.texts for event in events if event.texts] == []


async def test_another_orchestrator_starts_on_what_is_left(database_url: str) -> None:
    async with executor_server(ScriptedExecutor(Script())) as executor:
        async with orchestrator(database_url, executor) as it, orchestrator(database_url, executor) as other:
            run_id = await told(it)
            assert (await other.stub.GetRun(o.GetRunRequest(run_id=run_id))).run.goal.endswith(SECRET)
            await erase(it, run_id, everything=True)
            assert (await other.stub.GetRun(o.GetRunRequest(run_id=run_id))).run.goal == "[erased]"
        async with orchestrator(database_url, executor) as later:
            run = (await later.stub.GetRun(o.GetRunRequest(run_id=run_id))).run
            assert run.goal == "[erased]"
            await verified(later, run_id)


async def test_what_has_not_ended_or_is_not_there_is_refused(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, edit())
        await pending(it.stub, run.run_id)
        with pytest.raises(InterlockError) as caught:
            await erase(it, run.run_id, everything=True)
        assert caught.value.reason is Reason.RUN_WRONG_STATE
        ended = await told(it)
        for what, field in (
            ({"fields": ["nothing"]}, "fields"),
            ({"fields": ["99:goal"]}, "fields"),
            ({"payloads": ["sha256:" + "0" * 64]}, "payloads"),
            ({}, "fields"),
        ):
            with pytest.raises(InterlockError) as caught:
                await erase(it, ended, **what)
            assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, field)


async def test_the_database_permits_exactly_this(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run_id = await told(it)
        await erase(it, run_id, fields=["goal"])
    gone = "SET body = '', size = 0, erased_run = %s, erased_seq = %s"
    with connect(database_url) as connection:
        row = connection.execute("SELECT erased_seq FROM payloads WHERE erased_run = %s", [run_id]).fetchone()
        assert row
        for statement, values in (
            ("UPDATE payloads SET body = 'other'", []),
            ("UPDATE payloads SET media_type = 'text/plain'", []),
            (f"UPDATE payloads {gone} WHERE erased_run IS NULL", [run_id, row[0]]),
            (f"UPDATE payloads {gone} WHERE erased_run IS NULL", [run_id, 1]),
            ("UPDATE payloads SET erased_seq = 1 WHERE erased_run IS NOT NULL", []),
            ("DELETE FROM payloads", []),
            ("TRUNCATE payloads", []),
        ):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                connection.execute(statement, values)


async def test_a_digest_does_not_tell_what_it_was(database_url: str) -> None:
    """The same words have another digest each time: guessing them proves nothing once the salt is gone."""
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        runs = [await create(it.stub, command("true"), start=False) for _ in range(2)]
        pages = [await it.stub.ListEvents(o.ListEventsRequest(run_id=run.run_id)) for run in runs]
    told_of = [dict(page.events[0].texts) for page in pages]
    assert [list(each.values()) for each in told_of] == [["test"], ["test"]]
    assert told_of[0].keys() != told_of[1].keys()
    assert "sha256:" + hashlib.sha256(b"test").hexdigest() not in {*told_of[0], *told_of[1]}
