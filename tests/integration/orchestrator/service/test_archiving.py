"""Runs leave the database as bundles: verified before, only as what was exported, and nothing else is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.orchestrator import (
    TOKEN,
    Running,
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor
from typer.testing import CliRunner

from interlock.cli.main import app
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2
from interlock.verify import verify_bundle


def connect(database_url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True)


def rows(database_url: str, run_id: str) -> list[int]:
    """How much of a run there is: events, approvals, and payloads in all."""
    with connect(database_url) as db:
        counts = [
            db.execute(f"SELECT count(*) FROM {table} WHERE run_id = %s", [run_id]).fetchone()
            for table in ("journal", "approvals")
        ]
        counts.append(db.execute("SELECT count(*) FROM payloads").fetchone())
    return [count[0] for count in counts if count]


@asynccontextmanager
async def started(database_url: str, **settings: Any) -> AsyncIterator[Running]:
    settings.setdefault("feed_hours", 0.0)
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor, **settings) as it,
    ):
        yield it


async def finished(it: Running) -> str:
    run = await create(it.stub, edit("x" * 5000))
    await decide(it.stub, await pending(it.stub, run.run_id))
    await until(it.stub, run.run_id, "COMPLETED")
    return str(run.run_id)


async def bundle(it: Running, run_id: str) -> bytes:
    with rpc_errors():
        call = it.stub.ExportJournal(o.ExportJournalRequest(run_id=run_id))
        return b"".join([part.data async for part in call])


async def archive(it: Running, run_id: str, data: bytes) -> run_pb2.Run:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    request = o.ArchiveRunRequest(run_id=run_id, bundle_digest=digest, place="/archive")
    with rpc_errors():
        return (await it.stub.ArchiveRun(request)).run


async def refused(call: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await call
    return caught.value


async def test_a_run_leaves_and_says_where_it_went(database_url: str) -> None:
    async with started(database_url) as it:
        run_id, other = await finished(it), await finished(it)
        before, payloads = await bundle(it, run_id), rows(database_url, run_id)[2]
        conflict = await refused(archive(it, run_id, before + b"x"))
        assert conflict.reason is Reason.RUN_CONFLICT
        assert rows(database_url, run_id)[0] > 0, "nothing was removed"
        run = await archive(it, run_id, before)
        report = verify_bundle(before.splitlines(keepends=True))
        assert (run.archived.place, run.journal_head, run.journal_length) == (
            "/archive",
            report.head,
            report.events,
        )
        assert run.archived.bundle_digest == "sha256:" + hashlib.sha256(before).hexdigest()
        assert rows(database_url, run_id) == [0, 0, payloads // 2]
        assert (await archive(it, run_id, before)).archived == run.archived
        assert (await refused(archive(it, run_id, b"another"))).reason is Reason.RUN_CONFLICT
        listed = {each.run_id: each for each in (await it.stub.ListRuns(o.ListRunsRequest())).runs}
        assert listed[run_id].archived == run.archived
        assert not listed[other].HasField("archived")
        shown = (await it.stub.GetRun(o.GetRunRequest(run_id=run_id))).run
        assert (shown.goal, shown.state, shown.steps) == ("test", run_pb2.RUN_STATE_COMPLETED, [])
        for call in (
            it.stub.RetryStep(o.RetryStepRequest(run_id=run_id, step=1)),
            it.stub.GetStep(o.GetStepRequest(run_id=run_id, step=1)),
            bundle(it, run_id),
        ):
            error = await refused(call)
            assert error.reason is Reason.RUN_NOT_FOUND
            assert "was archived at" in error.message
        assert verify_bundle((await bundle(it, other)).splitlines(keepends=True)).ok


async def test_whoever_holds_it_in_memory_cannot_go_on(database_url: str) -> None:
    async with started(database_url) as it, started(database_url) as second:
        run_id = await finished(it)
        await second.stub.GetRun(o.GetRunRequest(run_id=run_id))
        await archive(it, run_id, await bundle(it, run_id))
        error = await refused(second.stub.RollbackRun(o.RollbackRunRequest(run_id=run_id)))
        assert error.reason is Reason.RUN_NOT_FOUND
    assert rows(database_url, run_id)[0] == 0


async def test_cursors_go_on_over_what_was_archived(database_url: str) -> None:
    async with started(database_url, feed_hours=1.0) as it:
        caught_up = it.stub.WatchApprovals(o.WatchApprovalsRequest())
        first = [frame async for frame in _until_caught_up(caught_up)]
        run_id = await finished(it)
        error = await refused(archive(it, run_id, await bundle(it, run_id)))
        assert error.reason is Reason.RUN_WRONG_STATE
        assert "INTERLOCK_FEED_RETENTION_HOURS" in error.fix
    async with started(database_url) as it:
        await archive(it, run_id, await bundle(it, run_id))
    async with started(database_url, feed_hours=1.0) as it:
        later = await create(it.stub, edit())
        question = await pending(it.stub, later.run_id)
        call = it.stub.WatchApprovals(o.WatchApprovalsRequest(cursor=first[-1].cursor))
        async for frame in call:
            if frame.events:
                assert [each.approval.approval_id for each in frame.events] == [question.approval_id]
                call.cancel()
                break


async def _until_caught_up(call: Any) -> AsyncIterator[o.WatchApprovalsResponse]:
    async for frame in call:
        yield frame
        if frame.caught_up:
            call.cancel()
            return


async def test_a_run_under_way_stays(database_url: str) -> None:
    async with started(database_url) as it:
        run = await create(it.stub, edit())
        await pending(it.stub, run.run_id)
        error = await refused(archive(it, run.run_id, await bundle(it, run.run_id)))
        assert error.reason is Reason.RUN_WRONG_STATE


async def test_the_database_lets_go_of_nothing_else(database_url: str) -> None:
    async with started(database_url) as it:
        run_id, other = await finished(it), await finished(it)
        await archive(it, run_id, await bundle(it, run_id))
    with connect(database_url) as db:
        for statement in (
            "DELETE FROM journal",
            "DELETE FROM payloads",
            "DELETE FROM archives",
            "UPDATE archives SET seq = 99",
            f"SELECT set_config('interlock.archiving', '{run_id}', false); DELETE FROM payloads",
        ):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                db.execute(statement)
    assert rows(database_url, other)[0] > 0


async def test_by_the_command_line_and_again_after_a_crash(database_url: str, tmp_path: Path) -> None:
    async with started(database_url) as it:
        runs = [await finished(it) for _ in range(2)]
        env = {
            "INTERLOCK_DATA_DIR": str(tmp_path),
            "INTERLOCK_TOKEN": TOKEN,
            "INTERLOCK_ORCHESTRATOR_ADDRESS": str(it.address),
        }

        async def interlock(*arguments: str) -> Any:
            done = await asyncio.to_thread(CliRunner().invoke, app, ["journal", *arguments], env=env)
            assert done.exit_code == 0, done.output
            return json.loads(done.stdout) if "json" in arguments else done.stdout

        place = tmp_path / "archive"
        place.mkdir()
        # As if it had been killed after the bundle was written, or while it was: the run is still there.
        (place / f"{runs[0]}.bundle").write_bytes(await bundle(it, runs[0]))
        (place / f"{runs[1]}.bundle.part").write_bytes(b"{")
        nothing = await interlock("archive", "--to", str(place), "--older-than", "1d", "-o", "json")
        assert nothing == {"archived": []}
        done = await interlock("archive", "--to", str(place), "--older-than", "0s", "-o", "json")
        assert [each["runId"] for each in done["archived"]] == runs
        assert sorted(path.name for path in place.iterdir()) == sorted(f"{run}.bundle" for run in runs)
        for run, each in zip(runs, done["archived"], strict=True):
            shown = (await it.stub.GetRun(o.GetRunRequest(run_id=run))).run
            assert shown.archived.bundle_digest == each["bundleDigest"]
            assert "Verified" in await interlock("verify", each["file"])
        assert (await interlock("archive", "--to", str(place), "--older-than", "0s")).startswith("Archived 0")
