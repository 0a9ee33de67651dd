"""The proxy under abuse: slow, large, many, half closed, cut."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest


async def test_a_head_that_does_not_come_is_given_up(proxy: Any) -> None:
    await proxy.start("good.test:443", head_ms=100)
    client = await proxy.client()
    client.writer.write(b"CONNECT good")
    assert b"408" in await client.reader.readline()
    assert (await proxy.until(1))[0].reason == "too_slow"


async def test_a_head_that_trickles_in_is_given_up_too(proxy: Any) -> None:
    await proxy.start("good.test:443", head_ms=300)
    client = await proxy.client()

    async def trickle() -> None:
        for byte in b"CONNECT good.test:443 HTTP/1.1\r\n" + b"x: y\r\n" * 1000:
            client.writer.write(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    assert b"408" in await client.reader.readline()
    trickling.cancel()
    await asyncio.gather(trickling, return_exceptions=True)


@pytest.mark.parametrize("size", [40_000, 5_000_000])
async def test_a_huge_head_is_refused(proxy: Any, size: int) -> None:
    await proxy.start("good.test:443")
    client = await proxy.client()
    client.writer.write(b"CONNECT good.test:443 HTTP/1.1\r\nx: " + b"a" * size)
    with contextlib.suppress(ConnectionError):
        assert b"431" in await client.reader.readline()
    assert (await proxy.until(1))[0].reason == "head_too_large"


async def test_no_more_connections_at_once_than_allowed(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        where = f"good.test:{server.port}"
        await proxy.start(where, connections=3)
        clients = [await proxy.client() for _ in range(20)]
        asked = [asyncio.create_task(client.tunnel(where)) for client in clients]
        while sum(task.done() for task in asked) < 3:
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=0.01)
        assert (proxy.proxy.accepted, server.connections) == (3, 3)
        for index, task in enumerate(asked):
            assert b"200" in await task
            clients[index].writer.close()
        assert [told.allowed for told in await proxy.until(20)] == [True] * 20


async def test_no_more_connections_in_all_than_allowed(proxy: Any) -> None:
    await proxy.start("good.test:1", attempts=5)
    for _ in range(5):
        assert b"403" in await (await proxy.client()).tunnel("bad.test:1")
    await proxy.serving
    with pytest.raises(ConnectionError):
        await proxy.client()
    assert len(await proxy.until(5)) == 5


async def test_bytes_of_all_connections_together_are_bounded(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        where = f"good.test:{server.port}"
        await proxy.start(where, traffic_bytes=100_000)
        client = await proxy.client()
        await client.tunnel(where)
        client.writer.write(b"x" * 1_000_000)
        with contextlib.suppress(ConnectionError):
            assert len(await client.reader.read()) <= 100_000
        assert b"403" in await (await proxy.client()).tunnel(where)
        first, second = await proxy.until(2)
    assert (first.reason, second.reason) == ("byte_limit", "byte_limit")
    assert first.sent + first.received <= 100_000


async def test_a_tunnel_in_which_nothing_moves_ends(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}", idle_ms=150)
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        assert await client.reader.read() == b""
        assert (await proxy.until(1))[0].reason == "idle"


async def test_one_side_may_close_before_the_other(proxy: Any, make_host: Any) -> None:
    async def late(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()  # until the client has closed its side
        writer.write(whole[::-1] * 1000)
        await writer.drain()

    async with make_host(late) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        client.writer.write(b"abc")
        client.writer.write_eof()
        assert await client.reader.read() == b"cba" * 1000
        (told,) = await proxy.until(1)
    assert (told.sent, told.received, told.reason) == (3, 3000, "")


async def test_a_large_transfer_arrives_whole_through_a_slow_reader(proxy: Any, make_host: Any) -> None:
    async def much(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(200):
            writer.write(b"y" * 50_000)
            await writer.drain()

    async with make_host(much) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        total = 0
        while data := await client.reader.read(30_000):
            total += len(data)
        assert total == 10_000_000
        client.writer.close()
        assert (await proxy.until(1))[0].received == total


async def test_finish_lets_what_was_sent_go_on_and_then_cuts(proxy: Any, make_host: Any) -> None:
    arrived = asyncio.Event()

    async def never(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.got.append(await reader.readexactly(5))
        arrived.set()
        await reader.read()

    async with make_host(never) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        client.writer.write(b"hello")
        await arrived.wait()
        await proxy.proxy.finish(0.05)
        assert server.got == [b"hello"]
        assert await client.reader.read() == b""
    assert [(told.reason, told.sent) for told in proxy.told] == [("step_ended", 5)]


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT good.test:1"]
)
async def test_what_is_no_request_is_told_and_ends(proxy: Any, sent: bytes) -> None:
    await proxy.start("good.test:1")
    client = await proxy.client()
    client.writer.write(sent)
    client.writer.write_eof()
    assert b"400" in await client.reader.readline()
    assert (await proxy.until(1))[0].reason == "bad_request"


async def test_a_connection_on_which_nothing_is_asked_is_no_attempt(proxy: Any) -> None:
    await proxy.start("good.test:1")
    client = await proxy.client()
    client.writer.write_eof()
    assert await client.reader.read() == b""
    assert proxy.told == []
