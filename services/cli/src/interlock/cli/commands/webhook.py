"""`interlock webhook`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Tell URLs what happens to approvals, by signed messages.")

WEBHOOK = Annotated[str, typer.Argument(help="Webhook id, `whk-…`.")]


@command(app, "add")
async def add(
    settings: Settings,
    url: Annotated[str, typer.Argument(help="Where to post to: https://…")],
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Only these: run=…, workspace=…, kind=run_command, label.KEY=VALUE (the run's), "
            "workspace-label.KEY=VALUE, event=requested; repeatable.",
        ),
    ] = None,
    secret_from: Annotated[
        str,
        typer.Option(
            help="Where the secret `whsec_…` is: a file, env:NAME, or - for standard input. Default: one is made."
        ),
    ] = "",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Register an endpoint. A secret that is made goes to standard output, once."""
    from interlock.cli.session import connect
    from interlock.cli.show.webhooks import show_added
    from interlock.cli.webhooks import chosen, secret_of

    secret = secret_of(secret_from)
    async with connect(settings) as client:
        matching, events = await chosen(client, filter_ or ())
        show_added(settings, await client.add_webhook(url, matching, events=events, secret=secret, note=note))


@command(app, "list")
async def list_(settings: Settings) -> None:
    """List endpoints, oldest first, with what is still to be sent and what was given up."""
    from interlock.cli.session import connect
    from interlock.cli.show.webhooks import list_webhooks

    async with connect(settings) as client:
        list_webhooks(settings, await client.list_webhooks())


@command(app, "remove")
async def remove(settings: Settings, webhook: WEBHOOK) -> None:
    """Remove an endpoint and its deliveries."""
    from interlock.cli.output import progress
    from interlock.cli.session import connect

    async with connect(settings) as client:
        await client.remove_webhook(webhook)
        progress(f"{webhook} is removed.")


@command(app, "deliveries")
async def deliveries(
    settings: Settings,
    webhook: WEBHOOK,
    state: Annotated[
        list[str] | None, typer.Option(help="pending, delivered or dead; repeatable. Default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most to show.")] = 100,
) -> None:
    """Show what was or is to be sent to an endpoint, newest first."""
    from interlock.cli.session import connect
    from interlock.cli.show.webhooks import list_deliveries
    from interlock.cli.values import parse_enum
    from interlock.v1.webhook_pb2 import WebhookDeliveryState

    states = [parse_enum(WebhookDeliveryState, each, "state") for each in state or ()]
    async with connect(settings) as client:
        list_deliveries(settings, await client.list_webhook_deliveries(webhook, states=states, limit=limit))


@command(app, "redeliver")
async def redeliver(
    settings: Settings, delivery: Annotated[str, typer.Argument(help="Delivery id, `whd-…`.")]
) -> None:
    """Send a delivery again, with the same id and body."""
    from interlock.cli.session import connect
    from interlock.cli.show.webhooks import show_delivery

    async with connect(settings) as client:
        show_delivery(settings, await client.redeliver_webhook(delivery))


@command(app, "test")
async def test(settings: Settings, webhook: WEBHOOK) -> None:
    """Send an event of type `webhook.test`; `deliveries` shows what became of it."""
    from interlock.cli.session import connect
    from interlock.cli.show.webhooks import show_delivery

    async with connect(settings) as client:
        show_delivery(settings, await client.test_webhook(webhook))
