"""The root command: knows its groups by name and one line of help, imports one when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "up": "Start every service on embedded defaults; Ctrl-C stops them.",
    "console": "Print a link that signs a browser in to the console.",
    "serve": "Start one service in the foreground.",
    "doctor": "Check this machine and say how to fix what is missing.",
    "db": "Manage the database's schema.",
    "run": "Execute, start, watch and steer runs.",
    "step": "Add, look at, retry and skip steps.",
    "approvals": "See what waits for a decision, and decide.",
    "plan": "Create and check plan files.",
    "policy": "Check, try and look at policies: rules about what steps do.",
    "journal": "Show, export and verify what happened.",
    "workspace": "Create and look at workspaces.",
    "token": "Issue and revoke tokens; see which calls were refused.",
    "budget": "Set and list what model calls may cost.",
    "cost": "What model calls cost across runs.",
    "webhook": "Tell URLs what happens to approvals, by signed messages.",
    "certs": "Make and look at certificates for TLS between the services.",
    "mcp": "Let an agent work through gated steps, by MCP.",
    "matrix-bot": "Ask in Matrix rooms; take reactions and replies as decisions.",
    "delegation": "Let somebody else decide in your place for a time.",
    "login": "Log in at the OpenID provider with a browser.",
    "whoami": "Show who the services take you for.",
}


class LazyGroup(TyperGroup):
    """Loads `interlock.cli.commands.<name>` and takes its `app` when a command is asked for."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names, for suggestions

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"interlock.cli.commands.{cmd_name.replace('-', '_')}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in `--help`, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
