"""Remove what nobody refers to any more: objects, trees, history, records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from interlock.common import logs
from interlock.common.digests import digest_bytes, digest_json
from interlock.common.errors import InterlockError
from interlock.executor.effects.retention import Rule
from interlock.executor.engine import Engine
from interlock.executor.workspaces.collector import Ask, Collected

_METHOD = "CollectGarbage"
_log = logs.get("collect")


@dataclass
class Wanted:
    """What a caller says, gathered from its messages. Only names that mean something here are kept in memory."""

    known_trees: set[bytes]
    known_runs: set[str]
    request_id: str = ""
    history: timedelta | None = None
    dry_run: bool = False
    named: set[str] = field(default_factory=set)
    trees: set[bytes] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)

    def add(self, workspaces: list[str], trees: list[str], runs: list[str]) -> None:
        """One message more."""
        self.named.update(workspaces)
        self.trees.update(self.known_trees.intersection(map(digest_bytes, trees)))
        self.runs.update(self.known_runs.intersection(runs))


@dataclass(frozen=True)
class Collection:
    """How it ended: objects and rows, and effects' records."""

    collected: Collected
    effects: int
    dry_run: bool


async def gather(engine: Engine) -> Wanted:
    """Where a caller's messages go. What comes into being from now on is young, and stays for that."""
    trees = await engine.call(engine.workspaces.known_trees)
    return Wanted(trees, await engine.call(engine.store.runs))


async def collect_garbage(engine: Engine, wanted: Wanted, render: Callable[[Collection], bytes]) -> bytes:
    """The answer, rendered; a repeated request gets the first one. Raises UNAVAILABLE, REQUEST_ID_REUSED."""
    if not wanted.request_id:
        return render(await engine.call(_collect, engine, wanted))
    history = wanted.history.total_seconds() if wanted.history is not None else -1
    about = {"dry_run": wanted.dry_run, "history": int(history)}
    fingerprint = digest_json(about, "interlock.executor.collect.v1")
    begun = await engine.call(
        engine.store.begin_request, _METHOD, wanted.request_id, fingerprint, "", engine.now()
    )
    if begun.answer:
        return begun.answer
    try:
        answer = render(await engine.call(_collect, engine, wanted))
    except InterlockError:
        await engine.call(engine.store.drop_request, _METHOD, wanted.request_id)
        raise
    await engine.call(engine.store.answer_request, _METHOD, wanted.request_id, answer)
    return answer


def _collect(engine: Engine, wanted: Wanted) -> Collection:
    collector, named = engine.workspaces.collector, frozenset(wanted.named)
    ask = Ask(named, frozenset(wanted.trees), wanted.history)
    collected = collector.collect(ask, dry_run=wanted.dry_run)
    own = collector.back_to()
    rule = Rule(
        own=own,
        history=collector.back_to(wanted.history),
        named=named,
        others=frozenset(engine.workspaces.named_since(own) - named),
        runs=frozenset(wanted.runs),
    )
    effects = engine.store.prune(rule, dry_run=wanted.dry_run)
    swept, pruned = collected
    _log.info(
        "collected",
        dry_run=wanted.dry_run,
        objects=swept.removed,
        bytes_freed=swept.freed,
        trees=pruned.trees,
        effects=effects,
    )
    return Collection(collected, effects, wanted.dry_run)
