"""Starts the services in order, keeps them running, stops them in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from interlock.cli.supervisor.child import Child
from interlock.cli.supervisor.database import Database
from interlock.cli.supervisor.listening import answers_http, listens
from interlock.cli.supervisor.locks import Lock, hold_directory
from interlock.cli.supervisor.logfile import LogFile
from interlock.cli.supervisor.services import STAGES, allocate, check_free, command_line, environment
from interlock.client.endpoints import Endpoints, from_env, remove_running, write_running
from interlock.common.clock import SystemClock
from interlock.common.config import data_dir, load_token
from interlock.common.errors import InterlockError, Reason
from interlock.common.tls import CA, CERT, CLIENT, KEY, TlsFiles

START_SECONDS = 60.0
"""Seconds a service may take from its start to SERVING."""

STOP_SECONDS = 15.0
"""Seconds a service may take to drain before it is killed."""

_POLL = 0.02


class Supervisor:
    """Everything `interlock up` runs, on one data directory.

    Args:
        env: the environment the services get, with INTERLOCK_DATA_DIR where it is not the default.
        port_base: the services listen on the next five ports; 0 = free ones. Addresses in `env` win.
        report: takes one line for people about what happens.
        command: how a service's process is started; for tests.
        temporary: whether it stops by itself; written down for those who look. It has no gateway: nobody would know
            its address.
        encrypted: the services use TLS, with the certificates of `certs` in the data directory, made where missing.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        port_base: int,
        report: Callable[[str], None],
        command: Callable[[str], list[str]] = command_line,
        temporary: bool = False,
        encrypted: bool = False,
    ) -> None:
        self.directory: Path = data_dir(env)
        self.endpoints = Endpoints()
        self.children: dict[str, Child] = {}
        self._env = dict(env)
        self._env["INTERLOCK_DATA_DIR"] = str(self.directory)
        self._port_base = port_base
        self._report = report
        self._command = command
        self._temporary = temporary
        self._certs = self.directory / "certs" if encrypted else None
        self._lock: Lock | None = None
        self._token = ""
        self._database = Database(self._env, report)
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> Endpoints:
        """Start everything; returns where it listens. Raises InterlockError, having stopped what had started."""
        self._lock = await hold_directory(self.directory)
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self.endpoints

    async def stop(self) -> None:
        """Stop everything in reverse order. Nothing of it runs afterwards."""
        if self._lock is None:
            return  # it never held the directory: what runs there is another one's
        remove_running(self.directory)
        for stage in reversed(STAGES):
            stopping = [self.children.pop(name) for name in stage if name in self.children]
            await asyncio.gather(*(child.stop(STOP_SECONDS) for child in stopping))
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._database.stop()
        self._lock.close()
        self._lock = None

    @property
    def https(self) -> bool:
        """Whether the gateway speaks HTTPS."""
        return bool(self._env.get("INTERLOCK_GATEWAY_TLS_CERT"))

    async def health(self) -> dict[str, bool]:
        """Which services answer SERVING now."""
        names = [name for name, address in self.endpoints.items() if address]
        answers = await asyncio.gather(*(self._serves(name) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _start(self) -> None:
        self._token = load_token(create=True, env=self._env)
        await asyncio.to_thread(self._prepare_certificates)
        self.endpoints = allocate(self._port_base, from_env(self._env))
        if self._temporary:
            self.endpoints = replace(self.endpoints, gateway="")
        check_free(self.endpoints)
        self._env["INTERLOCK_DATABASE_URL"] = self._database.url
        first, *others = STAGES
        # Every process imports its program at once; those of later stages then wait for their turn.
        await self._start_processes()
        await _all(self._database.start(), self._until_stage_serves(first))
        self._watcher = asyncio.create_task(self._database.watch(), name="watch-database")
        for stage in others:
            for name in self._wanted(stage):
                self.children[name].release()
            await self._until_stage_serves(stage)
        certs = str(self._certs or "")
        write_running(self.directory, self.endpoints, os.getpid(), temporary=self._temporary, certs=certs)

    def _prepare_certificates(self) -> None:
        if named := [name for name in (CERT, KEY, CA) if self._env.get(name)]:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{named[0]} names one certificate, and each of the services needs its own.",
                field=named[0],
                fix="Unset it and use `interlock up --tls`, or start the services one by one: `interlock serve`.",
            )
        if self._certs is not None:
            from interlock.cli.certs.directory import ensure

            ensure(self._certs, SystemClock().now())

    async def _start_processes(self) -> None:
        for stage in STAGES:
            for name in self._wanted(stage):
                log = LogFile(self.directory / "logs" / f"{name}.log")
                env = environment(name, self._env, self.endpoints)
                if self._certs is not None:
                    env.update(TlsFiles.within(self._certs, name).environment())
                held = stage is not STAGES[0]
                child = Child(name, self._command(name), env, log, self._report, held=held)
                self.children[name] = child
                await child.start()

    async def _until_stage_serves(self, stage: tuple[str, ...]) -> None:
        await _all(*(self._until_serving(self.children[name]) for name in self._wanted(stage)))

    def _wanted(self, stage: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in stage if self.endpoints.get(name))

    async def _serves(self, name: str) -> bool:
        address = self.endpoints.get(name)
        if name == "gateway":
            return await answers_http(address, https=self.https)
        from interlock.cli.supervisor.health import is_serving

        files = TlsFiles.within(self._certs, CLIENT) if self._certs is not None else None
        return await is_serving(address, self._token, service=name, tls=files)

    async def _until_serving(self, child: Child) -> None:
        address = self.endpoints.get(child.name)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not child.exited.is_set():
            # A connection says cheaply and at once that it listens; whether it serves is asked only then.
            if await listens(address) and await self._serves(child.name):
                self._report(f"{child.name} serves on {address}")
                return
            if asyncio.get_running_loop().time() > deadline:
                raise _not_started(child, "it does not serve yet")
            await asyncio.sleep(_POLL)
        raise _not_started(child, child.log.last_error()["event"])


async def _all(*works: Coroutine[Any, Any, object]) -> None:
    """Wait for all of them. When one fails, none goes on in the background."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _not_started(child: Child, why: str) -> InterlockError:
    said = child.log.last_error()
    try:
        reason = Reason(said.get("reason", "UNAVAILABLE"))
    except ValueError:
        reason = Reason.UNAVAILABLE
    return InterlockError(
        reason,
        f"The {child.name} did not start: {why[:500]}",
        field=said.get("field", ""),
        fix=said.get("fix", "") or f"Read {child.log.path}.",
        metadata={"log": str(child.log.path)},
    )
