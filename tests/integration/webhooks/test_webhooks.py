"""Webhooks: real POSTs of a real orchestrator to a real HTTP server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.support.orchestrator import (
    RING,
    TOKEN,
    Running,
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor
from tests.support.webhook_receiver import FLOOD, GARBAGE, REDIRECT, STALL, Received, receiving

from interlock.common.addresses import Address
from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.webhooks.addresses import networks
from interlock.orchestrator.webhooks.settings import WebhookSettings
from interlock.v1 import approval_pb2, decision_pb2, webhook_pb2_grpc
from interlock.v1 import webhook_pb2 as pb

FAST = WebhookSettings(
    networks(["127.0.0.1"]), attempts=4, first=0.02, longest=0.05, timeout=5.0, poll=0.05, ring=RING
)
TYPES = ["approval.requested", "approval.resolved", "approval.applied"]
pytestmark = pytest.mark.timeout(150)


@pytest.fixture
async def executor() -> AsyncIterator[Address]:
    async with executor_server(ScriptedExecutor(Script())) as address:
        yield address


@asynccontextmanager
async def serving(
    database_url: str, executor: Address, settings: WebhookSettings = FAST
) -> AsyncIterator[tuple[Running, Any]]:
    async with (
        orchestrator(database_url, executor, webhooks=settings) as it,
        channel(it.address, TOKEN) as opened,
    ):
        yield it, webhook_pb2_grpc.WebhooksStub(opened)


async def add(hooks: Any, url: str, **more: Any) -> pb.AddWebhookResponse:
    with rpc_errors():
        made: pb.AddWebhookResponse = await hooks.AddWebhook(pb.AddWebhookRequest(url=url, **more))
    return made


async def deliveries(hooks: Any, webhook_id: str) -> list[pb.WebhookDelivery]:
    request = pb.ListWebhookDeliveriesRequest(webhook_id=webhook_id)
    return list((await hooks.ListWebhookDeliveries(request)).deliveries)


async def approved(it: Running, **labels: str) -> str:
    """A run of one edit that was approved and is over."""
    run = await create(it.stub, edit(), labels=labels)
    await decide(it.stub, await pending(it.stub, run.run_id))
    await until(it.stub, run.run_id, "COMPLETED")
    return str(run.run_id)


async def test_what_happens_arrives_signed_and_in_order(database_url: str, executor: Address) -> None:
    async with receiving() as receiver, receiving() as other, serving(database_url, executor) as (it, hooks):
        made = await add(hooks, f"{receiver.url}/hook?a=b")
        chosen = await add(
            hooks,
            other.url,
            filter=approval_pb2.ApprovalFilter(labels={"team": "a"}),
            events=[decision_pb2.APPROVAL_EVENT_KIND_RESOLVED],
            secret="whsec_" + "A" * 32,
        )
        assert chosen.secret == ""
        with pytest.raises(InterlockError) as caught:
            await add(hooks, receiver.url, filter=approval_pb2.ApprovalFilter(for_me=True))
        assert caught.value.field == "filter.for_me"
        with pytest.raises(InterlockError) as caught:
            await add(hooks, "http://10.0.0.1/")
        assert caught.value.field == "url"
        runs = [await approved(it), await approved(it, team="a")]
        await receiver.until(lambda r: len(r.accepted) == 6)
        await other.until(lambda r: len(r.accepted) == 1)
        listed = (await hooks.ListWebhooks(pb.ListWebhooksRequest())).webhooks
    for run in runs:
        assert [each.told[0] for each in receiver.accepted if each.told[1] == run] == TYPES
    assert other.accepted[0].told == ("approval.resolved", runs[1])
    assert all(each.is_signed_by(made.secret) for each in receiver.accepted)
    assert not any(each.is_signed_by("whsec_" + "B" * 32) for each in receiver.accepted)
    assert other.accepted[0].is_signed_by("whsec_" + "A" * 32)
    first = receiver.accepted[0]
    assert (first.path, first.headers["content-type"]) == ("/hook?a=b", "application/json")
    shown = first.document["data"]["approval"]
    assert shown["state"] == "APPROVAL_STATE_PENDING"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first.document["data"]["runHead"])
    assert int(first.document["data"]["runSeq"]) > 1
    assert not {"spec", "preview"} & set(shown)
    assert made.secret.encode() not in b"".join(each.SerializeToString() for each in listed)


async def test_a_failing_run_is_tried_again_and_holds_up_nothing_else(
    database_url: str, executor: Address
) -> None:
    bad: dict[str, list[int]] = {}

    def answer(received: Received) -> int:
        left = bad.get(received.told[1], [])
        return left.pop(0) if left else 200

    async with receiving(answer) as receiver, serving(database_url, executor) as (it, hooks):
        made = await add(hooks, receiver.url)
        run = await create(it.stub, edit())
        bad[run.run_id] = [500, REDIRECT, GARBAGE]
        question = await pending(it.stub, run.run_id)
        other = await approved(it)
        await decide(it.stub, question)
        await receiver.until(lambda r: len(r.accepted) == 6)
        (first, *_) = [each for each in await deliveries(hooks, made.webhook.webhook_id) if each.attempts > 1]
    mine = [each for each in receiver.requests if each.told[1] == run.run_id]
    assert [each.told[0] for each in mine] == [TYPES[0]] * 4 + TYPES[1:]
    assert len({each.id for each in mine[:4]}) == 1
    assert [each.told[0] for each in receiver.accepted if each.told[1] == other] == TYPES
    assert not [each for each in receiver.requests if each.path != "/"]
    assert first.delivery_id == mine[0].id


async def test_what_never_arrives_is_given_up_visibly_and_sent_again_on_request(
    database_url: str, executor: Address
) -> None:
    ends = {TYPES[0]: [STALL, STALL], TYPES[1]: [FLOOD, 404]}

    def answer(received: Received) -> int:
        left = ends.get(received.told[0], [])
        return left.pop(0) if left else 200

    settings = replace(FAST, attempts=2, timeout=0.3)
    async with receiving(answer) as receiver, serving(database_url, executor, settings) as (it, hooks):
        made = await add(hooks, receiver.url)
        await approved(it)
        await receiver.until(lambda r: len(r.accepted) == 1)
        found = {each.type: each for each in await deliveries(hooks, made.webhook.webhook_id)}
        (listed,) = (await hooks.ListWebhooks(pb.ListWebhooksRequest())).webhooks
        assert listed.dead == 2
        dead = found[TYPES[0]]
        assert (dead.state, dead.attempts) == (pb.WEBHOOK_DELIVERY_STATE_DEAD, 2)
        assert "no answer within" in dead.last_error
        assert (found[TYPES[1]].last_status, found[TYPES[1]].last_error) == (404, "status 404")
        await hooks.RedeliverWebhook(pb.RedeliverWebhookRequest(delivery_id=dead.delivery_id))
        await receiver.until(lambda r: len(r.accepted) == 2)
        assert receiver.accepted[1].id == dead.delivery_id
        tried = await hooks.TestWebhook(pb.TestWebhookRequest(webhook_id=made.webhook.webhook_id))
        await receiver.until(lambda r: len(r.accepted) == 3)
        assert receiver.accepted[2].id == tried.delivery.delivery_id
        assert receiver.accepted[2].told[0] == "webhook.test"
        await hooks.RemoveWebhook(pb.RemoveWebhookRequest(webhook_id=made.webhook.webhook_id))
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await deliveries(hooks, made.webhook.webhook_id)
        assert caught.value.reason is Reason.WEBHOOK_NOT_FOUND


async def test_restarts_and_replicas_lose_nothing(database_url: str, executor: Address) -> None:
    open_ = False

    async with receiving(lambda _: 200 if open_ else 503) as receiver:
        patient = replace(FAST, attempts=1000)
        async with serving(database_url, executor, patient) as (it, hooks):
            await add(hooks, receiver.url)
            runs = [await approved(it)]
            await receiver.until(lambda r: bool(r.requests))
        async with (
            serving(database_url, executor, patient) as (one, _),
            serving(database_url, executor, patient) as (two, _),
        ):
            open_ = True
            runs += [await approved(each) for each in (one, two, one, two)]
            await receiver.until(lambda r: len(r.accepted) == 15)
            # Whatever a second deliverer would have sent twice is in the database by now, and so is what it did not.
            await approved(one)
            await receiver.until(lambda r: len(r.accepted) >= 18)
    for run in runs:
        assert [each.told[0] for each in receiver.accepted if each.told[1] == run] == TYPES
    assert set(Counter(each.id for each in receiver.accepted).values()) == {1}
