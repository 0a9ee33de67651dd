"""`interlock up`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

if TYPE_CHECKING:
    from interlock.cli.supervisor.supervisor import Supervisor

app = group("Start every service on embedded defaults; Ctrl-C stops them.")


@command(app)
async def up(
    settings: Settings,
    port_base: Annotated[
        int, typer.Option(min=0, max=65000, help="The services listen on the next five ports; 0 = free ones.")
    ] = 7400,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="TLS between the services, with certificates made in the data directory."),
    ] = False,
    policy: Annotated[
        str,
        typer.Option(
            help="The installation's policy: a file, or a shipped one's name. INTERLOCK_POLICY otherwise."
        ),
    ] = "",
) -> int:
    """Start every service as a process of its own, and keep them running until Ctrl-C or SIGTERM.

    The database is an embedded PostgreSQL unless INTERLOCK_DATABASE_URL names one. Logs go to `logs/` in the data
    directory; where that is, the first line says.
    """
    import asyncio
    import signal

    from interlock.cli.output import progress
    from interlock.cli.supervisor.places import places
    from interlock.cli.supervisor.supervisor import Supervisor

    env = _with_policy(settings.env(), policy)
    progress(places(env))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    supervisor = Supervisor(env, port_base=port_base, report=progress, encrypted=tls)
    starting = asyncio.create_task(supervisor.start())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not starting.done():
            starting.cancel()
        await starting
        await _show(settings, supervisor)
        await waiting
    except asyncio.CancelledError:
        progress("Stopped before everything had started.")
        return 130
    finally:
        waiting.cancel()
        await supervisor.stop()
    progress("Stopped; nothing is left running.")
    return 0


def _with_policy(env: Mapping[str, str], policy: str) -> dict[str, str]:
    """The environment with the policy that was named, checked before anything starts. Raises POLICY_INVALID."""
    import os

    from interlock.common.policy.named import named_policy

    name = policy or env.get("INTERLOCK_POLICY", "")
    if not name:
        return dict(env)
    named_policy(name)
    return {**env, "INTERLOCK_POLICY": os.path.abspath(name) if "/" in name or "." in name else name}


async def _show(settings: Settings, supervisor: Supervisor) -> None:
    from interlock.cli.output import progress, write_json, write_table

    healthy = await supervisor.health()
    rows = [
        {"service": name, "address": address, "pid": supervisor.children[name].pid, "serving": healthy[name]}
        for name, address in supervisor.endpoints.items()
    ]
    if settings.output is Output.TABLE:
        write_table(
            ("SERVICE", "ADDRESS", "PID", "HEALTH"),
            [
                (
                    name,
                    address,
                    str(supervisor.children[name].pid),
                    "serving" if healthy[name] else "not serving",
                )
                for name, address in supervisor.endpoints.items()
            ],
        )
    else:
        write_json({"dataDir": str(supervisor.directory), "services": rows}, settings.output)
    scheme = "https" if supervisor.https else "http"
    url = f"{scheme}://{supervisor.endpoints.gateway}/"
    progress(f"The console is at {url} (`interlock console` signs a browser in).")
    progress("Ctrl-C stops everything.")
