"""The API's description (`/openapi.json`) and Swagger UI over it (`/docs`), served from here alone."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Final

from interlock.gateway.app import Page
from interlock.gateway.calls import JSON
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.openapi.document import document
from interlock.gateway.problems import HttpError

# Swagger UI sets styles in markup; everything else comes from files of this origin, and nothing from any other.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HTML: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interlock: HTTP API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null,
  docExpansion: "none", tryItOutEnabled: false, persistAuthorization: false});
"""
_FILES: Final = {
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}


def pages() -> dict[str, Page]:
    """The pages by path."""

    async def description(exchange: Exchange) -> None:
        # Made at the first request, not at the start of the process.
        await exchange.answer(200, JSON, await asyncio.to_thread(document))

    async def docs(exchange: Exchange) -> None:
        # Whoever opens this page has no hold on its window: a token may be pasted here.
        headers = [("content-security-policy", _POLICY), ("cross-origin-opener-policy", "same-origin")]
        await exchange.answer(200, "text/html; charset=utf-8", _HTML, headers)

    async def start(exchange: Exchange) -> None:
        await exchange.answer(200, "text/javascript; charset=utf-8", _START)

    return {
        "/openapi.json": description,
        "/docs": docs,
        "/docs/start.js": start,
        **{path: _file(path.rpartition("/")[2], kind) for path, kind in _FILES.items()},
    }


def _file(name: str, media_type: str) -> Page:
    async def page(exchange: Exchange) -> None:
        content = await asyncio.to_thread(_asset, name)
        await exchange.answer(200, media_type, content, [("cache-control", "public, max-age=3600")])

    return page


def _asset(name: str) -> bytes:
    """A file of the installed package; its code is not run. Raises a problem of status 404 when it is not installed."""
    package = importlib.util.find_spec("swagger_ui_bundle")
    for place in (package.submodule_search_locations or []) if package else []:
        for directory in sorted(Path(place, "vendor").glob("swagger-ui-*"), reverse=True):
            if (directory / name).is_file():
                return (directory / name).read_bytes()
    raise HttpError(404, "Swagger UI is not installed here.", fix="Install the package swagger-ui-bundle-v2.")
