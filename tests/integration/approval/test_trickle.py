"""A subscriber on a line that lets a byte through now and then: it is cut off with its cursor, and slows nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.support.approvals import CONFIG, REQUESTED, Caller, Seen
from tests.support.fake_orchestrator import FakeOrchestrator, record

from interlock.approval.server import build
from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel
from interlock.common.errors import Reason
from interlock.common.server import running

MANY = 60


class Line:
    """A relay to a port. Towards the client all goes through, or one byte at a time, with a pause after each."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self.open = asyncio.Event()
        self.open.set()
        self.trickled = 0

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Address]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        async with server:
            yield Address("127.0.0.1", server.sockets[0].getsockname()[1])

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.host, self._to.port, limit=1024)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, back, slow=False))
                both.create_task(self._copy(there, writer, slow=True))
        finally:
            back.close()
            writer.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, slow: bool) -> None:
        while data := await source.read(1 if slow and not self.open.is_set() else 65_536):
            target.write(data)
            await target.drain()
            if slow and not self.open.is_set():
                self.trickled += len(data)
                # What a second is in life; here the line is opened again before that.
                try:
                    await asyncio.wait_for(self.open.wait(), 0.02)
                except TimeoutError:
                    continue
        target.close()


async def test_one_that_gets_a_byte_now_and_then(fake: FakeOrchestrator, upstream: str) -> None:
    config = replace(CONFIG, orchestrator=parse_address(upstream), log_entries=20)
    async with running(build(config)) as address:
        line = Line(address)
        async with (
            line.up() as slow_address,
            channel(slow_address, "t") as far,
            channel(address, "t") as near,
        ):
            slow_caller, caller = Caller(far), Caller(near)
            await caller.wait_healthy()
            slow, quick = slow_caller.subscribe(with_preview=True), caller.subscribe()
            await slow.until_caught_up()
            await quick.until_caught_up()
            line.open.clear()
            got: list[Seen] = []
            for number in range(1, MANY + 1):
                await fake.request(record(number, preview="x" * 200_000))
                got += await quick.events(1)
            assert got == [(REQUESTED, number) for number in range(1, MANY + 1)]
            line.open.set()
            error = await slow.fails()
            assert error.reason is Reason.RESOURCE_EXHAUSTED
            assert error.metadata["cursor"] == slow.cursor
            heard = slow.heard
            assert line.trickled < 200_000
            assert heard == [(REQUESTED, number) for number in range(1, len(heard) + 1)]
            rest = slow_caller.subscribe(error.metadata["cursor"])
            left = range(len(heard) + 1, MANY + 1)
            assert left
            assert await rest.events(len(left)) == [(REQUESTED, number) for number in left]
