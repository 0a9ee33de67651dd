"""The gateway is killed in the middle of calls and streams; clients that come back miss nothing and repeat nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from tests.support.cluster import Cluster, Zygote, cluster
from tests.support.crash_story import REQUEST, SECONDS, check, model, model_env, project, steps
from tests.support.gateways import events
from tests.support.orchestrator import TOKEN
from tests.support.stack import FREE

from interlock.v1 import orchestrator_pb2 as o
from interlock.v1.journal_pb2 import JournalEvent

pytestmark = pytest.mark.timeout(240)
GATEWAY = "interlock.gateway."
CALL = f"{GATEWAY}backends:Backends.unary"
ANSWER = f"{GATEWAY}http.exchange:Exchange.answer"
STREAM = f"{GATEWAY}backends:Stream.next"
KILLS = ("before", "sent", "after")
CASES = [
    *((CALL, mode, nth) for mode in KILLS for nth in (1, 2)),
    *((ANSWER, mode, nth) for mode in KILLS for nth in (1, 2)),
    *((STREAM, mode, nth) for mode in KILLS for nth in (1, 4, 9)),
]


def _named(case: tuple[str, str, int]) -> str:
    return f"{case[0].rpartition(':')[2]}-{case[1]}-{case[2]}"


async def test_killed_after_a_call_before_its_answer(zygote: Zygote, place: Path, database_url: str) -> None:
    await _tell(zygote, place, database_url, f"{CALL}|after|1|")


@pytest.mark.torture
@pytest.mark.parametrize("case", CASES, ids=_named)
async def test_killed_at_every_point(
    zygote: Zygote, place: Path, database_url: str, case: tuple[str, str, int]
) -> None:
    target, mode, nth = case
    await _tell(zygote, place, database_url, f"{target}|{mode}|{nth}|")


async def _tell(zygote: Zygote, place: Path, database_url: str, fault: str) -> None:
    """The story by HTTP: made, watched, asked about, decided and looked at through a gateway that is killed."""
    server = await model()
    live = place / "live"
    project(live)
    try:
        async with cluster(zygote, place, database_url, **model_env(server)) as them:
            for name in ("executor", "planner", "approval", "orchestrator"):
                await them.start(name)
            await them.start("gateway", fault=fault)
            async with asyncio.timeout(2 * SECONDS), them.client() as client, _http(them) as http:
                workspace = (await client.open_directory(live)).workspace_id
                wanted = o.CreateRunRequest(
                    goal="story",
                    workspace_id=workspace,
                    steps=steps(),
                    policy=FREE,
                    start=True,
                    request_id=REQUEST,
                )
                run_id = await _created(http, wanted)
                seen: list[JournalEvent] = []
                watching = asyncio.create_task(_watch(http, run_id, seen))
                approval = await _pending(http, run_id)
                decision = {
                    "requestId": "decide-once",
                    "decision": {"digest": approval["digest"], "approve": {}},
                }
                place_of = f"/v1/approvals/{approval['approvalId']}:decide"
                decided = await _asked(http, "POST", place_of, decision)
                await watching
                assert await _created(http, wanted) == run_id, "a repeated request gets the first answer"
                again = await _asked(http, "POST", place_of, decision)
                assert again["approval"]["decision"] == decided["approval"]["decision"]
                await check(client, run_id, seen, live)
            assert them.mark("gateway").exists(), "it was killed"
            assert them.services["gateway"].starts > 1
    finally:
        await server.refuse()


@asynccontextmanager
async def _http(them: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=them.address("gateway").removeprefix("unix:"))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers, timeout=SECONDS
    ) as client:
        yield client


async def _asked(http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """As a client does that repeats what got no answer, or that one should come back later."""
    while True:
        try:
            answer = await http.request(method, path, json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.02)
            continue
        if answer.status_code < 500:
            assert answer.is_success, answer.text
            return answer.json()
        await asyncio.sleep(0.02)


async def _created(http: httpx.AsyncClient, wanted: o.CreateRunRequest) -> str:
    return str((await _asked(http, "POST", "/v1/runs", MessageToDict(wanted)))["run"]["runId"])


async def _pending(http: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    path = f"/v1/approvals?filter.run_id={run_id}&states=APPROVAL_STATE_PENDING"
    while not (found := (await _asked(http, "GET", path)).get("approvals")):  # noqa: ASYNC110 - by HTTP
        await asyncio.sleep(0.02)
    return dict(found[0])


async def _watch(http: httpx.AsyncClient, run_id: str, seen: list[JournalEvent]) -> None:
    """Follows the run to its end; comes back after what it has seen, as browsers do."""
    cursor = ""
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}
        try:
            async with http.stream("GET", f"/v1/runs/{run_id}:watch", headers=headers) as answer:
                if answer.status_code == 204:
                    return
                if answer.is_success:
                    async for event in events(answer):
                        if event.name == "end":
                            return
                        cursor = event.id or cursor
                        if event.name not in ("heartbeat", "error"):
                            said = ParseDict(event.data, o.WatchRunResponse())
                            if said.HasField("event"):
                                seen.append(said.event)
        except httpx.TransportError:
            pass  # it is gone: come back
        await asyncio.sleep(0.02)
