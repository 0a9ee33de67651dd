"""Requests that two readers could understand in two ways: none gets past the proxy, and none reaches a host."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

GET = b"GET http://good.test:PORT/ HTTP/1.1\r\n"
POST = b"POST http://good.test:PORT/ HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n",
        POST + b"Transfer-Encoding:\tchunked\r\nContent-Length: 1\r\n\r\nx",
        POST + b"transfer-ENCODING: identity\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 0x3\r\n\r\nabc",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: \r\n\r\n",
        POST + b"Content-Length: 9999999999999999\r\n\r\n",
        GET + b"X: a\r\n folded: b\r\n\r\n",
        GET + b"X: a\r\n\tfolded: b\r\n\r\n",
        GET + b"X: a\nHost: evil.test\r\n\r\n",
        GET + b"X: a\rHost: evil.test\r\n\r\n",
        GET + b"X: a\x00b\r\n\r\n",
        GET + b"X : a\r\n\r\n",
        GET + b": a\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET.replace(b"\r\n", b"\n") + b"X: y\r\n\r\n",
        GET + b"".join(b"X%d: y\r\n" % number for number in range(201)) + b"\r\n",
        b"\r\n" + GET + b"\r\n",
        b"GET  http://good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET\thttp://good.test:PORT/\tHTTP/1.1\r\n\r\n",
        b"GET http://good.test:PORT/ HTTP/2.0\r\n\r\n",
        b"GET http://good.test:PORT/ http/1.1\r\n\r\n",
        b"GET http://good.test:PORT/\r\n\r\n",
        b"GET http://good.test:PORT/#@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://good.test:PORT#@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://good.test:PORT\\@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://evil.test\\@good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET http://good.test:PORT@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://evil.test@good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET http:/good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET http:///good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET //good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: good.test:PORT\r\n\r\n",
        b"GET https://good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET ftp://good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"GET http://good.test:PORT:1/ HTTP/1.1\r\n\r\n",
        b"GET http://good.test:0PORT/ HTTP/1.1\r\n\r\n",
        b"GET http://good%2etest:PORT/ HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: good.test:PORT\r\n\r\n",
        b"connect good.test:PORT HTTP/1.1\r\n\r\n",
        b"CONNECT http://good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"CONNECT good.test:PORT/ HTTP/1.1\r\n\r\n",
        b"CONNECT good.test:PORT\nX: y HTTP/1.1\r\n\r\n",
        b"CONNECT good.test:PORT HTTP/1.1\r\nX: y\nX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_ambiguous_is_refused(proxy: Any, make_host: Any, request_: bytes) -> None:
    async with make_host() as server:
        proxy.names.answers |= {"good.test": [["127.0.0.1"]], "evil.test": [["127.0.0.1"]]}
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        assert b"400" in await client.refused(request_.replace(b"PORT", str(server.port).encode()))
        (told,) = await proxy.until(1)
        assert server.connections == 0
    assert (told.allowed, told.reason) == (False, "bad_request")
    assert told.host.isprintable()


async def forwarded(proxy: Any, make_host: Any, head: bytes, body: bytes = b"") -> bytes:
    """What the host gets of a request, in lower case."""
    whole = asyncio.Event()

    async def keep(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        whole.set()

    async with make_host(keep) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.ask(head.replace(b"PORT", str(server.port).encode()) + body)
        await whole.wait()
        return bytes(server.got[0]).replace(str(server.port).encode(), b"PORT").lower()


async def test_the_host_that_is_told_is_the_one_that_was_judged(proxy: Any, make_host: Any) -> None:
    head = GET + b"Host: evil.test\r\nhOST: evil.test\r\nX-Forwarded-Host: y\r\n\r\n"
    got = await forwarded(proxy, make_host, head)
    assert got.count(b"\r\nhost: good.test:port\r\n") == 1
    assert b"evil" not in got
    assert b"x-forwarded-host: y" in got


async def test_what_is_for_the_proxy_goes_no_further(proxy: Any, make_host: Any) -> None:
    head = GET + (
        b"Connection: keep-alive, X-Mine, content-length, host\r\nX-Mine: 1\r\nProxy-Authorization: Basic c2VjcmV0\r\n"
        b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nTE: trailers\r\n"
        b"Expect: 100-continue\r\nKeep-Alive: 5\r\nTrailer: x\r\n\r\n"
    )
    got = await forwarded(proxy, make_host, head)
    for word in (b"x-mine", b"proxy-", b"upgrade", b"\r\nte:", b"expect", b"keep-alive", b"trailer:"):
        assert word not in got, word
    assert got.count(b"\r\nconnection: close\r\n") == 1
    assert got.count(b"\r\nhost: ") == 1


async def test_requests_at_once_on_a_connection_reach_nobody_but_the_first(
    proxy: Any, make_host: Any
) -> None:
    async with make_host() as server:
        proxy.names.answers |= {"good.test": [["127.0.0.1"]], "evil.test": [["127.0.0.1"]]}
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        first = GET.replace(b"PORT", str(server.port).encode())
        await client.ask(first + b"\r\n" + b"GET http://evil.test/2 HTTP/1.1\r\n\r\n" * 3)
        (told,) = await proxy.until(1)
        assert told.reason == "second_request"
        assert b"evil" not in b"".join(server.got)
    assert proxy.names.asked == ["good.test"]


@pytest.mark.parametrize(
    "name",
    [
        "127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0x7f000001", "017700000001", "0177.0.0.1", "2130706433",
        "127.0.0.01", "127.0.0.1.", "127.0.0.256", "1.2.3", "0", "0x", "00", "1.2.3.0x4", "good.test.1", "good.0x1",
        "[127.0.0.1]", "[::1", "[::1%25lo]", "[::ffff:127.0.0.1%1]", "[fe80::1%eth0]", "[v1.x]", "[]", "::1",
        "good.test.", "good..test", ".good.test", "-good.test", "good-.test", "*.good.test", "*", "good.test%00",
        "good.test%2e", "good test", "a" * 64 + ".test", "g" * 254, "gооd.test", "ⓖood.test", "good。test",
    ],
)  # fmt: skip
async def test_a_host_in_another_spelling_is_no_host(proxy: Any, name: str) -> None:
    await proxy.start("good.test:443", "*.good.test:443", ranges=("0.0.0.0/0", "::/0"))
    assert b"400" in await (await proxy.client()).refused(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode())
    assert (await proxy.until(1))[0].reason == "bad_request"
    assert proxy.names.asked == []
