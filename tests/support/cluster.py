"""Services as real processes that are started, killed, stopped and started again in a moment.

    async with cluster(place, database_url) as them:
        await them.start("executor")
        await them.start("orchestrator", "orchestrator-2")

They listen on unix sockets named after them: one that comes back is found where it was. One that ends is started
again, without its fault, unless it is to stay away.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.faults import MARK
from tests.support.forked import Zygote
from tests.support.orchestrator import TOKEN

from interlock.client import Client, Retry

SECONDS = 60.0


@dataclass
class Service:
    """One that runs; `role` is what it is, `name` where it listens."""

    role: str
    name: str
    env: dict[str, str]
    pid: int = 0
    stays: bool = True
    starts: int = 0
    ended: int = -1


@dataclass
class Cluster:
    """What runs on one database."""

    zygote: Zygote
    place: Path
    database_url: str
    env: dict[str, str] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)

    def address(self, name: str) -> str:
        return f"unix:{self.place}/{name}.sock"

    async def start(self, role: str, name: str = "", fault: str = "", **env: str) -> Service:
        """A service that answers; with a fault, only until it is started again."""
        name = name or role
        service = Service(role, name, env)
        self.services[name] = service
        await asyncio.to_thread(self._run, service, fault)
        return service

    def _run(self, service: Service, fault: str = "") -> None:
        service.starts += 1
        ready = self.place / f"{service.name}.{service.starts}.ready"
        upper = service.role.upper()
        env = {
            "INTERLOCK_DATA_DIR": str(self.place / "data"),
            "INTERLOCK_EXECUTOR_DIR": str(self.place / f"{service.name}.state"),
            "INTERLOCK_TOKEN": TOKEN,
            "INTERLOCK_DATABASE_URL": self.database_url,
            "INTERLOCK_LEASE_SECONDS": "1",
            "INTERLOCK_READY_FILE": str(ready),
            "INTERLOCK_LOG_LEVEL": "warning",
            "TEST_FAULT": fault,
            MARK: str(self.mark(service.name)),
            **{
                f"INTERLOCK_{each.upper()}_ADDRESS": self.address(each)
                for each in ("orchestrator", "executor")
            },
            **{f"INTERLOCK_{each.upper()}_ADDRESS": self.address(each) for each in ("planner", "approval")},
            **self.env,
            **service.env,
            f"INTERLOCK_{upper}_ADDRESS": self.address(service.name),
        }
        arguments = (
            ["--ready-file", str(ready)] if service.role in ("executor", "approval", "gateway") else []
        )
        log = self.place / f"{service.name}.log"
        service.pid = self.zygote.start(f"interlock.{service.role}", arguments, env, log)
        ended = os.pidfd_open(service.pid)  # before it can have ended: faults count from when it is ready
        self._wait(service, ready, log)
        service.ended = ended

    @staticmethod
    def _wait(service: Service, ready: Path, log: Path) -> None:
        end = time.monotonic() + SECONDS
        while not (ready.exists() and ready.read_text()):
            assert time.monotonic() < end, log.read_text()[-4000:]
            assert Path(f"/proc/{service.pid}").exists(), log.read_text()[-4000:]
            time.sleep(0.005)

    def mark(self, name: str) -> Path:
        """Made when the service's fault has happened."""
        return self.place / f"{name}.mark"

    def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """A signal for it."""
        os.kill(self.services[name].pid, sign)

    def is_over(self, service: Service) -> bool:
        """Whether its process has ended. Not while it is being started."""
        return service.ended >= 0 and bool(select.select([service.ended], [], [], 0)[0])

    async def wait_over(self, name: str) -> None:
        """Until its process has ended."""
        async with asyncio.timeout(SECONDS):
            while not self.is_over(self.services[name]):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)

    async def again(self, name: str) -> None:
        """Start one that has ended."""
        service = self.services[name]
        os.close(service.ended)
        service.ended = -1
        await asyncio.to_thread(self._run, service)

    async def keep(self) -> None:
        """Starts again what has ended, until it is cancelled."""
        while True:
            for service in list(self.services.values()):
                if service.stays and self.is_over(service):
                    await self.again(service.name)
            await asyncio.sleep(0.01)

    def client(self, orchestrator: str = "orchestrator", executor: str = "executor") -> Client:
        """A patient one, of one of the orchestrators."""
        return Client(
            orchestrator=self.address(orchestrator),
            executor=self.address(executor),
            approval=self.address("approval"),
            planner=self.address("planner"),
            token=TOKEN,
            directory=self.place / "data",
            retry=Retry(seconds=SECONDS, longest=0.2),
        )

    def logs(self) -> str:
        """The ends of what they have written."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.place.glob("*.log"))
        )

    async def end(self) -> None:
        """Kill what runs."""
        for service in self.services.values():
            service.stays = False
            if service.pid and not self.is_over(service):
                os.kill(service.pid, signal.SIGCONT)
                os.kill(service.pid, signal.SIGKILL)
        for name, service in self.services.items():
            if service.ended >= 0:
                await self.wait_over(name)
                os.close(service.ended)
        self.services.clear()


@asynccontextmanager
async def cluster(zygote: Zygote, place: Path, database_url: str, **env: str) -> AsyncIterator[Cluster]:
    """Nothing runs yet; everything is killed at the end."""
    (place / "data").mkdir(parents=True, exist_ok=True)
    them = Cluster(zygote, place, database_url, dict(env))
    keeper = asyncio.create_task(them.keep())
    try:
        yield them
    except BaseException as error:
        error.add_note(them.logs())
        raise
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await them.end()
