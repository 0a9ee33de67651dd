"""The Webhooks service: each handler calls one use case."""

from __future__ import annotations

from typing import Any

from interlock.orchestrator.commands import webhooks as commands
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.queries import webhooks as queries
from interlock.v1 import webhook_pb2 as pb
from interlock.v1 import webhook_pb2_grpc


class WebhooksService(webhook_pb2_grpc.WebhooksServicer):
    """Handlers of interlock.v1.Webhooks."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def AddWebhook(self, request: pb.AddWebhookRequest, context: Any) -> pb.AddWebhookResponse:
        return await commands.add(self._deps, request)

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        return await queries.list_webhooks(self._deps)

    async def RemoveWebhook(self, request: pb.RemoveWebhookRequest, context: Any) -> pb.RemoveWebhookResponse:
        return await commands.remove(self._deps, request)

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Any
    ) -> pb.ListWebhookDeliveriesResponse:
        return await queries.list_deliveries(self._deps, request)

    async def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: Any
    ) -> pb.RedeliverWebhookResponse:
        return await commands.redeliver(self._deps, request)

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Any) -> pb.TestWebhookResponse:
        return await commands.test(self._deps, request)
