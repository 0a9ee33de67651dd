"""Entry point of `interlock`. Imports nothing heavy: groups are loaded when they are used."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.lazy import LazyGroup
from interlock.cli.settings import DATA_DIR, NO_INPUT, SERVER, TOKEN, Settings

app = typer.Typer(
    name="interlock",
    cls=LazyGroup,
    help="Run an AI agent's work one step at a time: see every effect before it happens, and approve exactly that.",
    epilog="Data: --data-dir, INTERLOCK_DATA_DIR, $XDG_DATA_HOME/interlock or ~/.local/share/interlock; as root the "
    "database and trees are in /var/lib/interlock, because steps run as another user. `interlock doctor` names the "
    "places. Exit codes: 0 ok, 1 failed, 2 usage, 3 waiting for approval, 4 rejected, 5 not found, 6 denied, "
    "7 unavailable, 124 timeout, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"interlock {version('interlock')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    server: SERVER = None,
    token: TOKEN = "",
    data_dir: DATA_DIR = "",
    no_input: NO_INPUT = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep what was given before the command; options after it win."""
    context.obj = Settings(servers=tuple(server or ()), token=token, data_dir=data_dir, no_input=no_input)
