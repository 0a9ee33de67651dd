"""What every driver needs: counters of the machine before and after, percentiles, a loop of concurrent runs.

Only the standard library and psycopg: a driver runs in its engine's own environment, where nothing of Interlock is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

DSN = os.environ.get("BENCH_DSN", "")
POSTGRES = int(os.environ.get("BENCH_POSTGRES_PID", "0"))
SCRATCH = Path(os.environ.get("BENCH_SCRATCH", "/tmp"))
_TICK = os.sysconf("SC_CLK_TCK")


def arguments() -> tuple[str, dict[str, Any]]:
    """The measure to take and its settings, from the command line."""
    return sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}


def report(result: Mapping[str, Any]) -> None:
    """Hands the result to whoever started the driver, and ends the process: engines do not always let go."""
    print("RESULT " + json.dumps(result), flush=True)
    sys.stdout.flush()
    os._exit(0)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum in milliseconds."""
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.99)]
    return {
        "n": len(ordered),
        "p50_ms": round(at[0] * 1e3, 3),
        "p99_ms": round(at[1] * 1e3, 3),
        "max_ms": round(ordered[-1] * 1e3, 3),
    }


def deciles(ends: Sequence[float], began: float) -> list[float]:
    """Milliseconds a step in each tenth of a long run, from the times at which its steps ended."""
    width, out, last = len(ends) // 10, [], began
    for tenth in range(10):
        end = ends[(tenth + 1) * width - 1]
        out.append(round((end - last) / width * 1e3, 3))
        last = end
    return out


def _tree() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    return children


def _cpu(pid: int, children: Mapping[int, Sequence[int]], skip: frozenset[int]) -> float:
    if pid in skip:
        return 0.0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(int(field) for field in fields[11:15]) / _TICK
    return own + sum(_cpu(child, children, skip) for child in children.get(pid, ()))


class Meter:
    """CPU seconds of process trees, commits and bytes of log of the database, between two moments.

    Args:
        engine: roots of the engine's processes. Their children count, but those that are roots elsewhere do not.
        client: the process that makes the load, where it is not the engine itself.
        executor: processes that carry out the steps, where they are others.
        database: whether the engine keeps its state in PostgreSQL.
    """

    def __init__(
        self,
        engine: Sequence[int],
        client: Sequence[int] = (),
        *,
        database: bool = True,
        executor: Sequence[int] = (),
    ) -> None:
        self._database = database
        self._roots = {
            "engine": list(engine),
            "postgres": [POSTGRES] if database else [],
            "client": list(client),
            "executor": list(executor),
        }
        self._first: dict[str, float] = {}

    def _now(self) -> dict[str, float]:
        children = _tree()
        roots = {pid for pids in self._roots.values() for pid in pids}
        found = {
            name: sum(_cpu(pid, children, frozenset(roots - {pid})) for pid in pids)
            for name, pids in self._roots.items()
        }
        if self._database:
            import psycopg

            with psycopg.connect(DSN, autocommit=True) as connection:
                row = connection.execute(
                    "SELECT xact_commit, pg_current_wal_lsn() - '0/0' FROM pg_stat_database"
                    " WHERE datname = current_database()"
                ).fetchone()
                assert row is not None
                found |= {"commits": float(row[0]), "wal": float(row[1])}
        return {**found, "time": time.perf_counter()}

    def start(self) -> None:
        """The first moment."""
        self._first = self._now()

    def stop(self, steps: int) -> dict[str, float]:
        """What was used from the first moment on, for so many steps."""
        last = self._now()
        used = {name: last[name] - before for name, before in self._first.items()}
        out = {
            "steps": steps,
            "seconds": round(used["time"], 3),
            "steps_per_second": round(steps / used["time"], 1),
        }
        for name in ("engine", "executor", "postgres", "client"):
            if self._roots[name]:
                out[f"{name}_cpu_ms_per_step"] = round(used[name] * 1e3 / max(steps, 1), 4)
        if "commits" in used:
            out["commits_per_step"] = round(used["commits"] / max(steps, 1), 3)
            out["wal_bytes_per_step"] = round(used["wal"] / max(steps, 1))
        return out


class Tally:
    """Steps done so far."""

    def __init__(self) -> None:
        self.steps = 0


async def window(
    meter: Meter, given: Mapping[str, Any], count: Callable[[], int] | Callable[[], Awaitable[int]]
) -> dict[str, float]:
    """Steps that became durable in `seconds`, after `warm` seconds of the same load."""

    async def steps() -> int:
        found = count()
        return found if isinstance(found, int) else await found

    await asyncio.sleep(given["warm"])
    before = await steps()
    meter.start()
    await asyncio.sleep(given["seconds"])
    return meter.stop(await steps() - before)


async def load(one: Callable[[int], Awaitable[Any]], runs: int) -> None:
    """`runs` runs at a time, for ever: each slot starts the next when one has ended. Cancel it."""

    async def slot(n: int) -> None:
        while True:
            await one(n)

    await asyncio.gather(*(slot(n) for n in range(runs)))


def effect(run: object, step: object) -> None:
    """A visible effect of a step that is to happen once: a line in a file that survives every kill."""
    with open(SCRATCH / "effects.log", "ab", buffering=0) as file:
        file.write(f"{run}:{step}\n".encode())


def effects() -> tuple[int, int]:
    """How many different effects there were, and how many were made again."""
    path = SCRATCH / "effects.log"
    lines = path.read_text().split() if path.exists() else []
    return len(set(lines)), len(lines) - len(set(lines))
