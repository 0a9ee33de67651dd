"""Webhooks: endpoints that are told what happens to approvals."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.client.connection import Connection
from interlock.v1 import webhook_pb2 as pb
from interlock.v1.approval_pb2 import ApprovalFilter


class WebhookCalls(Connection):
    """Calls of the Webhooks service."""

    async def add_webhook(
        self,
        url: str,
        matching: ApprovalFilter | None = None,
        *,
        events: Iterable[int] = (),
        secret: str = "",
        note: str = "",
        request_id: str = "",
    ) -> pb.AddWebhookResponse:
        """Register an endpoint. Without `secret` (`whsec_…`) one is made; it is in the answer and nowhere else."""
        request = pb.AddWebhookRequest(
            request_id=self.request_id(request_id), url=url, filter=matching, secret=secret, note=note
        )
        request.events.extend(events)  # type: ignore[arg-type]  # numbers of ApprovalEventKind
        return await self.call(self.webhook.AddWebhook, request)

    async def list_webhooks(self) -> list[pb.Webhook]:
        """Endpoints, oldest first, without their secrets."""
        return list((await self.call(self.webhook.ListWebhooks, pb.ListWebhooksRequest())).webhooks)

    async def remove_webhook(self, webhook_id: str) -> None:
        """Remove an endpoint and its deliveries."""
        await self.call(self.webhook.RemoveWebhook, pb.RemoveWebhookRequest(webhook_id=webhook_id))

    async def list_webhook_deliveries(
        self, webhook_id: str, *, states: Iterable[int] = (), limit: int = 100
    ) -> list[pb.WebhookDelivery]:
        """What was or is to be sent to an endpoint, newest first."""
        found: list[pb.WebhookDelivery] = []
        request = pb.ListWebhookDeliveriesRequest(webhook_id=webhook_id)
        request.states.extend(states)  # type: ignore[arg-type]  # numbers of WebhookDeliveryState
        while len(found) < limit:
            request.page_size = min(500, limit - len(found))
            page = await self.call(self.webhook.ListWebhookDeliveries, request)
            found.extend(page.deliveries)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def redeliver_webhook(self, delivery_id: str) -> pb.WebhookDelivery:
        """Send a delivery again, with the same id and body."""
        request = pb.RedeliverWebhookRequest(delivery_id=delivery_id)
        return (await self.call(self.webhook.RedeliverWebhook, request)).delivery

    async def test_webhook(self, webhook_id: str) -> pb.WebhookDelivery:
        """Send an event of type `webhook.test`."""
        request = pb.TestWebhookRequest(webhook_id=webhook_id)
        return (await self.call(self.webhook.TestWebhook, request)).delivery
