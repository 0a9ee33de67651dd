"""Which gateways and models answer, for what, and how they stand. Makes no model call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from interlock.planner.commands.models import Models
from interlock.planner.gateways.base import Gateway, GatewayInfo
from interlock.planner.gateways.guarded import Standing


@dataclass(frozen=True, slots=True)
class Found:
    """What a gateway is, whether it answered its health check just now, and how it stands."""

    info: GatewayInfo
    available: bool
    standing: Standing


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Every gateway, the one asked first for plans with its models where it lists them, and names by purpose."""

    first: Found
    models: tuple[str, ...]
    gateways: tuple[Found, ...]
    routes: Mapping[str, tuple[str, ...]]


async def capabilities(models: Models) -> Capabilities:
    """Ask the gateways how they are; an unreachable one is reported as unavailable, not raised."""
    first = models.routes["plan"].gateways[0]
    gateways = models.gateways()
    asked = asyncio.gather(*(each.available() for each in gateways))
    names, answers = await asyncio.gather(first.models(), asked)
    found = {
        each.info.name: Found(each.info, answer, models.standing(each))
        for each, answer in zip(gateways, answers, strict=True)
    }
    routes = {
        purpose: tuple(each.info.name for each in route.gateways) for purpose, route in models.routes.items()
    }
    return Capabilities(found[first.info.name], names or _configured(first), tuple(found.values()), routes)


def _configured(gateway: Gateway) -> tuple[str, ...]:
    info = gateway.info
    return (info.model,) if info.model and info.kind != "router" else ()
