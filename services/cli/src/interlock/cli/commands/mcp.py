"""`interlock mcp`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Settings

app = group("Let an agent work through gated steps, by MCP.")


@command(app, "mcp")
async def mcp(
    settings: Settings,
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace", "-w", metavar="DIR|ID", help="The only workspaces the agent may open; repeatable."
        ),
    ] = None,
    subject: Annotated[
        str,
        typer.Option(
            "--subject",
            help="What the agent is called in journals and questions; default: mcp-YOU, or mcp-agent.",
        ),
    ] = "",
) -> None:
    """Serve the Model Context Protocol on standard input and output: reads, edits and commands as gated steps.

    The agent acts with a token of its own that has the role operator and cannot decide about approvals. docs/mcp.md
    says how to configure usual clients.
    """
    from dataclasses import replace

    from interlock.cli.mcp.caller import operator_token
    from interlock.cli.session import connect
    from interlock.common.errors import InterlockError, Reason

    try:
        from interlock.cli.mcp.server import serve
        from interlock.cli.mcp.work import AgentWork
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise InterlockError(
            Reason.UNAVAILABLE,
            "The Model Context Protocol's SDK is not installed.",
            fix="Install it with `pip install 'interlock[mcp]'`.",
        ) from None

    async with connect(settings) as owner, operator_token(owner, subject) as token:
        narrowed = replace(settings, token=token) if token else settings
        async with connect(narrowed) as client:
            work = AgentWork(client, workspace or ())
            try:
                await serve(work)
            finally:
                await work.close()
