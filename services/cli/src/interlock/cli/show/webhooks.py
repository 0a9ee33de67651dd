"""Webhooks and their deliveries."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from interlock.cli.output import progress, show_list, show_one, write_fields
from interlock.cli.settings import Output, Settings
from interlock.cli.text import enum_text, labels_text, time_text
from interlock.v1.approval_pb2 import ApprovalFilter
from interlock.v1.decision_pb2 import ApprovalEventKind
from interlock.v1.step_pb2 import StepKind
from interlock.v1.webhook_pb2 import AddWebhookResponse, Webhook, WebhookDelivery, WebhookDeliveryState


def show_added(settings: Settings, added: AddWebhookResponse) -> None:
    """A new endpoint: a secret that was made alone on standard output, so that it can be taken by `$(…)`."""
    if settings.output is not Output.TABLE:
        show_one(settings, added, lambda: None)
        return
    once = " This is its secret's only showing:" if added.secret else ""
    progress(f"{added.webhook.webhook_id} is told what happens from now on.{once}")
    if added.secret:
        sys.stdout.write(added.secret + "\n")


def list_webhooks(settings: Settings, webhooks: Sequence[Webhook]) -> None:
    """Endpoints."""
    show_list(
        settings,
        "webhooks",
        webhooks,
        ("WEBHOOK", "URL", "ONLY", "PENDING", "DEAD", "NOTE"),
        lambda w: (w.webhook_id, w.url, _only(w.filter, w.events), str(w.pending), str(w.dead), w.note),
        empty="No webhooks; `interlock webhook add https://…` registers one.",
    )


def list_deliveries(settings: Settings, deliveries: Sequence[WebhookDelivery]) -> None:
    """What was or is to be sent."""
    show_list(
        settings,
        "deliveries",
        deliveries,
        ("DELIVERY", "STATE", "TYPE", "RUN", "AT", "TRIES", "WHY"),
        lambda d: (
            d.delivery_id,
            enum_text(WebhookDeliveryState, d.state),
            d.type,
            d.run_id,
            time_text(d.created_at),
            str(d.attempts),
            d.last_error,
        ),
        empty="Nothing was to be sent so far.",
    )


def show_delivery(settings: Settings, delivery: WebhookDelivery) -> None:
    """One delivery."""
    fields = (
        ("delivery", delivery.delivery_id),
        ("webhook", delivery.webhook_id),
        ("type", delivery.type),
        ("state", enum_text(WebhookDeliveryState, delivery.state)),
        ("tries", str(delivery.attempts)),
        ("why", delivery.last_error),
    )
    show_one(settings, delivery, lambda: write_fields(fields))


def _only(chosen: ApprovalFilter, events: Sequence[int]) -> str:
    parts = [chosen.run_id, chosen.workspace_id, labels_text(chosen.labels.items())]
    parts += [f"workspace {labels_text([each])}" for each in sorted(chosen.workspace_labels.items())]
    parts += [enum_text(StepKind, kind).lower() for kind in chosen.kinds]
    parts += [enum_text(ApprovalEventKind, event).lower() for event in events]
    return " ".join(part for part in parts if part)
