"""Webhooks over TLS, and their secrets in the database."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.integration.webhooks.test_webhooks import FAST, add, deliveries, serving
from tests.support.orchestrator import RING, executor_server
from tests.support.scripted_executor import Script, ScriptedExecutor
from tests.support.webhook_receiver import receiving

from interlock.cli.certs import directory as certs
from interlock.common.addresses import Address
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError
from interlock.orchestrator.store import webhooks as store
from interlock.orchestrator.store.schema import webhooks
from interlock.orchestrator.webhooks.sealing import CLEAR, Ring
from interlock.orchestrator.webhooks.sender import Failed, Sender
from interlock.orchestrator.webhooks.settings import from_env
from interlock.v1 import webhook_pb2 as pb

pytestmark = pytest.mark.timeout(150)
OTHER = Ring([b"another key".ljust(32)])


@pytest.fixture
async def executor() -> AsyncIterator[Address]:
    async with executor_server(ScriptedExecutor(Script())) as address:
        yield address


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certs")
    certs.init(made, SystemClock().now(), days=2)
    return made


def server_side(place: Path, name: str = "gateway") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(place / f"{name}.crt", place / f"{name}.key")
    return made


def trusting(place: Path) -> ssl.SSLContext:
    found = from_env({"INTERLOCK_WEBHOOK_CA": str(place / "ca.crt"), "INTERLOCK_DATA_DIR": str(place)})
    assert found.trust is not None
    return found.trust


async def tried(hooks: Any, webhook_id: str) -> pb.WebhookDelivery:
    """A test delivery, when it has been tried."""
    sent = (await hooks.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook_id))).delivery
    while True:
        (found,) = [e for e in await deliveries(hooks, webhook_id) if e.delivery_id == sent.delivery_id]
        if found.attempts:
            return found


async def test_over_tls_to_whom_an_authority_vouches_for(
    database_url: str, executor: Address, authority: Path
) -> None:
    async with receiving(secure=server_side(authority)) as receiver:
        settings = replace(FAST, trust=trusting(authority), attempts=1)
        async with serving(database_url, executor, settings) as (_, hooks):
            made = await add(hooks, f"{receiver.url}/hook")
            found = await tried(hooks, made.webhook.webhook_id)
            assert (found.state, found.last_status) == (pb.WEBHOOK_DELIVERY_STATE_DELIVERED, 200)
        assert receiver.accepted[0].is_signed_by(made.secret)
        async with serving(database_url, executor, replace(FAST, attempts=1)) as (_, hooks):
            found = await tried(hooks, made.webhook.webhook_id)
        assert found.state == pb.WEBHOOK_DELIVERY_STATE_DEAD
        assert found.last_error == "TLS: CERTIFICATE_VERIFY_FAILED"
        assert len(receiver.requests) == 1, "nothing is told to whom nobody vouches for"


async def test_a_certificate_for_something_else_or_another_time_is_refused(
    authority: Path, tmp_path: Path
) -> None:
    async with receiving(secure=server_side(authority, "client")) as receiver:
        with pytest.raises(Failed, match="TLS: CERTIFICATE_VERIFY_FAILED"):
            await Sender(FAST.allow, 10.0, trusting(authority)).post(receiver.url, {}, b"{}")
    certs.init(tmp_path, SystemClock().now().replace(year=2020), days=1)
    async with receiving(secure=server_side(tmp_path)) as expired:
        with pytest.raises(Failed, match="TLS: CERTIFICATE_VERIFY_FAILED"):
            await Sender(FAST.allow, 10.0, trusting(tmp_path)).post(expired.url, {}, b"{}")
    assert receiver.requests == expired.requests == []


def test_authorities_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(InterlockError) as caught:
        from_env({"INTERLOCK_WEBHOOK_CA": str(tmp_path / "none.pem"), "INTERLOCK_DATA_DIR": str(tmp_path)})
    assert caught.value.field == "INTERLOCK_WEBHOOK_CA"


async def test_the_database_does_not_have_the_secret(database_url: str, executor: Address) -> None:
    async with receiving() as receiver:
        async with serving(database_url, executor) as (it, hooks):
            made = (await add(hooks, receiver.url, secret="whsec_" + "A" * 32)).webhook
            (row,) = await store.endpoints(it.deps.database)
            assert row.sealed_with == RING.newest
            assert b"\0" * 24 not in row.secret
            # As an earlier release kept it:
            clear = update(webhooks).values(secret=b"\0" * 24, sealed_with=CLEAR)
            await it.deps.database.write(clear)
            assert (await tried(hooks, made.webhook_id)).last_status == 200
        async with serving(database_url, executor, replace(FAST, attempts=1, ring=OTHER)) as (it, hooks):
            assert (await tried(hooks, made.webhook_id)).last_status == 200
            (row,) = await store.endpoints(it.deps.database)
            assert row.sealed_with == OTHER.newest, "what was in clear is sealed at the start"
        async with serving(database_url, executor, replace(FAST, attempts=1)) as (it, hooks):
            lost = await tried(hooks, made.webhook_id)
            assert OTHER.newest in lost.last_error
            assert lost.state == pb.WEBHOOK_DELIVERY_STATE_DEAD
        assert all(each.is_signed_by("whsec_" + "A" * 32) for each in receiver.requests)
        assert len(receiver.requests) == 2


async def test_without_a_key_no_endpoint_is_taken(database_url: str, executor: Address) -> None:
    async with serving(database_url, executor, replace(FAST, ring=Ring())) as (_, hooks):
        with pytest.raises(InterlockError) as caught:
            await add(hooks, "https://example.org/hook")
        assert caught.value.field == "INTERLOCK_WEBHOOK_KEY"
