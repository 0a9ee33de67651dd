"""The gateways to models: where they are, what they are asked for, whether they answer. No model is asked.

Of running services it is told what is in force there, breakers included; else what the settings say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.cli.doctor.finding import Finding, Level
from interlock.client.endpoints import read_running
from interlock.common.config import data_dir
from interlock.common.errors import InterlockError

if TYPE_CHECKING:
    from interlock.v1.planner_pb2 import GetCapabilitiesResponse, ModelGateway

_SECONDS = 15.0
_LOCAL = "Install the local model (`make install`), or configure another: see docs/models.md."
_SERVER = "Check its base_url and key (INTERLOCK_MODEL_BASE_URL and INTERLOCK_MODEL_API_KEY), and that the server runs."


async def models() -> list[Finding]:
    """One finding for each gateway, and one for the routes where there are several gateways."""
    try:
        found = await _running() or await _settings()
    except InterlockError as error:
        return [Finding.of_error("model", error, Level.WARNING)]
    gateways = [_gateway(each, _orders(each.name, found), len(found.gateways) > 1) for each in found.gateways]
    return [*gateways, *_routes(found)]


async def _running() -> GetCapabilitiesResponse | None:
    """What a running planner of this data directory says; None where there is none, or it does not answer."""
    from interlock.client import Client

    running = read_running(data_dir())
    if running is None:
        return None
    try:
        async with (
            asyncio.timeout(_SECONDS),
            Client(planner=running.planner, directory=data_dir()) as client,
        ):
            return await client.planner_capabilities()
    except (InterlockError, TimeoutError):
        return None


async def _settings() -> GetCapabilitiesResponse:
    """What the settings of this environment make, asked for its health. Raises InterlockError for wrong settings."""
    from interlock.common.clock import SystemClock
    from interlock.planner import convert
    from interlock.planner.config import load_models
    from interlock.planner.gateways import factory
    from interlock.planner.queries.capabilities import capabilities

    built = factory.models(load_models(), SystemClock())
    try:
        return convert.capabilities(await capabilities(built))
    finally:
        await built.aclose()


def _orders(name: str, found: GetCapabilitiesResponse) -> Mapping[str, int]:
    """For which purposes a gateway is asked, and as which one."""
    return {
        route.purpose: list(route.gateways).index(name) + 1
        for route in found.routes
        if name in route.gateways
    }


def _gateway(gateway: ModelGateway, orders: Mapping[str, int], several: bool) -> Finding:
    check = f"model {gateway.name}" if several else "model"
    kind = gateway.kind if gateway.kind != gateway.name else ""
    what = " ".join(part for part in (gateway.name, kind, gateway.model, gateway.base_url) if part)
    if several:
        what += f"; for {_purposes(orders)}"
    if gateway.HasField("refused_for"):
        seconds = gateway.refused_for.ToMilliseconds() / 1000
        detail = (
            f"{what}; breaker open: failed {gateway.failures} times in a row, not asked for {seconds:.0f} s"
        )
        return Finding(check, Level.WARNING, detail, _SERVER)
    if gateway.available:
        return Finding(check, Level.OK, f"{what}; breaker closed. {gateway.notice}".strip())
    # Plans that a person wrote run without a model, unless they analyse, summarise or draft.
    fix = _LOCAL if gateway.kind == "local" else _SERVER
    return Finding(check, Level.WARNING, f"{what} does not answer", fix)


def _purposes(orders: Mapping[str, int]) -> str:
    return ", ".join(f"{purpose} ({place})" for purpose, place in orders.items())


def _routes(found: GetCapabilitiesResponse) -> Iterable[Finding]:
    if len(found.gateways) < 2:
        return []
    return [Finding("model routes", Level.OK, "; ".join(_route(r.purpose, r.gateways) for r in found.routes))]


def _route(purpose: str, names: Sequence[str]) -> str:
    return f"{purpose}: {', then '.join(names)}"
