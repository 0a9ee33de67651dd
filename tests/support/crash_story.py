"""One run with every kind of step, told while services die; and what must hold at its end whatever happened.

Laws 2, 3, 4 and 9: what anybody was told is in the journal; every effect is there once; nothing is skipped in silence;
every stream goes on without gap or duplicate, and a repeated request gets the first answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.models import ScriptedServer, chat
from tests.support.stack import EFFECT, FREE, NONE, command, edit

from interlock.client import Client
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState
from interlock.v1.journal_pb2 import JournalEvent
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import AnalyzeInput, ReadFileInput, StepInput, StepSpec, StepState
from interlock.verify import verify_bundle

REQUEST = "create-once"
SECONDS = 30.0


def steps() -> list[StepSpec]:
    """A command that adds a line, an analysis, an edit that is asked about, another command, a look."""
    return [
        command("echo once >> log", gate=NONE),
        StepSpec(input=StepInput(analyze=AnalyzeInput(instruction="What is it?"))),
        edit("a.txt", "new\n", gate=EFFECT),
        command("echo twice >> log; echo made > b.txt", gate=NONE),
        StepSpec(input=StepInput(read_file=ReadFileInput(path="log"))),
    ]


async def model() -> ScriptedServer:
    """Answers every question."""
    server = ScriptedServer()
    await server.listen()
    server.script(chat("an answer", usage={"prompt_tokens": 3, "completion_tokens": 2}))
    return server


def model_env(server: ScriptedServer) -> dict[str, str]:
    return {
        "INTERLOCK_MODEL_GATEWAY": "openai",
        "INTERLOCK_MODEL_BASE_URL": f"{server.url}/v1",
        "INTERLOCK_MODEL_NAME": "a-model",
        "INTERLOCK_MODEL_API_KEY": "k",
    }


async def tell(them: Cluster, live: Path, *, first: str = "orchestrator", then: str = "orchestrator") -> Run:
    """The whole story, by patient clients: one of the orchestrator that is asked `first`, and one of another."""
    project(live)
    async with asyncio.timeout(SECONDS), them.client(first) as beginner, them.client(then) as client:
        workspace = (await client.open_directory(live)).workspace_id
        run = await _create(beginner, workspace)
        seen: list[JournalEvent] = []
        watcher = asyncio.create_task(_watch(client, run.run_id, seen))
        try:
            shown = await _pending(client, run.run_id)
            decided = await client.decide(shown, "approve", request_id="decide-once")
            assert decided.state == ApprovalState.APPROVAL_STATE_APPROVED
            await watcher
        finally:
            watcher.cancel()
        again = await _create(client, workspace)
        assert again.run_id == run.run_id, "a repeated request gets the first answer"
        repeated = await client.decide(shown, "approve", request_id="decide-once")
        assert repeated.state == decided.state
        return await check(client, run.run_id, seen, live)


def project(live: Path) -> None:
    """A directory with one file."""
    live.mkdir()
    live.chmod(0o777)
    (live / "a.txt").write_text("old\n")


async def _create(client: Client, workspace: str) -> Run:
    return await client.create_run("story", workspace, steps(), policy=FREE, start=True, request_id=REQUEST)


async def _pending(client: Client, run_id: str) -> ApprovalRecord:
    async for found in client.approvals():
        if found.run_id == run_id:
            return found
    raise AssertionError("the feed ended")


async def _watch(client: Client, run_id: str, seen: list[JournalEvent]) -> None:
    async for message in client.watch_run(run_id):
        if message.HasField("event"):
            seen.append(message.event)  # noqa: PERF401 - as they come: what was seen counts if it ends early


def _files(live: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in live.iterdir()}


async def check(client: Client, run_id: str, seen: list[JournalEvent], live: Path) -> Run:
    """What must hold at the end; `seen` is what a watcher was told, in that order."""
    run = await client.get_run(run_id)
    states = [StepState.Name(step.state).removeprefix("STEP_STATE_") for step in run.steps]
    assert run.state == RunState.RUN_STATE_COMPLETED, (states, run.failure)
    assert states == ["SUCCEEDED"] * 5
    assert _files(live) == {"log": "once\ntwice\n", "a.txt": "new\n", "b.txt": "made\n"}, "each effect once"
    journal = [event async for event in client.list_events(run_id)]
    assert [event.seq for event in journal] == list(range(1, len(journal) + 1))
    assert [(e.seq, e.digest) for e in seen] == [(e.seq, e.digest) for e in journal], "no gap, no duplicate"
    kinds = Counter((event.type, event.step) for event in journal)
    assert all(kinds["step.succeeded", number] == 1 for number in range(1, 6))
    assert kinds["approval.decided", 3] == 1
    assert run.journal_length == len(journal)
    bundle = b"".join([chunk async for chunk in client.export_journal(run_id)])
    report = verify_bundle(bundle.splitlines(keepends=True))
    assert report.ok, report
    return run
