"""Remove what nobody refers to any more: objects, trees, history, records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from interlock.common import logs
from interlock.common.digests import digest_bytes, digest_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.effects.retention import Rule
from interlock.executor.engine import Engine
from interlock.executor.workspaces.collector import Ask, Begun, Collected

MAX_NAMES: Final = 10_000_000
"""Workspaces, trees and runs that one request may name, in all."""

_METHOD = "CollectGarbage"
_log = logs.get("collect")


@dataclass
class Wanted:
    """What a caller says, gathered from its messages. Only names that mean something here are kept in memory."""

    begun: Begun
    known_workspaces: frozenset[str]
    known_trees: set[bytes]
    known_runs: frozenset[str]
    max_names: int = MAX_NAMES
    names: int = 0
    request_id: str = ""
    history: timedelta | None = None
    dry_run: bool = False
    named: set[str] = field(default_factory=set)
    trees: set[bytes] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)

    def add(self, workspaces: list[str], trees: list[str], runs: list[str]) -> None:
        """One message more. Raises INVALID_ARGUMENT, also for too many in all."""
        self.names += len(workspaces) + len(trees) + len(runs)
        if self.names > self.max_names:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"More than {self.max_names} names to keep. Nothing was removed.",
                field="trees" if trees else "run_ids" if runs else "workspace_ids",
                fix="Name each workspace, tree and run once; keep fewer runs by a shorter retention.",
            )
        self.named.update(self.known_workspaces.intersection(workspaces))
        self.trees.update(self.known_trees.intersection(map(digest_bytes, trees)))
        self.runs.update(self.known_runs.intersection(runs))


@dataclass(frozen=True)
class Collection:
    """How it ended: objects and rows, and effects' records."""

    collected: Collected
    effects: int
    dry_run: bool


async def gather(engine: Engine) -> Wanted:
    """Where a caller's messages go. What is entered from now on stays, so its names need not be known here."""
    return await engine.call(_gather, engine)


def _gather(engine: Engine) -> Wanted:
    spaces = engine.workspaces
    begun = spaces.collector.begin()
    return Wanted(begun, frozenset(spaces.entered()), spaces.known_trees(), frozenset(engine.store.runs()))


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
    ask = Ask(named, frozenset(wanted.trees), wanted.history, wanted.begun)
    collected = collector.collect(ask, dry_run=wanted.dry_run)
    own = collector.back_to(None, wanted.begun)
    rule = Rule(
        own=own,
        history=collector.back_to(wanted.history, wanted.begun),
        named=named,
        others=frozenset(engine.workspaces.named_since(own) - named),
        runs=frozenset(wanted.runs),
        known=wanted.known_runs,
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
