"""`interlock whoami`."""

from __future__ import annotations

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Show who the services take you for.")


@command(app, "whoami")
async def whoami(settings: Settings) -> None:
    """Show who the services take you for: subject, roles, scope, and by what proof."""
    from interlock.cli.session import connect
    from interlock.cli.show.access import show_caller

    async with connect(settings) as client:
        show_caller(settings, await client.who_am_i())
