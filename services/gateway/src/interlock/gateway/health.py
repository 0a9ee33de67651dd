"""Whether the gateway lives (`/healthz`), and whether what is behind it serves (`/readyz`)."""

from __future__ import annotations

from interlock.gateway.app import Page
from interlock.gateway.backends import Backends
from interlock.gateway.calls import JSON
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.transcode.document import write_json

_FRESH = (("cache-control", "no-store"),)


def pages(backends: Backends) -> dict[str, Page]:
    """The two pages. `/readyz` is 503 while a service does not serve, and says which."""

    async def healthz(exchange: Exchange) -> None:
        await exchange.answer(200, JSON, write_json({"status": "serving"}), _FRESH)

    async def readyz(exchange: Exchange) -> None:
        services = await backends.health()
        ready = all(services.values())
        said = {"status": "serving" if ready else "not serving", "services": services}
        await exchange.answer(200 if ready else 503, JSON, write_json(said), _FRESH)

    return {"/healthz": healthz, "/readyz": readyz}
