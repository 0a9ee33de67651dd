"""The orchestrator killed in the middle of deliveries: nothing is lost, each run's order holds, and what comes twice
has the same id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.webhooks.test_webhooks import TYPES, add, deliveries
from tests.support.forked import forked_module
from tests.support.orchestrator import TOKEN, create, decide, edit, executor_server, pending, until
from tests.support.scripted_executor import Script, ScriptedExecutor
from tests.support.webhook_receiver import STALL, Received, receiving

from interlock.common.client import channel
from interlock.v1 import orchestrator_pb2_grpc, webhook_pb2_grpc
from interlock.v1 import webhook_pb2 as pb

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def process(place: Path, database_url: str, executor: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    """An orchestrator as a process of its own, and stubs for it."""
    number = len(list(place.glob("ready*")))  # noqa: ASYNC240 (a local directory)
    address, ready = f"unix:{place}/orchestrator{number}.sock", place / f"ready{number}"
    env = {
        "INTERLOCK_DATA_DIR": str(place / "data"),
        "INTERLOCK_TOKEN": TOKEN,
        "INTERLOCK_DATABASE_URL": database_url,
        "INTERLOCK_EXECUTOR_ADDRESS": executor,
        "INTERLOCK_ORCHESTRATOR_ADDRESS": address,
        "INTERLOCK_READY_FILE": str(ready),
        "INTERLOCK_LEASE_SECONDS": "1",
        "INTERLOCK_WEBHOOK_ALLOW": "127.0.0.1",
        "INTERLOCK_WEBHOOK_TIMEOUT_SECONDS": "100",
        "INTERLOCK_WEBHOOK_FIRST_DELAY_SECONDS": "0.05",
    }
    async with forked_module(place / f"log{number}", "interlock.orchestrator", env=env) as child:
        await child.wait_for_file(ready)
        async with channel(address, TOKEN) as opened:
            yield (
                child.process,
                orchestrator_pb2_grpc.OrchestratorStub(opened),
                webhook_pb2_grpc.WebhooksStub(opened),
            )


class Answers:
    """Answers each delivery as long as nothing is told to stall."""

    def __init__(self) -> None:
        self.stalling = ""

    def __call__(self, received: Received) -> int:
        return STALL if received.told[0] == self.stalling else 200


async def killed(process: Any) -> None:
    process.kill()
    await process.wait()


@pytest.mark.parametrize("ends", [1, pytest.param(7, marks=pytest.mark.torture)])
async def test_killed_in_the_middle_of_a_delivery(database_url: str, tmp_path: Path, ends: int) -> None:
    """By turns before the endpoint has answered, and right after its answer, which may not be written down yet."""
    answers, runs = Answers(), list[str]()
    async with receiving(answers) as receiver, executor_server(ScriptedExecutor(Script())) as executor:
        for turn in range(ends):
            answers.stalling = TYPES[0] if turn % 2 == 0 else ""
            async with process(tmp_path, database_url, str(executor)) as (it, stub, hooks):
                if not turn:
                    made = await add(hooks, receiver.url)
                runs.append(str((await create(stub, edit())).run_id))
                mine = (TYPES[0], runs[-1])
                if answers.stalling:
                    await receiver.until(lambda r, mine=mine: mine in [each.told for each in r.requests])
                else:
                    await receiver.until(lambda r, mine=mine: mine in [each.told for each in r.accepted])
                await killed(it)
        answers.stalling = ""
        async with process(tmp_path, database_url, str(executor)) as (_, stub, hooks):
            for run in runs:
                await decide(stub, await pending(stub, run))
                await until(stub, run, "COMPLETED")
            await receiver.until(lambda r: len({each.id for each in r.accepted}) == 3 * len(runs))
            while any(
                each.state != pb.WEBHOOK_DELIVERY_STATE_DELIVERED
                for each in await deliveries(hooks, made.webhook.webhook_id)
            ):
                continue
    for run in runs:
        mine = [each for each in receiver.accepted if each.told[1] == run]
        assert len({each.id for each in mine}) == 3, (
            "nothing is lost, and what comes again is known by its id"
        )
        assert list(dict.fromkeys(each.told[0] for each in mine)) == TYPES, "in order"
    for run in runs[::2]:
        tries = [each for each in receiver.requests if each.told == (TYPES[0], run)]
        assert len(tries) >= 2, "it was under way at the end, and came again"
        assert len({(each.id, each.body) for each in tries}) == 1
    assert all(each.is_signed_by(made.secret) for each in receiver.requests)
