"""Who may be reached through the proxy, by which address, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


async def test_a_tunnel_to_a_listed_host_carries_bytes_both_ways(proxy: Any, make_host: Any) -> None:
    async with make_host() as echo:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{echo.port}")
        client = await proxy.client()
        assert b"200" in await client.tunnel(f"Good.TEST:{echo.port}")
        client.writer.write(b"hello\x00\xff")
        assert await client.reader.readexactly(7) == b"hello\x00\xff"
        client.writer.write_eof()
        assert await client.reader.read() == b""
        (told,) = await proxy.until(1)
    assert (told.host, told.port, told.allowed, told.reason) == ("good.test", echo.port, True, "")
    assert (told.address, told.sent, told.received) == ("127.0.0.1", 7, 7)
    assert told.at_us > 0


async def test_a_request_to_a_listed_host_is_forwarded(proxy: Any, make_host: Any) -> None:
    async def answer(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.got.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(3))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with make_host(answer) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        head = f"POST http://good.test:{server.port}/x HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc"
        assert await client.ask(head.encode()) == b"HTTP/1.1 200 OK"
        assert (await client.rest()).endswith(b"ok")
        (told,) = await proxy.until(1)
    expected = f"POST /x HTTP/1.1\r\nHost: good.test:{server.port}\r\nConnection: close\r\n"
    assert server.got == [expected.encode() + b"Content-Length: 3\r\n\r\nabc"]
    assert told.allowed
    assert told.sent == len(server.got[0])


async def test_a_second_request_on_a_connection_does_not_reach_the_first_ones_host(
    proxy: Any, make_host: Any
) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        client.writer.write(f"GET http://good.test:{server.port}/1 HTTP/1.1\r\n\r\n".encode())
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.write(b"GET http://evil.test/2 HTTP/1.1\r\n\r\n")
        assert await client.reader.read() == b""
        (told,) = await proxy.until(1)
    assert told.reason == "second_request"
    assert b"evil" not in b"".join(server.got)


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("bad.test:PORT", b"403", "not_listed"),
        ("good.test:1", b"403", "not_listed"),
        ("sub.good.test:PORT", b"403", "not_listed"),
        ("127.0.0.1:PORT", b"403", "not_listed"),
        ("[::ffff:127.0.0.1]:PORT", b"403", "not_listed"),
        ("[::1]:PORT", b"403", "not_listed"),
        ("0.0.0.0:PORT", b"403", "not_listed"),
        ("localhost:PORT", b"403", "not_listed"),
        ("127.1:PORT", b"400", "bad_request"),
        ("2130706433:PORT", b"400", "bad_request"),
        ("0x7f000001:PORT", b"400", "bad_request"),
        ("good.test.:PORT", b"400", "bad_request"),
        ("good.test@127.0.0.1:PORT", b"400", "bad_request"),
        ("*.good.test:PORT", b"400", "bad_request"),
        ("good.test%00.evil:PORT", b"400", "bad_request"),
        ("good.test", b"400", "bad_request"),
    ],
)
async def test_what_is_not_listed_is_refused_and_told(
    proxy: Any, make_host: Any, target: str, status: bytes, reason: str
) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        asked = target.replace("PORT", str(server.port))
        assert status in await client.tunnel(asked)
        answer = await client.rest()
        assert reason.encode() in answer
        (told,) = await proxy.until(1)
        assert server.connections == 0
    assert (told.allowed, told.reason, told.sent, told.received) == (False, reason, 0, 0)
    assert proxy.names.asked == []
    # In lower case, a secret in it would not be known again in the step's output.
    assert reason != "not_listed" or told.host.encode() not in answer


@pytest.mark.parametrize(
    "inward",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "224.0.0.1"],
)
async def test_a_listed_name_that_leads_inward_is_refused(proxy: Any, inward: str) -> None:
    proxy.names.answers["good.test"] = [[inward]]
    await proxy.start("good.test:443", ranges=())
    client = await proxy.client()
    assert b"403" in await client.turned_away("good.test:443")
    (told,) = await proxy.until(1)
    assert (told.allowed, told.reason, told.address) == (False, "address_refused", inward)


async def test_what_an_ipv6_address_carries_is_judged_and_told(proxy: Any) -> None:
    proxy.names.answers["good.test"] = [["::ffff:127.0.0.1"]]
    await proxy.start("good.test:443", ranges=("::/0",))
    assert b"403" in await (await proxy.client()).turned_away("good.test:443")
    (told,) = await proxy.until(1)
    assert (told.reason, told.address) == ("address_refused", "127.0.0.1")


async def test_an_address_that_was_named_is_still_refused_where_it_is_not_public(
    proxy: Any, make_host: Any
) -> None:
    async with make_host() as server:
        await proxy.start(f"127.0.0.1:{server.port}", ranges=())
        assert b"403" in await (await proxy.client()).turned_away(f"127.0.0.1:{server.port}")
        assert (await proxy.until(1))[0].reason == "address_refused"
        assert server.connections == 0


async def test_an_address_that_was_named_is_reached_where_its_range_is(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        await proxy.start(f"127.0.0.1:{server.port}")
        assert b"200" in await (await proxy.client()).tunnel(f"127.0.0.1:{server.port}")


async def test_an_answer_that_changes_is_judged_each_time(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        where = f"good.test:{server.port}"
        found = [await (await proxy.client()).tunnel(where) for _ in range(3)]
    assert [b"200" in status for status in found] == [True, True, False]
    assert proxy.names.asked == ["good.test"] * 3, "looked up once for each connection"


async def test_of_several_addresses_only_the_good_ones_are_tried(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["10.0.0.1", "::1", "169.254.169.254", "127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        assert b"200" in await (await proxy.client()).tunnel(f"good.test:{server.port}")


async def test_a_name_that_is_not_found_and_a_port_nobody_listens_at(proxy: Any) -> None:
    proxy.names.answers["good.test"] = [["127.0.0.1"]]
    await proxy.start("good.test:1", "none.test:1")
    assert b"502" in await (await proxy.client()).turned_away("none.test:1")
    assert b"502" in await (await proxy.client()).turned_away("good.test:1")
    assert [told.reason for told in await proxy.until(2)] == ["not_resolved", "connect_failed"]


async def test_a_wildcard_covers_names_below_it_and_is_resolved_by_the_whole_name(
    proxy: Any, make_host: Any
) -> None:
    async with make_host() as server:
        proxy.names.answers["a.good.test"] = [["127.0.0.1"]]
        await proxy.start(f"*.good.test:{server.port}")
        assert b"200" in await (await proxy.client()).tunnel(f"a.good.test:{server.port}")
        assert b"403" in await (await proxy.client()).turned_away(f"good.test:{server.port}")
