"""`interlock certs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Make and look at certificates for TLS between the services.")

DIR = Annotated[str, typer.Option("--dir", metavar="DIR", help="Default: `certs` in the data directory.")]
DAYS = Annotated[int, typer.Option(min=1, max=3650, help="How long they are good for.")]
HOST = Annotated[
    list[str] | None,
    typer.Option("--host", help="A further name or address of the services' machines; repeatable."),
]


@command(app, "init")
def init(settings: Settings, directory: DIR = "", days: DAYS = 365, host: HOST = None) -> None:
    """Make an authority, and certificates for each service and for clients. Existing ones are not touched."""
    from interlock.cli.certs import directory as certs
    from interlock.cli.show.certs import show_certificates
    from interlock.common.clock import SystemClock

    place = _place(settings, directory)
    made = certs.init(place, SystemClock().now(), days=days, hosts=tuple(host or ()))
    show_certificates(settings, made, SystemClock().now())


@command(app, "renew")
def renew(settings: Settings, directory: DIR = "", days: DAYS = 365, host: HOST = None) -> None:
    """Make new certificates and keys with the same authority. Ports use them at once, without a restart."""
    from interlock.cli.certs import directory as certs
    from interlock.cli.show.certs import show_certificates
    from interlock.common.clock import SystemClock

    place = _place(settings, directory)
    made = certs.renew(place, SystemClock().now(), days=days, hosts=tuple(host or ()))
    show_certificates(settings, made, SystemClock().now())


@command(app, "show")
def show(settings: Settings, directory: DIR = "") -> None:
    """Show what each certificate is for, and when it ends."""
    from interlock.cli.certs import directory as certs
    from interlock.cli.show.certs import show_certificates
    from interlock.common.clock import SystemClock

    show_certificates(settings, certs.show(_place(settings, directory)), SystemClock().now())


def _place(settings: Settings, given: str) -> Path:
    return Path(given).expanduser().absolute() if given else settings.directory / "certs"
