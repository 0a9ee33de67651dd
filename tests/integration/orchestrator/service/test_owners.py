"""The orchestrator shows the executor whose the effects are, and gets past what others have put in its way."""

from __future__ import annotations

import pytest
from tests.support.orchestrator import (
    command,
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    read,
    states,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.digests import sha256_text
from interlock.orchestrator.domain.keys import Keys
from interlock.orchestrator.store import installation
from interlock.orchestrator.store.readers import events
from interlock.v1 import orchestrator_pb2 as o

STRANGERS = sha256_text(b"a secret of a stranger")


async def test_every_effect_is_the_installations(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, edit(), read(), command())
        await decide(running.stub, await pending(running.stub, run.run_id))
        await decide(running.stub, await pending(running.stub, run.run_id))
        await until(running.stub, run.run_id, "COMPLETED")
        await running.stub.RollbackRun(o.RollbackRunRequest(run_id=run.run_id, request_id="r", to_step=0))
        keys = Keys(await installation.secret(running.deps.database))
        rows = await events.of_run(running.deps.database, run.run_id)
    assert script.owners == {
        (run.run_id, step, 1): keys.owner_digest(run.run_id, step, 1) for step in (1, 2, 3)
    }
    assert script.drivers == {run.run_id: keys.driver(run.run_id)}
    journal = b"".join(bytes(row.canonical) for row in rows)
    for step in (1, 2, 3):
        assert keys.owner_digest(run.run_id, step, 1).encode() not in journal


async def test_another_orchestrator_on_the_database_applies_what_was_prepared(database_url: str) -> None:
    script = Script()
    async with executor_server(ScriptedExecutor(script)) as executor:
        async with orchestrator(database_url, executor) as first:
            run = await create(first.stub, edit())
            shown = await pending(first.stub, run.run_id)
        async with orchestrator(database_url, executor) as second:
            await decide(second.stub, shown)
            await until(second.stub, run.run_id, "COMPLETED")
    assert set(script.applied) == {(run.run_id, 1, 1)}
    assert script.count("prepare") == 1


@pytest.mark.parametrize("owner", ["", STRANGERS])
@pytest.mark.parametrize("tombstone", [True, False])
async def test_a_planted_effect_is_passed_over_and_never_applied(
    database_url: str, owner: str, tombstone: bool
) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, edit(), start=False)
        for attempt in (1, 2):
            script.owners[run.run_id, 1, attempt] = owner
            if tombstone:
                script.discarded.add((run.run_id, 1, attempt))
        await running.stub.StartRun(o.StartRunRequest(run_id=run.run_id))
        await decide(running.stub, await pending(running.stub, run.run_id))
        done = await until(running.stub, run.run_id, "COMPLETED")
    assert states(done) == ["SUCCEEDED"]
    assert done.steps[0].attempt == 3
    assert set(script.applied) == {(run.run_id, 1, 3)}


async def test_an_effect_prepared_by_an_earlier_release_is_still_applied(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, edit())
        shown = await pending(running.stub, run.run_id)
        script.owners[run.run_id, 1, 1] = ""
        await decide(running.stub, shown)
        await until(running.stub, run.run_id, "COMPLETED")
    assert set(script.applied) == {(run.run_id, 1, 1)}


async def test_an_effect_that_is_no_longer_the_installations_is_prepared_and_asked_about_again(
    database_url: str,
) -> None:
    """As after a database was restored from before its secret was made."""
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, edit())
        shown = await pending(running.stub, run.run_id)
        script.owners[run.run_id, 1, 1] = STRANGERS
        await decide(running.stub, shown)
        again = await pending(running.stub, run.run_id)
        assert again.approval_id != shown.approval_id
        await decide(running.stub, again)
        await until(running.stub, run.run_id, "COMPLETED")
    assert set(script.applied) == {(run.run_id, 1, 2)}
