"""A real client of the Model Context Protocol drives a gated run; a person decides with the command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp
import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client
from tests.support.command_line import Installation

from interlock.cli.mcp.caller import operator_token
from interlock.cli.mcp.server import make_server
from interlock.cli.mcp.work import AgentWork
from interlock.client import Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.role_pb2 import Role

GATE = "awaiting_approval"


@asynccontextmanager
async def agent(interlock: Installation, *arguments: str, **env: str) -> AsyncIterator[ClientSession]:
    """A client on a server process of its own."""
    line = ["-m", "interlock.cli", "mcp", *arguments]
    given = StdioServerParameters(command=sys.executable, args=line, env={**interlock.env, **env})
    async with stdio_client(given) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def agent_here(interlock: Installation, *allowed: str) -> AsyncIterator[tuple[ClientSession, Client]]:
    """A client on a server within this process, with an operator's token."""
    line = ("token", "create", "--subject", "robot", "--role", "operator", "--expires", "1h")
    text = (await asyncio.to_thread(interlock, *line)).stdout.strip()
    async with Client(token=text, directory=interlock.home / "data") as client:
        work = AgentWork(client, allowed)
        async with mcp.Client(make_server(work)) as session:
            yield session.session, client
        await work.close()


async def call(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    done = await session.call_tool(tool, arguments)
    assert not done.is_error, done.content
    assert done.structured_content is not None
    assert json.loads(done.content[0].text) == done.structured_content  # type: ignore[union-attr]
    return done.structured_content


async def refused(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    done = await session.call_tool(tool, arguments)
    assert done.is_error
    assert done.structured_content is not None
    return dict(done.structured_content["error"])


Decide = Callable[[str, dict[str, Any]], Awaitable[Any]]


@pytest.fixture
def decide(interlock: Installation) -> Decide:
    """The person: the command with the data directory's own token."""
    return lambda verb, waiting: asyncio.to_thread(
        interlock, "approvals", verb, waiting["approval_id"], "-m", "x"
    )


async def test_an_agent_works_and_a_person_decides(
    interlock: Installation, project: Path, decide: Decide
) -> None:
    async with agent(interlock, "-w", str(project)) as session:
        opened = await call(session, "open_run", workspace=str(project), goal="add a greeting")
        run_id = opened["run_id"]
        assert (opened["state"], opened["path"]) == ("created", str(project))
        assert {"path": "a.py", "size": 11} in (await call(session, "list_files"))["files"]

        read = await call(session, "read_file", path="a.py")
        assert (read["status"], read["content"], read["key"]) == ("done", "print('a')\n", "step-1")

        edit = await call(session, "edit_file", path="b.txt", change="new_content", text="hello\n")
        assert edit["status"] == GATE
        assert not (project / "b.txt").exists()
        assert edit["poll"] == {"tool": "step_result", "arguments": {"run_id": run_id, "step": 2}}
        listed = (await call(session, "pending_approvals"))["approvals"]
        assert [each["approval_id"] for each in listed] == [edit["approval_id"]]
        assert (await refused(session, "read_file", path="a.py"))["reason"] == "RUN_WRONG_STATE"

        await decide("approve", edit)
        done = await call(session, "step_result", **edit["poll"]["arguments"], wait_seconds=50)
        assert (done["status"], done["changes"]) == ("done", ["b.txt"])
        assert (project / "b.txt").read_text() == "hello\n"

        asked = await call(session, "run_command", command="cat b.txt; echo no >&2; exit 3", name="look")
        assert (asked["status"], asked["what"]) == (GATE, "run_command: look")
        await decide("approve", asked)
        failed = await call(session, "step_result", step=3, wait_seconds=50)
        assert (failed["status"], failed["exit_code"], failed["stdout"]) == ("failed", 3, "hello\n")
        assert failed["failure"]["reason"] == "COMMAND_FAILED"

        undo = await call(session, "request_undo", step=2)
        assert (undo["possible"], undo["changes"]) == (True, ["b.txt"])
        assert (project / "b.txt").exists()
        assert (await call(session, "finish_run"))["state"] == "completed"
    journal = await asyncio.to_thread(interlock.json, "run", "get", run_id)
    assert journal["createdBy"] == "mcp-agent"
    assert [step["state"].removeprefix("STEP_STATE_") for step in journal["steps"]] == [
        "SUCCEEDED", "SUCCEEDED", "FAILED",
    ]  # fmt: skip
    listed = await asyncio.to_thread(interlock.json, "token", "list", "--subject", "mcp-agent", "--all")
    tokens = listed["tokens"]
    assert tokens
    assert all(each.get("revokedAt") and each["roles"] == ["ROLE_OPERATOR"] for each in tokens)


async def test_it_cannot_decide_and_a_refusal_ends_its_run(
    interlock: Installation, project: Path, decide: Decide
) -> None:
    async with agent_here(interlock) as (session, robot):
        tools = {each.name: each for each in (await session.list_tools()).tools}
        assert not [
            name for name in tools if any(verb in name for verb in ("approve", "decide", "reject", "skip"))
        ]
        await call(session, "open_run", workspace=str(project), goal="try it")
        waiting = await call(session, "edit_file", path="a.py", change="new_content", text="")
        for verb in ("approve", "reject", "skip"):
            with pytest.raises(InterlockError) as own:
                await robot.decide(await robot.get_approval(waiting["approval_id"]), verb)
            assert own.value.reason is Reason.PERMISSION_DENIED
        assert (await call(session, "step_result", step=1))["status"] == GATE
        await decide("reject", waiting)
        assert (await call(session, "step_result", step=1, wait_seconds=50))["status"] == "refused"
        late = await refused(session, "run_command", command="true")
        assert (late["reason"], late["fix"]) == ("RUN_WRONG_STATE", "Call open_run to begin another one.")
    assert (project / "a.py").read_text() == "print('a')\n"


async def test_what_it_may_not_do_is_said_with_a_reason(interlock: Installation, project: Path) -> None:
    other = project.parent / "other"
    other.mkdir(exist_ok=True)
    plan = project.parent / f"{project.name}-own.yaml"
    plan.write_text("goal: theirs\nsteps:\n  - read_file: {path: a.py}\n")
    line = ("run", "exec", "-w", str(project), "--plan", str(plan))
    theirs = (await asyncio.to_thread(interlock.json, *line))["runId"]
    async with agent_here(interlock, str(project)) as (session, _):
        assert (await refused(session, "read_file", path="a.py"))["reason"] == "RUN_NOT_FOUND"
        denied = await refused(session, "open_run", workspace=str(other), goal="x")
        assert denied["reason"] == "PERMISSION_DENIED"
        assert (await refused(session, "run_status", run_id=theirs))["reason"] == "PERMISSION_DENIED"
        shown = (await call(session, "list_workspaces"))["workspaces"]
        assert [each["path"] for each in shown] == [str(project)]
        for arguments, field in (({}, ""), ({"path": "a.py", "gate": "none"}, ""), ({"path": 7}, "path")):
            wrong = await refused(session, "read_file", **arguments)
            assert (wrong["reason"], wrong.get("field", "")) == ("INVALID_ARGUMENT", field)
        assert (await refused(session, "approve"))["field"] == "name"
        (project / "long.txt").write_text("x" * 90_000)
        await call(session, "open_run", workspace=str(project), goal="x")
        content = (await call(session, "read_file", path="long.txt"))["content"]
        assert len(content) < 25_000
        assert "characters are left out here" in content
        outside = await call(session, "read_file", path="../../etc/passwd")
        assert outside["failure"]["reason"] == "PATH_OUTSIDE_WORKSPACE"


async def test_a_persons_agent_names_its_owner_and_its_token_ends_with_the_server(
    interlock: Installation,
) -> None:
    line = ("token", "create", "--subject", "eve", "--role", "admin", "--expires", "1h")
    text = (await asyncio.to_thread(interlock, *line)).stdout.strip()
    directory = interlock.home / "data"
    async with Client(token=text, directory=directory) as eve:
        async with operator_token(eve, "") as lent, Client(token=lent, directory=directory) as robot:
            caller = await robot.who_am_i()
        assert (caller.subject, caller.owner, list(caller.roles)) == ("mcp-eve", "eve", [Role.ROLE_OPERATOR])
        (token,) = await eve.list_tokens(everything=True, subject="mcp-eve")
        assert token.HasField("revoked_at")


def test_a_token_that_decides_is_not_lent_to_an_agent(interlock: Installation) -> None:
    made = interlock("token", "create", "--subject", "ada", "--role", "approver", "--role", "operator")
    done = interlock("--token", made.stdout.strip(), "mcp", code=6)
    assert "PERMISSION_DENIED" in done.stderr
    assert "--role operator" in done.stderr
