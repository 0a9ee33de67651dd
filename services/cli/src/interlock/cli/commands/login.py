"""`interlock login`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Log in at the OpenID provider with a browser; --forget logs out.")


@command(app, "login")
async def login(
    settings: Settings,
    issuer: Annotated[str, typer.Option(help="The provider. Default: INTERLOCK_OIDC_ISSUER.")] = "",
    client_id: Annotated[
        str, typer.Option("--client-id", help="Default: INTERLOCK_OIDC_CLIENT_ID, or the first audience.")
    ] = "",
    scope: Annotated[str, typer.Option(help="What is asked for.")] = "openid profile email",
    wait: Annotated[str, typer.Option(help="How long to wait for the browser: 90s, 5m.")] = "5m",
    browser: Annotated[bool, typer.Option(help="Open a browser, or only print the address.")] = True,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the login that is kept.")] = False,
) -> None:
    """Get a token from the provider and keep it in the data directory for the commands that follow.

    It is renewed while the provider allows it. INTERLOCK_OIDC_CLIENT_SECRET is for clients that have one.
    """
    import asyncio
    import webbrowser

    from interlock.cli.login.flow import log_in
    from interlock.cli.output import progress
    from interlock.cli.values import parse_duration
    from interlock.client import login as logins
    from interlock.common.config import env_list, env_text

    if forget:
        was = logins.remove(settings.directory)
        progress("Logged out." if was else "There was no login.")
        return
    env = settings.env()
    provider = issuer or env_text("INTERLOCK_OIDC_ISSUER", env=env)
    audiences = env_list("INTERLOCK_OIDC_AUDIENCE", env=env)
    client = client_id or env_text("INTERLOCK_OIDC_CLIENT_ID", audiences[0] if audiences else "", env)
    _need(provider, "issuer", "--issuer or INTERLOCK_OIDC_ISSUER")
    _need(client, "client-id", "--client-id or INTERLOCK_OIDC_CLIENT_ID")
    tasks: set[asyncio.Future[bool]] = set()

    def show(address: str) -> None:
        progress("Open this address in a browser:")
        progress(address)
        if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            tasks.add(asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address))

    seconds = parse_duration(wait, "wait") or 300.0
    secret = env_text("INTERLOCK_OIDC_CLIENT_SECRET", env=env)
    made = await log_in(provider, client, secret=secret, scope=scope, seconds=seconds, show=show)
    logins.write(settings.directory, made)
    progress(f"Logged in at {provider}; `interlock whoami` shows as whom.")


def _need(value: str, field: str, names: str) -> None:
    from interlock.common.errors import InterlockError, Reason

    if not value:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"No {field} is named.", field=field, fix=f"Give {names}."
        )
