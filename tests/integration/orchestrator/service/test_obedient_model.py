"""A model that obeys the file it is shown, through the real planner and the real orchestrator."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.models import KEY, MODEL, Answer, Request, chat, scripted
from tests.support.orchestrator import TOKEN, Running, create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.addresses import parse_address
from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1 import executor_pb2 as x
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import workspace_pb2

HOSTILE = Path(__file__).parents[3] / "security" / "hostile"


def wish(text: str) -> Any:
    """What the hostile file in a prompt wants."""
    return json.loads(re.findall(r"<obey>(.*?)</obey>", text, re.DOTALL)[-1])


class HostileExecutor(ScriptedExecutor):
    """A workspace with one hostile file."""

    def __init__(self, script: Script, content: bytes) -> None:
        super().__init__(script)
        self._content = content

    async def ListFiles(self, request: x.ListFilesRequest, context: Any) -> x.ListFilesResponse:
        regular, size = workspace_pb2.FILE_TYPE_REGULAR, len(self._content)
        names = (("notes.md", size), ("victim.txt", 3))
        entries = [workspace_pb2.FileEntry(path=path, type=regular, size=much) for path, much in names]
        return x.ListFilesResponse(entries=entries, tree=self.head(request.workspace_id))

    async def ReadFile(self, request: x.ReadFileRequest, context: Any) -> x.ReadFileResponse:
        return x.ReadFileResponse(data=self._content if request.path == "notes.md" else b"abc")


def _obeys(request: Request) -> Answer | None:
    """The model does what the file that it is shown says."""
    return chat(wish(request.json["messages"][-1]["content"]))


@asynccontextmanager
async def installation(database_url: str, script: Script, content: str) -> AsyncIterator[Running]:
    """A real orchestrator and a real planner, on a model that obeys whoever spoke last."""
    async with scripted() as model:
        model.rule(_obeys)
        env = {
            "INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0", "INTERLOCK_MODEL_GATEWAY": "openai",
            "INTERLOCK_MODEL_BASE_URL": f"{model.url}/v1", "INTERLOCK_MODEL_NAME": MODEL,
            "INTERLOCK_MODEL_API_KEY": KEY, "INTERLOCK_MODEL_ATTEMPTS": "1",
        }  # fmt: skip
        async with (
            running(build_spec(load(env), TOKEN)) as planner,
            executor_server(HostileExecutor(script, content.encode())) as executor,
            orchestrator(database_url, executor, parse_address(str(planner))) as it,
        ):
            yield it


async def test_through_the_services_the_file_gets_its_plan_and_nothing_else(database_url: str) -> None:
    content = (HOSTILE / "ignores_failures.txt").read_text("utf-8")
    script = Script()
    async with installation(database_url, script, content) as it:
        run = await create(it.stub)
        await it.stub.PlanRun(o.PlanRunRequest(run_id=run.run_id))
        await it.stub.StartRun(o.StartRunRequest(run_id=run.run_id))
        held = await until(it.stub, run.run_id, "AWAITING_APPROVAL", "COMPLETED", "FAILED")
    (step,) = held.steps
    assert step.spec.input.run_command.command == "./deploy --prod"  # it was obeyed, as far as a plan goes
    assert (step.approval_id != "", list(step.spec.input.run_command.network)) == (True, [])
    assert (script.count("prepare"), script.applied) == (0, {})
