"""One fault in one service at one point, for all of them; the story ends the same (tests/support/crash_story.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.cluster import Zygote, cluster
from tests.support.crash_story import model, model_env, tell

ORCHESTRATOR = "interlock.orchestrator."
EXECUTOR = "interlock.executor.service:ExecutorService."


@dataclass(frozen=True)
class Case:
    """A fault in a service: `mode` at the n-th call of `target`; killing `victim`, when it is another."""

    service: str
    target: str
    mode: str
    nth: int = 1
    victim: str = ""

    def __str__(self) -> str:
        name = self.target.rpartition(":")[2]
        return f"{self.service}-{name}-{self.mode}-{self.nth}" + (f"-{self.victim}" if self.victim else "")


KILLS = ("before", "sent", "after")
MESSAGES = ("drop", "lose", "twice", "late")
FLUSHES = 14
"""Durable writes of the story, and some more."""


def cases() -> list[Case]:
    """Every durable write, every rpc and every phase; before, half-way and after; messages that go astray."""
    out: list[Case] = []
    for nth in range(1, FLUSHES + 1):
        for mode in KILLS:
            out.append(Case("orchestrator", f"{ORCHESTRATOR}store.link:Link.flush", mode, nth))
            out.append(Case("orchestrator", f"{ORCHESTRATOR}store.link:Link.flush", mode, nth, "executor"))
    for name in ("CreateRun", "RecordDecision", "GetRun", "ListEvents"):
        for mode in KILLS:
            target = f"{ORCHESTRATOR}service.orchestrator:OrchestratorService.{name}"
            out.append(Case("orchestrator", target, mode))
    for action, times in (("prepare", 4), ("apply", 3)):
        for nth in range(1, times + 1):
            for mode in KILLS:
                target = f"{ORCHESTRATOR}worker.executing:Executing.{action}"
                out.append(Case("orchestrator", target, mode, nth))
                out.append(Case("orchestrator", target, mode, nth, "executor"))
                out.append(Case("executor", EXECUTOR + action.capitalize(), mode, nth))
            step = f"{ORCHESTRATOR}clients.executor:ExecutorClient.step"
            out += [Case("orchestrator", step, mode, nth) for mode in MESSAGES]
    think = f"{ORCHESTRATOR}worker.thinking:Thinking.ask"
    out += [Case("orchestrator", think, mode) for mode in (*KILLS, "drop", "lose")]
    for mode in KILLS:
        out.append(Case("planner", "interlock.planner.service:PlannerService.Analyze", mode))
        out.append(Case("approval", "interlock.approval.service:ApprovalService.Decide", mode))
        out.append(Case("orchestrator", think, mode, 1, "planner"))
        out.append(Case("orchestrator", f"{ORCHESTRATOR}store.leases:renew", mode, 2))
        out.append(Case("executor", EXECUTOR + "CreateWorkspace", mode))
        out.append(Case("executor", EXECUTOR + "GetWorkspace", mode))
    for point in ("recorded", "committed", "turned", "staged", "entry", "done", "back.done"):
        out += [Case("executor", f"point:publish.{point}", "kill", nth) for nth in (1, 2, 3)]
    return out


SOME = (
    "orchestrator-Link.flush-sent-2",
    "executor-ExecutorService.Apply-after-1",
    "orchestrator-ExecutorClient.step-lose-3",
    "approval-ApprovalService.Decide-after-1",
)
"""For everybody; the rest is for `make torture`."""

EVERY = {str(case): case for case in cases()}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SOME)
async def test_some_points(zygote: Zygote, place: Path, database_url: str, name: str) -> None:
    assert await survives(zygote, place, database_url, EVERY[name]), "the fault happened"


@pytest.mark.torture
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted(EVERY))
async def test_every_point(zygote: Zygote, place: Path, database_url: str, name: str) -> None:
    if not await survives(zygote, place, database_url, EVERY[name]):
        pytest.skip("the story does not come by this point so often")


async def survives(zygote: Zygote, place: Path, database_url: str, case: Case) -> bool:
    """Tells the story with the fault in it; whether the fault happened."""
    server = await model()
    try:
        # Long leases: that an orchestrator is gone has to be seen by its connection.
        env = {"INTERLOCK_LEASE_SECONDS": "300", **model_env(server)}
        async with cluster(zygote, place, database_url, **env) as them:
            others = [s for s in ("executor", "planner", "approval", "orchestrator") if s != case.service]
            for service in others:
                if service != "orchestrator":
                    await them.start(service)
            victim = str(them.services[case.victim].pid) if case.victim else ""
            await them.start(case.service, fault=f"{case.target}|{case.mode}|{case.nth}|{victim}")
            if case.service != "orchestrator":
                await them.start("orchestrator")
            await tell(them, place / "live")
            return them.mark(case.service).exists()
    finally:
        await server.refuse()
