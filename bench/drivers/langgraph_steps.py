"""LangGraph with its PostgreSQL checkpointer and durability=sync: a checkpoint after every node."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any, TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from meter import DSN, Meter, Tally, arguments, deciles, effect, effects, load, percentiles, report, window
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

tally, ends = Tally(), list[float]()


class State(TypedDict):
    run: int
    done: int
    steps: int
    last: str


async def checkpointer(size: int = 10) -> AsyncPostgresSaver:
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: Any = AsyncConnectionPool(DSN, min_size=min(size, 4), max_size=size, open=False, kwargs=settings)
    await pool.open()
    saver = AsyncPostgresSaver(pool)
    await saver.setup()
    return saver


def loop(saver: AsyncPostgresSaver, node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("step", node)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if state["done"] < state["steps"] else END)
    return graph.compile(checkpointer=saver)


def thread(name: object) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(name)}, "recursion_limit": 100_000}


async def node(state: State) -> dict[str, Any]:
    tally.steps += 1
    return {"done": state["done"] + 1}


async def timed(state: State) -> dict[str, Any]:
    ends.append(time.perf_counter())
    return {"done": state["done"] + 1, "last": os.urandom(512).hex()}


async def throughput(given: dict[str, Any]) -> None:
    graph, count = loop(await checkpointer(), node), 0

    async def one(_: int) -> None:
        nonlocal count
        count += 1
        start = {"run": count, "done": 0, "steps": given["steps"]}
        await graph.ainvoke(start, thread(count), durability="sync")

    loading = asyncio.create_task(load(one, given["runs"]))
    found = await window(Meter([os.getpid()]), given, lambda: tally.steps)
    assert not loading.done()
    report(found)


async def idle(given: dict[str, Any]) -> None:
    graph = loop(await checkpointer(), timed)
    await graph.ainvoke({"run": 0, "done": 0, "steps": given["steps"]}, thread("idle"), durability="sync")
    kept = ends[50:]
    report(percentiles([b - a for a, b in pairwise(kept)]))


async def growth(given: dict[str, Any]) -> None:
    graph = loop(await checkpointer(), timed)
    meter = Meter([os.getpid()])
    meter.start()
    began = time.perf_counter()
    await graph.ainvoke({"run": 0, "done": 0, "steps": given["steps"]}, thread("growth"), durability="sync")
    report({**meter.stop(given["steps"]), "deciles_ms": deciles(ends, began)})


async def approval(given: dict[str, Any]) -> None:
    async def ask(state: State) -> dict[str, Any]:
        interrupt("may it?")
        return {"done": state["done"] + 1}

    async def act(state: State) -> dict[str, Any]:
        return {"last": "done"}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_node("act", act)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "act")
    graph.add_edge("act", END)
    asks = graph.compile(checkpointer=await checkpointer())
    found = []
    for n in range(given["decisions"]):
        await asks.ainvoke({"run": n, "done": 0, "steps": 0}, thread(n), durability="sync")
        began = time.perf_counter()
        await asks.ainvoke(Command(resume=True), thread(n), durability="sync")
        found.append(time.perf_counter() - began)
    report({"decision_to_durable": percentiles(found[5:])})


async def slow(state: State) -> dict[str, Any]:
    effect(state["run"], state["done"])
    await asyncio.sleep(float(os.environ["BENCH_PAUSE"]))
    return {"done": state["done"] + 1}


async def worker(given: dict[str, Any]) -> None:
    graph = loop(await checkpointer(20), slow)

    async def one(run: int) -> None:
        start: Any = {"run": run, "done": 0, "steps": given["steps"]}
        if not given["begin"]:
            known = await graph.aget_state(thread(run))
            if known.values and not known.next:
                return
            start = None if known.next else start
        await graph.ainvoke(start, thread(run), durability="sync")

    await asyncio.gather(*(one(run) for run in range(given["runs"])))
    os._exit(0)


async def recovery(given: dict[str, Any]) -> None:
    async def start(begin: bool) -> Any:
        environment = {**os.environ, "BENCH_PAUSE": str(given["pause"])}
        command = [sys.executable, __file__, "worker", json.dumps({**given, "begin": begin})]
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.DEVNULL)

    first = await start(True)
    while effects()[0] < given["kill_after"]:
        await asyncio.sleep(0.05)
    first.kill()
    await first.wait()
    killed, before = time.perf_counter(), effects()[0]
    # LangGraph has no recovery of its own: whoever uses it has to find what is unfinished and invoke it again.
    again = await start(False)
    async with asyncio.timeout(given["limit"]):
        await again.wait()
    seconds = time.perf_counter() - killed
    report({"seconds": seconds, "done": given["runs"], "before": before, "twice": effects()[1]})


async def main() -> None:
    measure, given = arguments()
    table = {"throughput": throughput, "idle": idle, "growth": growth, "approval": approval, "worker": worker}
    await {**table, "recovery": recovery}[measure](given)


asyncio.run(main())
