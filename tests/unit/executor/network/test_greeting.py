"""The name in the greeting of a TLS client, as real clients write it and as nobody should."""

from __future__ import annotations

import random
import ssl

import pytest

from interlock.executor.sandbox.network.greeting import MOST, Unreadable, named_site


def greeting(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def names(*items: tuple[int, bytes]) -> bytes:
    listed = b"".join(kind.to_bytes(1, "big") + len(name).to_bytes(2, "big") + name for kind, name in items)
    return len(listed).to_bytes(2, "big") + listed


def made(*extensions: bytes, after: bytes = b"", kind: int = 1) -> bytes:
    """A greeting with these extensions, in one record."""
    joined = b"".join(extensions)
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(joined).to_bytes(2, "big") + joined + after
    return record(bytes((kind,)) + len(body).to_bytes(3, "big") + body)


def record(payload: bytes) -> bytes:
    return b"\x16\x03\x01" + len(payload).to_bytes(2, "big") + payload


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_real_clients(version: ssl.TLSVersion) -> None:
    assert named_site(greeting("Good.Test", version)) == "good.test"
    assert named_site(greeting(None, version)) == ""


def test_it_is_waited_for_until_it_is_whole() -> None:
    whole = greeting("good.test")
    assert [named_site(whole[:size]) for size in range(1, len(whole))] == [None] * (len(whole) - 1)
    assert named_site(whole + b"what follows") == "good.test"


def test_it_may_not_come_in_very_many_records() -> None:
    payload = greeting("good.test")[5:]
    with pytest.raises(Unreadable):
        named_site(b"".join(record(payload[at : at + 1]) for at in range(len(payload))))


@pytest.mark.parametrize("size", [10, 11, 50, 200])
def test_it_may_come_in_several_records(size: int) -> None:
    payload = greeting("good.test")[5:]
    cut = b"".join(record(payload[at : at + size]) for at in range(0, len(payload), size))
    assert named_site(cut) == "good.test"
    assert all(named_site(cut[:part]) is None for part in range(1, len(cut), 7))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x02\x01\x00\x10",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        made(kind=2),
        record(b"\x01\xff\xff\xff"),
        record(b"\x01\0\0\x02ab"),
        made(extension(0, names((0, b"a.test"))), extension(0, names((0, b"b.test")))),
        made(extension(0, names((0, b"a.test"), (0, b"b.test")))),
        made(extension(0, names((1, b"a.test")))),
        made(extension(0, names((0, b"")))),
        made(extension(0, names((0, "é.test".encode())))),
        made(extension(0, names((0, b"a.test")) + b"x")),
        made(extension(0, b"\0")),
        made(b"\0\0\0\x09short"),
        made(extension(0, names((0, b"a.test"))), after=b"x"),
        record(b"\x01\0")[:7] + b"\x17\x03\x03\0\x02ab",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        named_site(data)


def test_it_does_not_grow_without_end() -> None:
    with pytest.raises(Unreadable):
        named_site(record(b"\x01\x00\xff\xf0" + bytes(16000)) + record(bytes(1)) * (MOST // 6))


def test_whatever_comes_it_is_read_or_refused() -> None:
    rng = random.Random(5)
    whole = greeting("good.test")
    for _ in range(20_000):
        data = bytearray(whole[: rng.randrange(len(whole)) + 1])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            found = named_site(bytes(data))
        except Unreadable:
            continue
        assert found is None or (found.isascii() and found == found.lower())
