"""The Webhooks service: each handler calls one use case."""

from __future__ import annotations

from typing import Any

from interlock.orchestrator.commands import webhooks as commands
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.queries import webhooks as queries
from interlock.orchestrator.store import webhooks
from interlock.orchestrator.webhooks.settings import WebhookSettings
from interlock.orchestrator.webhooks.worker import WebhookWorker
from interlock.v1 import webhook_pb2 as pb
from interlock.v1 import webhook_pb2_grpc


class WebhooksService(webhook_pb2_grpc.WebhooksServicer):
    """Handlers of interlock.v1.Webhooks."""

    def __init__(self, deps: Deps, settings: WebhookSettings, worker: WebhookWorker) -> None:
        self._deps, self._settings, self._worker = deps, settings, worker

    async def AddWebhook(self, request: pb.AddWebhookRequest, context: Any) -> pb.AddWebhookResponse:
        made = await commands.add(self._deps, self._settings, request)
        self._worker.changed()
        return made

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        return await queries.list_webhooks(self._deps)

    async def RemoveWebhook(self, request: pb.RemoveWebhookRequest, context: Any) -> pb.RemoveWebhookResponse:
        await webhooks.remove(self._deps.database, request.webhook_id)
        self._worker.changed()
        return pb.RemoveWebhookResponse()

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Any
    ) -> pb.ListWebhookDeliveriesResponse:
        return await queries.list_deliveries(self._deps, request)

    async def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: Any
    ) -> pb.RedeliverWebhookResponse:
        made = await commands.redeliver(self._deps, request)
        self._worker.changed()
        return made

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Any) -> pb.TestWebhookResponse:
        made = await commands.test(self._deps, request)
        self._worker.changed()
        return made
