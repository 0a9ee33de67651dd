"""The SDK's stream over kill -9 of the services behind it, and what several people see of one decision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.feed_story import Happened, journal, told
from tests.support.forked import forked_module
from tests.support.orchestrator import TOKEN, create, edit, executor_server, until
from tests.support.processes import Child
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.client import Client, InterlockError, Reason, Retry
from interlock.orchestrator.store.engine import Database
from interlock.v1.decision_pb2 import ApprovalEventKind, ApprovalRecord, ApprovalState

pytestmark = pytest.mark.timeout(120)


class Services:
    """An orchestrator and an approval service as processes on fixed addresses."""

    def __init__(self, place: Path, database_url: str, executor: str, stack: AsyncExitStack) -> None:
        self._place, self._stack = place, stack
        self._children: dict[str, Child] = {}
        self._starts = 0
        self._env = {
            "INTERLOCK_DATA_DIR": str(place / "data"),
            "INTERLOCK_TOKEN": TOKEN,
            "INTERLOCK_DATABASE_URL": database_url,
            "INTERLOCK_EXECUTOR_ADDRESS": executor,
            "INTERLOCK_LEASE_SECONDS": "1",
            **{
                f"INTERLOCK_{name.upper()}_ADDRESS": self.address(name)
                for name in ("orchestrator", "approval")
            },
        }

    def address(self, name: str) -> str:
        return f"unix:{self._place}/{name}.sock"

    async def start(self, name: str) -> None:
        self._starts += 1
        ready = self._place / f"ready{self._starts}"
        env = {**self._env, "INTERLOCK_READY_FILE": str(ready)}
        arguments = ("--ready-file", str(ready)) if name == "approval" else ()
        module = forked_module(self._place / f"log{self._starts}", f"interlock.{name}", *arguments, env=env)
        self._children[name] = child = await self._stack.enter_async_context(module)
        await child.wait_for_file(ready)

    async def kill(self, name: str) -> None:
        self._children[name].process.kill()
        await self._children[name].process.wait()

    def client(self) -> Client:
        return Client(
            orchestrator=self.address("orchestrator"),
            approval=self.address("approval"),
            token=TOKEN,
            directory=self._place / "data",
            retry=Retry(seconds=60, longest=0.2),
        )


@pytest.fixture
async def services(database_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    async with executor_server(ScriptedExecutor(Script())) as executor, AsyncExitStack() as stack:
        found = Services(tmp_path, database_url, str(executor), stack)
        await asyncio.gather(found.start("orchestrator"), found.start("approval"))
        yield found


async def _watch(client: Client, heard: list[Happened], ready: asyncio.Event, applied: int) -> None:
    """Everything from now on, until so many steps were applied."""
    async for message in client.subscribe_approvals(with_preview=False):
        if message.HasField("event"):
            heard.append(told(message.event))
            applied -= heard[-1][1] == "APPLIED"
        if message.caught_up:
            ready.set()
        if applied == 0:
            return


async def _approve_all(client: Client) -> None:
    """A bot of the SDK; somebody else may be faster, and a repeated call is the same decision."""
    async for approval in client.approvals(with_preview=False):
        try:
            await client.decide(approval, "approve")
        except InterlockError as error:
            if error.reason is not Reason.APPROVAL_ALREADY_DECIDED:
                raise


async def test_a_stream_and_a_bot_go_on_after_each_service_was_killed(
    services: Services, database_url: str
) -> None:
    heard: list[Happened] = []
    ready = asyncio.Event()
    async with services.client() as client, services.client() as bot:
        watching = asyncio.create_task(_watch(client, heard, ready, applied=12))
        await ready.wait()
        deciding = asyncio.create_task(_approve_all(bot))
        run = await create(client.orchestrator, *(edit(f"{n}\n") for n in range(12)))
        for number, name in enumerate(("approval", "orchestrator", "approval")):
            while len(heard) < 3 + 8 * number:
                assert not watching.done()
                assert not deciding.done()
                await asyncio.sleep(0.01)
            await services.kill(name)
            await services.start(name)
        await watching
        deciding.cancel()
        await client.wait_run(run.run_id)
    database = Database(database_url)
    try:
        assert heard == [happened for happened, _ in await journal(database)]
    finally:
        await database.close()


async def test_the_first_decision_wins_and_everyone_is_told(services: Services) -> None:
    async with services.client() as one, services.client() as two:
        run = await create(one.orchestrator, edit())
        await until(one.orchestrator, run.run_id, "AWAITING_APPROVAL")
        there = [asyncio.Event(), asyncio.Event()]
        cards = [asyncio.create_task(_card(*each)) for each in zip((one, two), there, strict=True)]
        await asyncio.gather(*(each.wait() for each in there))
        (approval,) = await one.list_approvals()
        await one.decide(approval, "reject", comment="not like this", channel="console")
        with pytest.raises(InterlockError) as caught:
            await two.decide(approval, "approve")
        for card in cards:
            shown = await card
            assert shown.state == ApprovalState.APPROVAL_STATE_REJECTED
            assert (shown.decision.comment, shown.decision.channel) == ("not like this", "console")
    error = caught.value
    assert error.reason is Reason.APPROVAL_ALREADY_DECIDED
    recorded = {name: error.metadata[name] for name in ("state", "subject", "channel", "comment")}
    assert recorded == {
        "state": "rejected",
        "subject": "local",
        "channel": "console",
        "comment": "not like this",
    }


async def _card(client: Client, there: asyncio.Event) -> ApprovalRecord:
    """A screen: it shows the question, and clears it when it hears that it was answered."""
    async for message in client.subscribe_approvals():
        if message.event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_PENDING:
            there.set()
        if message.event.kind == ApprovalEventKind.APPROVAL_EVENT_KIND_RESOLVED:
            return message.event.approval
    raise AssertionError("the feed ended")
