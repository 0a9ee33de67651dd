"""The server of the Model Context Protocol: lists the tools, checks arguments, answers; on standard input and output.

https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jsonschema
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from interlock.cli.mcp.answers import Answer, cut, error_of
from interlock.cli.mcp.tools import BY_NAME, TOOLS, Tool
from interlock.cli.mcp.work import AgentWork
from interlock.common.errors import InterlockError, Reason

INSTRUCTIONS = (
    "Interlock carries out work on a directory one step at a time: each read, edit and command is a journaled step in "
    "a sandbox, and what the rules say must be approved waits for a person. Begin with open_run. When a step answers "
    "awaiting_approval, tell the person, and call step_result with its poll arguments from time to time; you cannot "
    "decide it, and nothing has happened yet. A refused step ends the run: ask the person what they want instead."
)
_LOG = logging.getLogger(__name__)


async def serve(work: AgentWork) -> None:
    """Answer one client until it closes standard input."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    server = make_server(work)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


def make_server(work: AgentWork) -> Server[Any]:
    """The server over an agent's work."""

    async def list_tools(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_listed(tool) for tool in TOOLS])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            answer = await _called(work, params.name, params.arguments or {})
        except InterlockError as error:
            return _result(error_of(error), is_error=True)
        except Exception:  # noqa: BLE001 (a fault is logged, and answered without its text)
            _LOG.exception("%s failed", params.name)
            fault = InterlockError(Reason.INTERNAL, "The server has a fault of its own; its log says more.")
            return _result(error_of(fault), is_error=True)
        return _result(answer)

    return Server(
        "interlock",
        title="Interlock",
        version=version("interlock"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _called(work: AgentWork, name: str, given: Mapping[str, Any]) -> Answer:
    tool = BY_NAME.get(name)
    if tool is None:
        known = ", ".join(BY_NAME)
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"There is no tool {name[:100]!r}.",
            field="name",
            fix=f"Use one of {known}.",
        )
    _check(tool, given)
    return await tool.call(work, given)


def _check(tool: Tool, given: Mapping[str, Any]) -> None:
    """Raises INVALID_ARGUMENT with the first argument that is not as declared."""
    problem = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(tool.schema()).iter_errors(dict(given))
    )
    if problem is None:
        return
    where = ".".join(str(part) for part in problem.absolute_path)
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        cut(f"The arguments of {tool.name} are not as declared: {problem.message}", 500),
        field=where,
        fix="Look at the tool's input schema.",
    )


def _listed(tool: Tool) -> types.Tool:
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.schema(),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _result(answer: Answer, *, is_error: bool = False) -> types.CallToolResult:
    text = json.dumps(answer, ensure_ascii=False, indent=1)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=answer, is_error=is_error
    )
