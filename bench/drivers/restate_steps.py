"""Restate: its server (from npm) with a log of its own on the same disk, and a Python service that it calls."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from typing import Any

import aiohttp
import restate as sdk
from meter import SCRATCH, Meter, arguments, deciles, effect, effects, load, percentiles, report, window


def serve(given: dict[str, Any]) -> None:
    import hypercorn.asyncio
    import hypercorn.config
    import uvloop

    bench = sdk.Service("Bench")

    async def small() -> int:
        return 1

    async def kilobyte() -> str:
        return os.urandom(512).hex()

    async def effective(run: int, n: int, pause: float) -> int:
        effect(run, n)
        await asyncio.sleep(pause)
        return n

    @bench.handler()
    async def steps(ctx: sdk.Context, count: int) -> list[float]:
        times = []
        for _ in range(abs(count)):
            await ctx.run_typed("step", kilobyte if count < 0 else small)
            times.append(time.perf_counter())
        return times if abs(count) > 50 else []

    @bench.handler()
    async def asks(ctx: sdk.Context, n: int) -> float:
        name, promise = ctx.awakeable()

        async def tell() -> None:
            await asyncio.to_thread((SCRATCH / f"ask{n}.new").write_text, f"{name} {time.time()}")
            (SCRATCH / f"ask{n}.new").rename(SCRATCH / f"ask{n}")

        await ctx.run_typed("tell", tell)
        signalled = await promise
        await ctx.run_typed("step", small)
        return time.time() - signalled

    @bench.handler()
    async def slow(ctx: sdk.Context, what: list[float]) -> int:
        run, count, pause = what
        for n in range(int(count)):
            await ctx.run_typed("step", effective, run=int(run), n=n, pause=pause)
        return 1

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{given['port']}"]
    config.loglevel = "ERROR"
    uvloop.run(hypercorn.asyncio.serve(sdk.app([bench]), config))  # type: ignore[arg-type]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Restate:
    def __init__(self) -> None:
        self.ingress, self.admin, node, self.port = free_ports(4)
        base = SCRATCH / "restate"
        shutil.rmtree(base, ignore_errors=True)
        environment = {
            **os.environ,
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_BASE_DIR": str(base),
            "RESTATE_LOG_FILTER": "error",
            "DO_NOT_TRACK": "1",
        }
        with open(SCRATCH / "restate.log", "wb") as log:
            command = [os.environ["BENCH_RESTATE"]]
            self.server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.worker = self.start_worker()
        self._register()

    def start_worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, "worker", json.dumps({"port": self.port})])

    def _register(self) -> None:
        body = b'{"uri": "http://127.0.0.1:%d", "force": true}' % self.port
        headers = {"content-type": "application/json"}
        deadline = time.monotonic() + 40
        while True:
            request = urllib.request.Request(f"http://127.0.0.1:{self.admin}/deployments", body, headers)
            try:
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        time.sleep(1)

    def meter(self) -> Meter:
        return Meter([self.server.pid, self.worker.pid], [os.getpid()], database=False)

    async def call(self, http: aiohttp.ClientSession, handler: str, body: Any) -> Any:
        # Its ingress now and then closes a connection that it has just answered on: then the call is made anew.
        for _ in range(5):
            try:
                return await self._call(http, handler, body)
            except aiohttp.ServerDisconnectedError:
                await asyncio.sleep(0.01)
        return await self._call(http, handler, body)

    async def _call(self, http: aiohttp.ClientSession, handler: str, body: Any) -> Any:
        address = f"http://127.0.0.1:{self.ingress}/Bench/{handler}"
        async with http.post(address, json=body, timeout=aiohttp.ClientTimeout(600)) as response:
            if response.status != 200:
                raise RuntimeError(await response.text())
            return await response.json(content_type=None)

    def close(self) -> None:
        self.worker.kill()
        self.server.kill()
        self.server.wait()


async def throughput(restate: Restate, http: Any, given: dict[str, Any]) -> dict[str, Any]:
    ended = 0

    async def one(_: int) -> None:
        nonlocal ended
        await restate.call(http, "steps", given["steps"])
        ended += 1

    loading = asyncio.create_task(load(one, given["runs"]))
    found = await window(restate.meter(), given, lambda: ended * given["steps"])
    assert not loading.done()
    return found


async def idle(restate: Restate, http: Any, given: dict[str, Any]) -> dict[str, Any]:
    ends = (await restate.call(http, "steps", given["steps"]))[50:]
    return percentiles([b - a for a, b in pairwise(ends)])


async def growth(restate: Restate, http: Any, given: dict[str, Any]) -> dict[str, Any]:
    meter = restate.meter()
    meter.start()
    began = time.perf_counter()
    ends = await restate.call(http, "steps", -given["steps"])
    return {**meter.stop(given["steps"]), "deciles_ms": deciles(ends, began)}


async def approval(restate: Restate, http: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = []
    for n in range(given["decisions"]):
        asking = asyncio.create_task(restate.call(http, "asks", n))
        while not (SCRATCH / f"ask{n}").exists():
            await asyncio.sleep(0.001)
        name = (SCRATCH / f"ask{n}").read_text().split()[0]
        await asyncio.sleep(0.02)
        address = f"http://127.0.0.1:{restate.ingress}/restate/awakeables/{name}/resolve"
        async with http.post(address, json=time.time()) as response:
            await response.read()
        found.append(await asking)
    return {"decision_to_durable": percentiles(found[5:])}


async def recovery(restate: Restate, http: Any, given: dict[str, Any]) -> dict[str, Any]:
    asked = [
        asyncio.create_task(restate.call(http, "slow", [run, given["steps"], given["pause"]]))
        for run in range(given["runs"])
    ]
    while effects()[0] < given["kill_after"]:
        await asyncio.sleep(0.05)
    restate.worker.kill()
    restate.worker.wait()
    killed, before = time.perf_counter(), effects()[0]
    restate.worker = restate.start_worker()
    async with asyncio.timeout(given["limit"]):
        await asyncio.gather(*asked)
    seconds = time.perf_counter() - killed
    return {"seconds": seconds, "done": given["runs"], "before": before, "twice": effects()[1]}


async def main() -> None:
    measure, given = arguments()
    restate = Restate()
    table = {
        "throughput": throughput,
        "idle": idle,
        "growth": growth,
        "approval": approval,
        "recovery": recovery,
    }
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            found = await table[measure](restate, http, given)
    finally:
        restate.close()
    report(found)


if sys.argv[1] == "worker":
    serve(arguments()[1])
else:
    asyncio.run(main())
