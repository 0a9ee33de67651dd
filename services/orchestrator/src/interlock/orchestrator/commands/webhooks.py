"""Registering endpoints, removing them, and sending to them on request."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.convert import webhooks as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import webhooks
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.webhooks import addresses, signing
from interlock.v1 import webhook_pb2 as pb


async def add(deps: Deps, message: pb.AddWebhookRequest) -> pb.AddWebhookResponse:
    """Registers one. Raises INVALID_ARGUMENT, REQUEST_ID_REUSED, RESOURCE_EXHAUSTED."""
    addresses.check_literal(addresses.parse(message.url), deps.webhooks.allow)
    if message.filter.for_me:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "A webhook is nobody who could approve: for_me has no meaning in its filter.",
            field="filter.for_me",
        )
    made = "" if message.secret else signing.new_secret()
    webhook_id = deps.ids.new("whk")
    sealed, key = deps.webhooks.ring.seal(signing.key_of(message.secret or made), webhook_id)
    row = webhooks.EndpointRow(
        webhook_id,
        message.url,
        convert.chosen(message),
        sealed,
        message.note,
        current_identity().subject,
        deps.clock.now(),
        await events.position(deps.database),
        key,
    )
    await webhooks.add(deps.database, row, message.request_id)
    deps.bell.ring()
    return pb.AddWebhookResponse(webhook=convert.webhook(row, {}), secret=made)


async def remove(deps: Deps, message: pb.RemoveWebhookRequest) -> pb.RemoveWebhookResponse:
    """Removes an endpoint with its deliveries. Raises WEBHOOK_NOT_FOUND."""
    await webhooks.remove(deps.database, message.webhook_id)
    deps.bell.ring()
    return pb.RemoveWebhookResponse()


async def redeliver(deps: Deps, message: pb.RedeliverWebhookRequest) -> pb.RedeliverWebhookResponse:
    """Sends a delivery again. Raises WEBHOOK_NOT_FOUND."""
    row = await webhooks.again(deps.database, message.delivery_id)
    deps.bell.ring()
    return pb.RedeliverWebhookResponse(delivery=convert.delivery(row))


async def test(deps: Deps, message: pb.TestWebhookRequest) -> pb.TestWebhookResponse:
    """Sends an event that says nothing. Raises WEBHOOK_NOT_FOUND."""
    found = await webhooks.endpoint(deps.database, message.webhook_id)
    body = convert.test_body(found.id, deps.clock.now())
    made = webhooks.New(deps.ids.new("whd"), found.id, "", 0, convert.TEST, body)
    await webhooks.enqueue(deps.database, [made], [], 0)
    deps.bell.ring()
    return pb.TestWebhookResponse(delivery=convert.delivery(await webhooks.delivery(deps.database, made.id)))
