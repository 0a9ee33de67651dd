"""TLS through a tunnel: only for the site that the tunnel was asked for."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for good.test and other.test."""
    if not (program := shutil.which("openssl")):
        pytest.skip("openssl is needed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=good.test", "-addext", "subjectAltName=DNS:good.test,DNS:other.test",
            "-keyout", path, "-out", path.with_suffix(".crt"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


class Site:
    """A TLS server at which several sites are, as at a content network; it keeps the names that it was asked for."""

    def __init__(self, certificate: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.sni_callback = lambda _, name, __: self.asked.append(name)
        self.asked: list[str | None] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline())[::-1])
        writer.close()


@pytest.fixture
async def site(certificate: Path) -> Any:
    made = Site(certificate)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=made.context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def handshake(proxy: Any, port: int, name: str | None) -> bytes:
    """Opens a tunnel to good.test and speaks TLS for `name` in it."""
    client = await proxy.client()
    assert b"200" in await client.tunnel(f"good.test:{port}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)

    async def until(step: Any, *arguments: Any) -> Any:
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                client.writer.write(outgoing.read())
                if not (data := await client.reader.read(65536)):
                    raise ConnectionError("cut") from None
                incoming.write(data)

    await until(tls.do_handshake)
    tls.write(b"hello\n")
    client.writer.write(outgoing.read())
    answer = bytes(await until(tls.read, 100))
    client.writer.close()
    return answer


@pytest.mark.parametrize("name", ["good.test", "GOOD.test", None])
async def test_a_site_is_reached_by_its_name_or_without_one(proxy: Any, site: Site, name: str | None) -> None:
    proxy.names.answers["good.test"] = [["127.0.0.1"]]
    await proxy.start(f"good.test:{site.port}")
    assert await handshake(proxy, site.port, name) == b"\nolleh"
    assert [each and each.lower() for each in site.asked] == [name and "good.test"]
    (told,) = await proxy.until(1)
    assert (told.allowed, told.reason) == (True, "")
    assert told.sent > 100


@pytest.mark.parametrize("name", ["other.test", "sub.good.test", "good.test.evil.test"])
async def test_another_site_at_the_same_address_is_not(proxy: Any, site: Site, name: str) -> None:
    """Not even one that the step may reach by a tunnel of its own."""
    proxy.names.answers["good.test"] = [["127.0.0.1"]]
    await proxy.start(f"good.test:{site.port}", f"other.test:{site.port}")
    with pytest.raises(ConnectionError):
        await handshake(proxy, site.port, name)
    (told,) = await proxy.until(1)
    assert (told.reason, told.sent) == ("other_site", 0)
    assert name in told.detail
    assert site.asked == []


async def test_a_greeting_that_cannot_be_read_is_not_passed_on(proxy: Any, make_host: Any) -> None:
    async with make_host() as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        client.writer.write(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01x")
        assert await client.reader.read() == b""
        assert (await proxy.until(1))[0].reason == "other_site"
    assert server.got == []


async def test_a_host_that_speaks_first_is_heard_before_the_client_says_anything(
    proxy: Any, make_host: Any
) -> None:
    async def banner(known: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-test\r\n")
        known.got.append(await reader.readline())

    async with make_host(banner) as server:
        proxy.names.answers["good.test"] = [["127.0.0.1"]]
        await proxy.start(f"good.test:{server.port}")
        client = await proxy.client()
        await client.tunnel(f"good.test:{server.port}")
        assert await client.reader.readline() == b"SSH-2.0-test\r\n"
        client.writer.write(b"SSH-2.0-client\r\n")
        assert await client.reader.read() == b""
    assert server.got == [b"SSH-2.0-client\r\n"]
