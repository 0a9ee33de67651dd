"""Webhooks and deliveries as messages, and what is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from google.protobuf import json_format

from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.store.webhooks import DeliveryRow, EndpointRow
from interlock.v1 import approval_pb2, decision_pb2, webhook_pb2

TEST: Final = "webhook.test"
_KIND: Final = "APPROVAL_EVENT_KIND_"
_STATE: Final = "WEBHOOK_DELIVERY_STATE_"


def chosen(message: webhook_pb2.AddWebhookRequest) -> dict[str, Any]:
    """What an endpoint is told of, as it is kept."""
    events = sorted({decision_pb2.ApprovalEventKind.Name(kind) for kind in message.events})
    return {"filter": json_format.MessageToDict(message.filter), "events": events}


def filter_of(row: EndpointRow) -> approval_pb2.ApprovalFilter:
    """Which approvals an endpoint is told of."""
    return json_format.ParseDict(dict(row.chosen["filter"]), approval_pb2.ApprovalFilter())


def kinds_of(row: EndpointRow) -> frozenset[int]:
    """Which events; empty = all."""
    return frozenset(decision_pb2.ApprovalEventKind.Value(name) for name in row.chosen["events"])


def webhook(row: EndpointRow, counts: Mapping[tuple[str, str], int]) -> webhook_pb2.Webhook:
    """The message about an endpoint."""
    message = webhook_pb2.Webhook(
        webhook_id=row.id,
        url=row.url,
        filter=filter_of(row),
        events=sorted(kinds_of(row)),  # type: ignore[arg-type]  # numbers of ApprovalEventKind
        note=row.note,
        created_by=row.created_by,
        pending=counts.get((row.id, "pending"), 0),
        dead=counts.get((row.id, "dead"), 0),
    )
    message.created_at.FromDatetime(row.created_at)
    return message


def delivery(row: DeliveryRow) -> webhook_pb2.WebhookDelivery:
    """The message about a delivery."""
    message = webhook_pb2.WebhookDelivery(
        delivery_id=row.id,
        webhook_id=row.webhook_id,
        run_id=row.run_id,
        type=row.type,
        position=row.position,
        state=webhook_pb2.WebhookDeliveryState.Value(_STATE + row.state.upper()),
        attempts=row.attempts,
        last_status=row.last_status,
        last_error=row.last_error,
    )
    message.created_at.FromDatetime(row.created_at)
    if row.state == "pending":
        message.next_at.FromDatetime(row.next_at)
    if row.state == "delivered" and row.settled_at is not None:
        message.delivered_at.FromDatetime(row.settled_at)
    return message


def state_names(states: list[int]) -> list[str]:
    """`pending`, `delivered`, `dead`, as the database has them."""
    names = (webhook_pb2.WebhookDeliveryState.Name(state) for state in states)  # type: ignore[arg-type]
    return [name.removeprefix(_STATE).lower() for name in names]


def type_of(event: decision_pb2.ApprovalEvent) -> str:
    """`approval.requested`, `approval.resolved`, …"""
    return "approval." + decision_pb2.ApprovalEventKind.Name(event.kind).removeprefix(_KIND).lower()


def body(event: decision_pb2.ApprovalEvent, at: datetime) -> bytes:
    """What is sent: who receives it is not shown the step's input, its preview or the workspace's files."""
    told = decision_pb2.ApprovalEvent()
    told.CopyFrom(event)
    for name in ("spec", "preview", "traceparent"):
        told.approval.ClearField(name)
    return _json(type_of(event), at, json_format.MessageToDict(told))


def test_body(webhook_id: str, at: datetime) -> bytes:
    """What a test sends."""
    return _json(TEST, at, {"webhookId": webhook_id})


def _json(type_: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    document = {"type": type_, "timestamp": time_text(at), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
