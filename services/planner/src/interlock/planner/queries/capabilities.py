"""Which gateway and models answer. Makes no model call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from interlock.planner.commands.models import Models
from interlock.planner.gateways.base import GatewayInfo


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the gateway is, whether it answered its health check just now, and its models where it lists them."""

    info: GatewayInfo
    available: bool
    models: tuple[str, ...]


async def capabilities(models: Models) -> Capabilities:
    """Ask the gateway that plans; an unreachable one is reported as unavailable, not raised."""
    gateway = models.routes["plan"].gateways[0]
    available, names = await asyncio.gather(gateway.available(), gateway.models())
    configured = (gateway.info.model,) if gateway.info.model and gateway.info.name != "router" else ()
    return Capabilities(gateway.info, available, names or configured)
