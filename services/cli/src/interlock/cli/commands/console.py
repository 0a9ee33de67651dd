"""`interlock console`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

app = group("Print a link that signs a browser in to the console.")

_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={url}">
<title>Interlock</title>
<a href="{url}">The console</a>
"""


@command(app, "console")
async def console(
    settings: Settings,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
) -> None:
    """Print a link that signs a browser in to the console, the page to see pending steps and decide on.

    The link carries the token (--token, INTERLOCK_TOKEN, your login's or the data directory's) behind `#`, which
    browsers never send. Whoever has the link has the token: for others, issue one with `interlock token create`.
    `--open` writes the link to `console.html` in the data directory, readable for you alone, and opens that, so that
    it is in no process list.
    """
    from interlock.cli.output import progress, write_json

    url = await _url(settings)
    if open_it:
        import webbrowser

        page = _page(settings.directory / "console.html", url)
        if not webbrowser.open(page.as_uri()):
            progress("There is no browser to open here; take the link.")
    if settings.output is Output.TABLE:
        print(url)
    else:
        write_json({"url": url}, settings.output)


async def _url(settings: Settings) -> str:
    """Raises UNAVAILABLE when no gateway answers, UNAUTHENTICATED when there is no token."""
    import asyncio
    from urllib.parse import quote

    from interlock.cli.supervisor.listening import answers_http
    from interlock.client.connection import kept_token
    from interlock.client.endpoints import resolve
    from interlock.common.addresses import parse_address
    from interlock.common.config import env_text
    from interlock.common.errors import InterlockError, Reason

    env = settings.env()
    address = resolve(directory=settings.directory, env=env).gateway
    https = bool(env_text("INTERLOCK_GATEWAY_TLS_CERT", env=env))
    if parse_address(address).is_unix or not await answers_http(address, https=https):
        raise InterlockError(
            Reason.UNAVAILABLE,
            f"No gateway answers at {address}.",
            fix="Start the services with `interlock up`, or name the gateway by INTERLOCK_GATEWAY_ADDRESS.",
        )
    token = await asyncio.to_thread(kept_token, settings.directory, env)  # it may have to be renewed
    return f"http{'s' if https else ''}://{address}/#token={quote(token, safe='')}"


def _page(path: Path, url: str) -> Path:
    """A page that leads to the link, which only its owner can read."""
    import html
    import os

    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_PAGE.format(url=html.escape(url)))
    return path
