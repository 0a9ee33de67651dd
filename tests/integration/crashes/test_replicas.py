"""Three orchestrators as processes on one database: take-over, late owners, rolling restarts under load."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from tests.integration.conftest import libpq
from tests.support.cluster import Cluster, Zygote, cluster
from tests.support.crash_story import model, model_env, tell
from tests.support.stack import EFFECT, FREE, NONE, command, edit

from interlock.client import Client
from interlock.v1.run_pb2 import RunState
from interlock.v1.step_pb2 import StepState
from interlock.verify import verify_bundle

pytestmark = pytest.mark.timeout(300)
ORCHESTRATORS = ("orchestrator", "orchestrator-2", "orchestrator-3")
SECONDS = 60


async def _all(them: Cluster) -> None:
    await asyncio.gather(*(them.start(name) for name in ("executor", "planner", "approval")))
    for name in ORCHESTRATORS:
        await them.start("orchestrator", name)


@pytest.mark.parametrize(
    ("target", "nth"),
    [
        ("interlock.orchestrator.worker.executing:Executing.apply", 1),
        pytest.param("interlock.orchestrator.store.link:Link.flush", 3, marks=pytest.mark.torture),
        pytest.param(
            "interlock.orchestrator.worker.executing:Executing.prepare", 1, marks=pytest.mark.torture
        ),
        pytest.param("interlock.orchestrator.worker.thinking:Thinking.ask", 1, marks=pytest.mark.torture),
    ],
)
async def test_an_owner_that_wakes_late_is_fenced_off(
    zygote: Zygote, place: Path, database_url: str, target: str, nth: int
) -> None:
    """It is stopped right before it acts, another one takes the run over and ends it, then it wakes and goes on."""
    server = await model()
    async with cluster(zygote, place, database_url, **model_env(server)) as them:
        for name in ("executor", "planner", "approval"):
            await them.start(name, INTERLOCK_ORCHESTRATOR_ADDRESS=them.address("orchestrator-2"))
        await them.start("orchestrator", fault=f"{target}|stop|{nth}|")
        await them.start("orchestrator", "orchestrator-2")
        run = await tell(them, place / "live", first="orchestrator", then="orchestrator-2")
        assert them.mark("orchestrator").exists(), "it was stopped"
        them.kill("orchestrator", signal.SIGCONT)
        async with asyncio.timeout(SECONDS), them.client("orchestrator") as woken:
            late = await woken.get_run(run.run_id)
            assert late.journal_length == run.journal_length, "it has added nothing"
            assert late.state == RunState.RUN_STATE_COMPLETED
            # It is as good as any other again: it drives what is asked of it.
            again = await woken.create_run(
                "after", run.workspace_id, [command("echo again >> log", gate=NONE)], policy=FREE, start=True
            )
            await _ended(woken, again.run_id)
        assert (place / "live/log").read_text() == "once\ntwice\nagain\n"
        assert not them.is_over(them.services["orchestrator"]), "it lives"
    await server.refuse()


async def test_runs_of_a_killed_orchestrator_are_shared_by_the_others(
    zygote: Zygote, place: Path, database_url: str
) -> None:
    """Twenty-four runs whose executor does not answer; their driver is killed and stays away.

    That it is gone is seen by its connection: its leases would last for long.
    """
    async with cluster(zygote, place, database_url, INTERLOCK_LEASE_SECONDS="300") as them:
        await _all(them)
        async with asyncio.timeout(SECONDS), them.client() as client:
            runs = [await _planned(client, place / f"live{number}") for number in range(24)]
            them.kill("executor", signal.SIGSTOP)
            for run_id in runs:
                await client.start_run(run_id)
        owner = _owners(database_url, runs)
        assert len(owner) == 1, "one has them all"
        them.services["orchestrator"].stays = False
        killed = time.monotonic()
        them.kill("orchestrator")
        async with asyncio.timeout(SECONDS):
            while owner.keys() & (now := _owners(database_url, runs)).keys():  # noqa: ASYNC110 - processes
                await asyncio.sleep(0.05)
        taken = time.monotonic() - killed
        assert len(now) == 2, "both of those who are left have some"
        assert min(now.values()) >= 6, now
        assert taken < SECONDS
        async with asyncio.timeout(SECONDS), them.client("orchestrator-2") as client:
            them.kill("executor", signal.SIGCONT)
            for run_id in runs:
                await _ended(client, run_id)
                events = [event async for event in client.list_events(run_id)]
                kinds = Counter((event.type, event.step) for event in events)
                assert kinds["step.started", 1] == kinds["step.succeeded", 1] == 1
        for number in range(24):
            assert (place / f"live{number}/log").read_text() == "x\n"


async def test_a_rolling_restart_under_load_loses_nothing_and_fails_nobody(
    zygote: Zygote, place: Path, database_url: str
) -> None:
    await _roll(zygote, place, database_url, rounds=1, clients=3)


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_many_rolling_restarts(
    zygote: Zygote, place: Path, database_url: str, sign: signal.Signals
) -> None:
    await _roll(zygote, place, database_url, rounds=8, clients=9, sign=sign)


async def _roll(
    zygote: Zygote,
    place: Path,
    database_url: str,
    *,
    rounds: int,
    clients: int,
    sign: signal.Signals = signal.SIGTERM,
) -> None:
    async with cluster(zygote, place, database_url) as them:
        await _all(them)
        over = asyncio.Event()
        load = [
            asyncio.create_task(_work(them, ORCHESTRATORS[number % 3], place / f"live{number}", over))
            for number in range(clients)
        ]
        for _ in range(rounds):
            for name in (*ORCHESTRATORS, "executor", "approval", "planner"):
                starts = them.services[name].starts
                them.kill(name, sign)
                async with asyncio.timeout(SECONDS):
                    while them.services[name].starts == starts or them.services[name].ended < 0:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert not [task for task in load if task.done()], "no client has failed"
        over.set()
        async with asyncio.timeout(4 * SECONDS):
            done = await asyncio.gather(*load)
        assert min(done) >= 1, "everyone's work went on"


async def _work(them: Cluster, orchestrator: str, live: Path, over: asyncio.Event) -> int:
    """Runs one after the other, each with a decision, by a client that retries; how many."""
    _directory(live)
    done = 0
    async with them.client(orchestrator) as client:
        workspace = (await client.open_directory(live)).workspace_id
        while not (over.is_set() and done):
            steps = [command(f"echo {done} >> log", gate=NONE), edit("a.txt", f"{done}\n", gate=EFFECT)]
            run = await client.create_run("load", workspace, steps, policy=FREE, start=True)
            async for shown in client.approvals(run_id=run.run_id):
                await client.decide(shown, "approve")
                break
            await _ended(client, run.run_id)
            bundle = b"".join([chunk async for chunk in client.export_journal(run.run_id)])
            assert verify_bundle(bundle.splitlines(keepends=True)).ok
            done += 1
            assert (live / "log").read_text().split() == [str(number) for number in range(done)]
            assert (live / "a.txt").read_text() == f"{done - 1}\n"
    return done


async def _planned(client: Client, live: Path) -> str:
    """A run that adds a line, not started."""
    _directory(live)
    workspace = (await client.open_directory(live)).workspace_id
    line = command("echo x >> log", gate=NONE)
    return (await client.create_run("held", workspace, [line], policy=FREE)).run_id


def _directory(live: Path) -> None:
    live.mkdir()
    live.chmod(0o777)


def _owners(database_url: str, runs: list[str]) -> Counter[str]:
    query = "SELECT coalesce(lease_owner, '') FROM runs WHERE id = ANY (%s)"
    with psycopg.connect(libpq(database_url)) as connection:
        return Counter(row[0] for row in connection.execute(query, (list(runs),)).fetchall())


async def _ended(client: Client, run_id: str) -> None:
    run = await client.wait_run(run_id)
    states = [StepState.Name(step.state) for step in (await client.get_run(run_id)).steps]
    assert run.state == RunState.RUN_STATE_COMPLETED, (states, run.failure)
