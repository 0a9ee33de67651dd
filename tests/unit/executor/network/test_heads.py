"""Requests to the proxy: understood in one way, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.executor.sandbox.network.heads import BadRequest, parse_head
from interlock.executor.sandbox.network.hosts import Host


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def test_connect() -> None:
    found = parse_head(head(b"CONNECT Example.ORG:443 HTTP/1.1", b"Host: other.example:1", b"X: y"))
    assert (found.host, found.tunnel) == (Host("example.org", 443), True)


def test_a_plain_request_is_made_one_for_the_host_and_loses_what_was_for_the_proxy() -> None:
    found = parse_head(
        head(
            b"POST http://example.org/a?b HTTP/1.1", b"Host: internal.example", b"Proxy-Authorization: Basic eA==",
            b"Connection: keep-alive, X-Mine", b"X-Mine: 1", b"Content-Length: 3", b"Accept: */*", b"Upgrade: h2c",
        )
    )  # fmt: skip
    assert (found.host, found.tunnel, found.body) == (Host("example.org", 80), False, 3)
    assert found.forward == head(
        b"POST /a?b HTTP/1.1",
        b"Host: example.org",
        b"Connection: close",
        b"Content-Length: 3",
        b"Accept: */*",
    )


@pytest.mark.parametrize(
    ("url", "path", "port"),
    [
        (b"http://h.test", b"/", 80),
        (b"http://h.test?q", b"/?q", 80),
        (b"HTTP://h.test:81/x", b"/x", 81),
        (b"http://h.test//evil.test/", b"//evil.test/", 80),
        (b"http://h.test/@evil.test:1", b"/@evil.test:1", 80),
    ],
)
def test_where_a_url_leads(url: bytes, path: bytes, port: int) -> None:
    found = parse_head(head(b"GET " + url + b" HTTP/1.1"))
    assert (found.host, found.forward.split()[1]) == (Host("h.test", port), path)


BAD = [
    head(b"GET / HTTP/1.1", b"Host: example.org"),
    head(b"GET https://example.org/ HTTP/1.1"),
    head(b"GET ftp://example.org/ HTTP/1.1"),
    head(b"GET http:///x HTTP/1.1"),
    head(b"GET http://user@example.org/ HTTP/1.1"),
    head(b"GET http://good.test:80@evil.test/ HTTP/1.1"),
    head(b"GET http://good.test\\@evil.test/ HTTP/1.1"),
    head(b"GET http://good.test#@evil.test/ HTTP/1.1"),
    head(b"GET http://127.1/ HTTP/1.1"),
    head(b"GET http://example.org:80:80/ HTTP/1.1"),
    head(b"CONNECT example.org HTTP/1.1"),
    head(b"CONNECT http://example.org:443 HTTP/1.1"),
    head(b"CONNECT u@example.org:443 HTTP/1.1"),
    head(b"CONNECT  example.org:443 HTTP/1.1"),
    head(b"CONNECT example.org:443 HTTP/2"),
    head(b"CONNECT example.org:443"),
    head(b"CONNECT ex\xc3\xa4mple.org:443 HTTP/1.1"),
    head(b"CONNECT example.org:443 HTTP/1.1", b"no colon"),
    head(b"CONNECT example.org:443 HTTP/1.1", b" folded: x"),
    head(b"CONNECT example.org:443 HTTP/1.1", b"space : x"),
    head(b"CONNECT example.org:443 HTTP/1.1", b"a: b\x00c"),
    head(b"CONNECT example.org:443 HTTP/1.1", b"a: b\nc: d"),
    head(b"CONNECT example.org:443 HTTP/1.1", *[b"a: b"] * 201),
    head(b"POST http://h.test/ HTTP/1.1", b"Content-Length: 1", b"Content-Length: 2"),
    head(b"POST http://h.test/ HTTP/1.1", b"Content-Length: 1, 1"),
    head(b"POST http://h.test/ HTTP/1.1", b"Content-Length: -1"),
    head(b"POST http://h.test/ HTTP/1.1", b"Content-Length: 0x10"),
    head(b"POST http://h.test/ HTTP/1.1", b"Transfer-Encoding: chunked"),
    head(b"POST http://h.test/ HTTP/1.1", b"Content-Length: 1", b"transfer-encoding: chunked"),
    head(b""),
    head(b"\x16\x03\x01 tls hello"),
]


@pytest.mark.parametrize("data", BAD)
def test_what_two_readers_could_understand_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_head(data)


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"CONNECT ", b"GET http://", b"CONNECT h.test:1 HTTP/1.1\r\n"]),
)
def test_any_bytes_are_a_head_or_refused(data: bytes, start: bytes) -> None:
    try:
        found = parse_head(start + data + b"\r\n\r\n")
    except BadRequest:
        return
    assert found.host.name
    assert found.forward.count(b"\r\n\r\n") == (not found.tunnel)


def test_what_was_asked_is_told_shortly_and_printable() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(head(b"CONNECT \xff" + b"a" * 500 + b":1 HTTP/1.1"))
    assert len(caught.value.asked) <= 200
    assert caught.value.asked.isascii()
