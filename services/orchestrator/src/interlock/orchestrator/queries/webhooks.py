"""Which endpoints there are, and what was sent to them."""

from __future__ import annotations

from interlock.common.paging import decode_page_token, encode_page_token, page_size
from interlock.orchestrator.convert import webhooks as convert
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store import webhooks
from interlock.v1 import webhook_pb2 as pb


async def list_webhooks(deps: Deps) -> pb.ListWebhooksResponse:
    """All of them, oldest first."""
    counts = await webhooks.counts(deps.database)
    rows = await webhooks.endpoints(deps.database)
    return pb.ListWebhooksResponse(webhooks=[convert.webhook(row, counts) for row in rows])


async def list_deliveries(
    deps: Deps, message: pb.ListWebhookDeliveriesRequest
) -> pb.ListWebhookDeliveriesResponse:
    """A page of an endpoint's deliveries, newest first. Raises WEBHOOK_NOT_FOUND."""
    await webhooks.endpoint(deps.database, message.webhook_id)
    states = sorted(convert.state_names(list(message.states)))
    list_ = f"ListWebhookDeliveries/{message.webhook_id}/{states}"
    before = decode_page_token(list_, message.page_token).integer("before") if message.page_token else None
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await webhooks.page(deps.database, message.webhook_id, states=states, before=before, limit=size)
    token = encode_page_token(list_, {"before": rows[-1].number}) if len(rows) == size else ""
    return pb.ListWebhookDeliveriesResponse(
        deliveries=[convert.delivery(row) for row in rows], next_page_token=token
    )
