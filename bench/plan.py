"""Which measures are taken, in which order: engines alternate within each round, so that noise hits all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cluster import Cluster
from bench.contenders import CONTENDERS, FLOOR, Contender, FailedError, measure
from bench.environments import NotInstalledError
from bench.results import Results

STEPS = 10
SLOW_COMMIT_US = 2000
_LOAD = {"steps": STEPS, "warm": 1.0, "seconds": 2.5}


@dataclass(frozen=True)
class Part:
    """One measure at one setting. `name` is its name in the results, `kind` the driver's.

    `leaders`: only Interlock and these engines, where the whole field would take too long.
    """

    name: str
    kind: str
    given: dict[str, Any]
    rounds: int = 1
    limit: float = 60.0
    slow: bool = False
    leaders: tuple[str, ...] = ()
    alone: bool = False
    """Only Interlock: it is compared with itself."""


_KILL = {"runs": 500, "steps": 10, "pause": 0.5, "kill_after": 2000, "limit": 120}
_QUICK_LEADERS = ("Absurd", "Restate")
# One after the other in each round, so that they can be compared.
_REPLICAS = tuple(
    Part(f"orchestrators_{count}", "throughput", {**_LOAD, "runs": 60, "orchestrators": count}, alone=True)
    for count in (1, 2, 3)
)
_TAKEN = Part("recovery_replica", "recovery", {**_KILL, "orchestrators": 2}, limit=180, alone=True)

QUICK = (
    Part("throughput_50", "throughput", {**_LOAD, "runs": 50}, rounds=3),
    Part("throughput_20", "throughput", {**_LOAD, "runs": 20}, leaders=_QUICK_LEADERS),
    Part("throughput_200", "throughput", {**_LOAD, "runs": 200}, leaders=_QUICK_LEADERS),
    Part("idle", "idle", {"steps": 300}),
    Part("approval", "approval", {"decisions": 40}, leaders=("Restate", "LangGraph", "DBOS")),
    Part("growth", "growth", {"steps": 5000, "kilobyte": True}, limit=120, leaders=("Restate",)),
    Part("recovery", "recovery", _KILL, limit=180, leaders=("Restate",)),
    _TAKEN,
    *_REPLICAS,
    Part("slow_commit_50", "throughput", {**_LOAD, "runs": 50}, slow=True, leaders=_QUICK_LEADERS),
)
FULL = (
    Part("throughput_50", "throughput", {**_LOAD, "seconds": 5.0, "runs": 50}, rounds=5),
    Part("throughput_20", "throughput", {**_LOAD, "seconds": 5.0, "runs": 20}, rounds=3),
    Part("throughput_200", "throughput", {**_LOAD, "seconds": 5.0, "runs": 200}, rounds=3),
    Part("idle", "idle", {"steps": 550}, rounds=2),
    Part("approval", "approval", {"decisions": 100}, limit=120),
    Part("growth", "growth", {"steps": 5000, "kilobyte": True}, limit=300),
    Part("recovery", "recovery", _KILL, limit=200),
    _TAKEN,
    *_REPLICAS,
    Part("slow_commit_50", "throughput", {**_LOAD, "runs": 50}, rounds=2, slow=True),
    Part("slow_commit_idle", "idle", {"steps": 300}, slow=True),
)
NAMES = tuple(dict.fromkeys(part.name for part in (*QUICK, *FULL)))


def run(
    cluster: Cluster,
    results: Results,
    *,
    full: bool,
    only: Sequence[str] | None,
    measures: Sequence[str] | None,
    rounds: int | None,
) -> Iterator[str]:
    """Takes the measures; yields a line after each."""
    for part in FULL if full else QUICK:
        if measures and part.name not in measures:
            continue
        cluster.slow_commits(SLOW_COMMIT_US if part.slow else 0)
        times = rounds if rounds and part.rounds > 1 else part.rounds
        for number in range(1, times + 1):
            if part.kind == "throughput":
                yield _take(cluster, results, FLOOR, part, number, {"connections": 8, "seconds": 2.0})
            for contender in _field(part, only, number):
                yield _take(cluster, results, contender, part, number, part.given)
    cluster.slow_commits(0)


def _field(part: Part, only: Sequence[str] | None, number: int) -> list[Contender]:
    found = [
        each
        for each in CONTENDERS
        if part.kind in each.measures
        and (not only or each.name in only)
        and (not (part.leaders or part.alone) or each.name in ("Interlock", *part.leaders))
    ]
    # Who goes first changes from round to round.
    turn = (number - 1) % len(found) if found else 0
    return found[turn:] + found[:turn]


def _take(
    cluster: Cluster, results: Results, contender: Contender, part: Part, number: int, given: dict[str, Any]
) -> str:
    label = f"{part.name} round {number}: {contender.name}"
    try:
        found = measure(cluster, contender, part.kind, given, part.limit)
    except (FailedError, NotInstalledError) as error:
        results.missed(part.name, contender.name, str(error))
        return f"{label}: not run: {error}"
    results.add(part.name, contender.name, given, found)
    return f"{label}: {_brief(found)}"


def _brief(found: dict[str, Any]) -> str:
    for name, unit in (("steps_per_second", "steps/s"), ("p50_ms", "ms p50")):
        if name in found and "deciles_ms" not in found:
            return f"{found[name]:,} {unit}"
    if "deciles_ms" in found:
        return f"{found['deciles_ms'][0]} ms a step at the start, {found['deciles_ms'][-1]} ms at the end"
    if "decision_to_durable" in found:
        return f"{found['decision_to_durable']['p50_ms']} ms p50 from decision to durable"
    return (
        f"{found['seconds']:.2f} s, {found['twice']} steps executed twice" if "twice" in found else str(found)
    )
