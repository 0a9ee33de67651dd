"""`interlock db`."""

from __future__ import annotations

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

app = group("Manage the database's schema.")


@app.callback()
def root() -> None:
    """Manage the database's schema."""


@command(app, "upgrade")
async def upgrade(settings: Settings) -> None:
    """Bring the database to this release's schema: INTERLOCK_DATABASE_URL, or else the embedded one."""
    import asyncio

    from interlock.cli.output import write_json
    from interlock.cli.supervisor import database as databases
    from interlock.common.config import env_text

    env = settings.env()
    url = env_text("INTERLOCK_DATABASE_URL", env=env)
    if url:
        revision = await asyncio.to_thread(databases.upgrade, url)
    else:
        server = databases.Database(env, lambda _: None)
        try:
            await server.start()
            revision = await asyncio.to_thread(databases.upgrade, server.url)
        finally:
            await server.stop()
    if settings.output is Output.TABLE:
        print(f"The database is at revision {revision}.")
    else:
        write_json({"revision": revision}, settings.output)
