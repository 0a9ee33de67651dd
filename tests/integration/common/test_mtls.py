"""Ports that take certificates of one authority only: who gets in, and as what."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from tests.support.echo import SERVICE, Echo, add_to_server, call, message

from interlock.cli.certs import directory as certs
from interlock.common import tls
from interlock.common.addresses import Address
from interlock.common.auth import SUBJECT
from interlock.common.client import channel, error_from_rpc
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import ServerSpec, running, serve
from interlock.common.tls import TlsFiles

NOW = SystemClock().now()
GONE = "UNAVAILABLE"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ours") / "certs"
    certs.init(place, NOW, days=2)
    return place


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("theirs") / "certs"
    certs.init(place, NOW, days=2)
    return place


@pytest.fixture(scope="module")
def expired(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of our authority, until a minute ago."""
    place = tmp_path_factory.mktemp("expired") / "certs"
    place.mkdir()
    for name in ("ca.crt", "ca.key"):
        (place / name).write_bytes((ours / name).read_bytes())
    certs.renew(place, NOW - timedelta(days=1, minutes=1), days=1)
    return place


def spec(files: TlsFiles | None, address: str = "127.0.0.1:0") -> ServerSpec:
    return ServerSpec("echo", address, [(Echo(), add_to_server, SERVICE)], "t", tls=files)


@pytest.fixture
async def port(ours: Path) -> AsyncIterator[Address]:
    async with running(spec(TlsFiles.within(ours, "executor"))) as address:
        yield address


async def end(at: Address, files: TlsFiles | None, service: str = "executor", subject: str = "") -> str:
    """How a call ends that asks for the role `service`, with the shared token."""
    metadata = ((SUBJECT, subject),) if subject else ()
    opened = channel(at, "t", service=service, tls=files, metadata=metadata, timeout=20)
    async with opened:
        try:
            await call(opened, "Unary", message())
        except grpc.aio.AioRpcError as error:
            return error_from_rpc(error).reason.value
    return "OK"


@pytest.mark.parametrize("name", sorted(tls.TRUSTED))
async def test_services_get_in(port: Address, ours: Path, name: str) -> None:
    assert await end(port, TlsFiles.within(ours, name)) == "OK"
    assert await end(port, TlsFiles.within(ours, name), service="") == "OK"  # by its address


@pytest.mark.parametrize("name", ["client", "gateway"])
async def test_with_another_certificate_the_shared_token_makes_no_service(
    port: Address, ours: Path, name: str
) -> None:
    assert await end(port, TlsFiles.within(ours, name)) == "PERMISSION_DENIED"
    assert await end(port, TlsFiles.within(ours, name), subject="ada") == "PERMISSION_DENIED"


async def test_nobody_without_a_certificate_of_ours(
    port: Address, ours: Path, theirs: Path, expired: Path
) -> None:
    mixed = TlsFiles(theirs / "orchestrator.crt", theirs / "orchestrator.key", ours / "ca.crt")
    late = TlsFiles.within(expired, "orchestrator")
    for files in (None, TlsFiles.within(theirs, "orchestrator"), mixed, late):
        assert await end(port, files) == GONE, files
    bare = grpc.aio.secure_channel(str(port), grpc.ssl_channel_credentials((ours / "ca.crt").read_bytes()))
    async with bare:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bare.unary_unary(f"/{SERVICE}/Unary")(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_token_is_asked_for_all_the_same(port: Address, ours: Path) -> None:
    async with channel(
        port, "wrong", service="executor", tls=TlsFiles.within(ours, "orchestrator")
    ) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, "Unary", message())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_client_talks_to_the_service_that_it_means(ours: Path, theirs: Path, expired: Path) -> None:
    """The token is not sent to a port whose certificate is for another service, or of another authority."""
    caller = TlsFiles.within(ours, "orchestrator")
    for place, name in ((ours, "planner"), (ours, "client"), (theirs, "executor"), (expired, "executor")):
        async with running(spec(TlsFiles.within(place, name))) as address:
            assert await end(address, caller) == GONE, (place, name)
    async with running(spec(None)) as address:
        assert await end(address, caller) == GONE


async def test_new_certificates_are_used_without_a_restart(ours: Path, theirs: Path, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "c.crt", tmp_path / "c.key", tmp_path / "ca.crt")

    def take(place: Path) -> None:
        for path, name in ((files.key, "executor.key"), (files.cert, "executor.crt"), (files.ca, "ca.crt")):
            partial = path.with_suffix(".new")
            partial.write_bytes((place / name).read_bytes())
            partial.chmod(0o600)
            os.replace(partial, path)

    take(ours)
    async with running(spec(files)) as address:
        assert await end(address, TlsFiles.within(ours, "orchestrator")) == "OK"
        files.key.write_text("half a key")
        assert await end(address, TlsFiles.within(ours, "orchestrator")) == "OK"
        take(theirs)
        assert await end(address, TlsFiles.within(theirs, "orchestrator")) == "OK"
        assert await end(address, TlsFiles.within(ours, "orchestrator")) == GONE


async def test_a_port_for_other_machines_needs_tls(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InterlockError) as caught:
        await serve(spec(None, "0.0.0.0:0"), signals=False)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "INTERLOCK_ECHO_ADDRESS")
    async with running(spec(TlsFiles.within(ours, "executor"), "0.0.0.0:0")):
        pass
    monkeypatch.setenv(tls.CLEAR, "true")
    async with running(spec(None, "0.0.0.0:0")):
        pass


async def test_the_environment_names_the_files(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TlsFiles.within(ours, "executor").environment().items():
        monkeypatch.setenv(name, value)
    made = ServerSpec("echo", "127.0.0.1:0", [(Echo(), add_to_server, SERVICE)], "t")
    async with running(made) as address:
        assert await end(address, None) == "OK"
        monkeypatch.delenv(tls.CA)
        with pytest.raises(InterlockError) as caught:
            await end(address, None)
    assert caught.value.field == tls.CA


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda place: (place / "executor.key").chmod(0o640), tls.KEY),
        (lambda place: (place / "executor.key").write_bytes((place / "planner.key").read_bytes()), tls.KEY),
        (lambda place: (place / "executor.crt").write_text("x"), tls.CERT),
        (lambda place: (place / "executor.crt").unlink(), tls.CERT),
        (lambda place: (place / "ca.crt").write_text(""), tls.CA),
    ],
    ids=["open key", "another key", "no certificate", "no file", "no authority"],
)
async def test_files_that_do_not_fit_are_named(
    tmp_path: Path, spoil: Callable[[Path], object], field: str
) -> None:
    place = tmp_path / "certs"
    await asyncio.to_thread(certs.init, place, NOW, days=1)
    spoil(place)
    with pytest.raises(InterlockError) as caught:
        await serve(spec(TlsFiles.within(place, "executor")), signals=False)
    assert caught.value.field == field
