"""The console (`/`): a page for people who decide. Its files are built from services/console into `static/`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from interlock.gateway.app import Page
from interlock.gateway.http.exchange import Exchange

STATIC: Final = Path(__file__).parent / "static"

# Nothing but files of this origin, nothing written into the markup, and no string ever becomes markup or code.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = (
    ("content-security-policy", _POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    # Asked for again each time, so that the page and its files are of one release.
    ("cache-control", "no-cache"),
)
_HTML: Final = "text/html; charset=utf-8"
_FILES: Final = {
    "/": ("index.html", _HTML),
    "/console/signed-in": ("index.html", _HTML),
    "/console/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/console/style.css": ("style.css", "text/css; charset=utf-8"),
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
    "/console/licenses.txt": ("licenses.txt", "text/plain; charset=utf-8"),
}
_NOT_BUILT: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Interlock</title>
<h1>The console is not built here</h1>
<p>In the repository, <code>make console</code> builds it; the gateway need not be started again.</p>
<p>Everything else is served: <a href="/docs">the API</a>.</p>
</html>
"""


def pages(directory: Path = STATIC) -> dict[str, Page]:
    """The console's files by path. While they are not built, `/` says so with status 503."""
    return {path: _file(directory / name, kind) for path, (name, kind) in _FILES.items()}


def _file(path: Path, media_type: str) -> Page:
    async def page(exchange: Exchange) -> None:
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            await exchange.answer(503, _HTML, _NOT_BUILT, _HEADERS)
            return
        await exchange.answer(200, media_type, content, _HEADERS)

    return page
