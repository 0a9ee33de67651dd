"""What the use cases share: the parts of a running executor, and threads for what blocks."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from interlock.common import logs
from interlock.common.clock import Clock, rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids
from interlock.executor.domain.caller import Caller
from interlock.executor.domain.limits import Limits
from interlock.executor.domain.model import EffectKey, EffectState, RunCommand
from interlock.executor.effects.hub import Hub
from interlock.executor.effects.inflight import InFlight
from interlock.executor.effects.retention import Rule
from interlock.executor.effects.store import EffectStore, Record
from interlock.executor.effects.turns import WorkspaceTurns
from interlock.executor.sandbox.base import Probe, Sandbox
from interlock.executor.sandbox.network.config import NetworkConfig, network_check
from interlock.executor.sandbox.network.trial import NetworkTrial
from interlock.executor.secrets.opened import Opened
from interlock.executor.secrets.vault import Vault
from interlock.executor.steps.base import Outcome
from interlock.executor.workspaces.manager import Workspaces
from interlock.executor.workspaces.model import Fork

_T = TypeVar("_T")
_log = logs.get("executor.engine")

KEPT_FORKS: Final = 256
"""Prepared effects whose fork stays on disk, to be looked at again before it is published. Older ones are published
from the store, where their result is kept by content."""


@dataclass(frozen=True)
class Rendered:
    """How an outcome is told to callers: makes the bytes of the answer to Prepare."""

    prepare: Callable[[Outcome, str, str, Limits | None], bytes]


class Engine:
    """The parts. `threads` bounds how many blocking operations run at once, `commands` how many commands."""

    def __init__(
        self,
        *,
        workspaces: Workspaces,
        sandbox: Sandbox,
        probe: Probe,
        store: EffectStore,
        clock: Clock,
        ids: Ids,
        rendered: Rendered,
        commands: int,
        patience: float,
        vault: Vault | None = None,
        network: NetworkConfig | None = None,
    ) -> None:
        self.workspaces, self.sandbox, self.probe = workspaces, sandbox, probe
        self.store, self.clock, self.ids, self.rendered = store, clock, ids, rendered
        self.vault = vault or Vault()
        self.network = network or NetworkConfig()
        self._trial = NetworkTrial(self.network, sandbox)
        workspaces.collector.effects = store.undecided
        self.hub, self.inflight = Hub(clock), InFlight()
        self.turns = WorkspaceTurns(patience)
        self.commands = asyncio.Semaphore(commands)
        self.closing, self.draining = threading.Event(), asyncio.Event()
        self._threads = ThreadPoolExecutor(32, "executor")
        self._forks: OrderedDict[EffectKey, Fork] = OrderedDict()
        self._background: set[asyncio.Task[object]] = set()

    def now(self) -> str:
        """The time, as records have it."""
        return rfc3339(self.clock.now())

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run something that blocks on a thread, with the caller's logging and tracing context."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: context.run(function, *arguments)
        )

    async def note(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Record what has happened. A full disk makes that UNAVAILABLE: called failed, it would be taken for undone.

        Whoever repeats the call finds what happened, and records it.
        """
        try:
            return await self.call(function, *arguments)
        except InterlockError as error:
            if error.reason is not Reason.STORE_FULL:
                raise
            raise InterlockError(
                Reason.UNAVAILABLE,
                "It was done, but the disk is too full to record it. It is recorded as soon as there is space.",
                fix="Free space on the disk of the executor's directory.",
            ) from error

    async def note_if_possible(self, function: Callable[..., object], *arguments: object) -> None:
        """Record a failure that is being reported. Where the disk is full, what was recorded before stands."""
        try:
            await self.call(function, *arguments)
        except InterlockError as error:
            if error.reason is not Reason.STORE_FULL:
                raise
            _log.warning("the disk is too full to record a failure")

    async def open_secrets(self, action: RunCommand) -> Opened:
        """The secrets that a command names. Raises SECRET_NOT_FOUND, SECRET_UNUSABLE."""
        opened = await self.call(self.vault.open, action.secrets)
        opened.refuse_in(action)
        if opened.files() and not self.sandbox.capabilities.files:
            raise InterlockError(
                Reason.SECRET_UNUSABLE,
                f"The sandbox {self.sandbox.tier.backend} cannot give secrets as files.",
                field="secrets",
                fix="Let the secret appear as an environment variable.",
            )
        return opened

    async def try_network(self) -> None:
        """Before a step may have it: whether any can."""
        self.network = await self._trial.found()

    async def full_probe(self) -> Probe:
        """The self-test of the start, and whether steps can have network."""
        await self.try_network()
        return replace(self.probe, checks=(*self.probe.checks, network_check(self.network)))

    async def fence(self, run: str, caller: Caller) -> None:
        """Refuse a driver that another has followed. Raises EPOCH_STALE, EFFECT_NOT_OWNED."""
        await self.call(self.store.fence, run, caller.epoch, self.now(), caller.driver)

    async def look(self, key: EffectKey) -> Record | None:
        """The record of an effect."""
        return await self.call(self.store.get, key)

    async def keep_fork(self, key: EffectKey, fork: Fork) -> None:
        """Keep a prepared effect's fork; the oldest goes when there are too many."""
        self._forks[key] = fork
        if len(self._forks) > KEPT_FORKS:
            _, oldest = self._forks.popitem(last=False)
            await self.call(self.workspaces.discard, oldest)

    def fork_of(self, key: EffectKey) -> Fork | None:
        """The fork that was kept, if it still is."""
        return self._forks.get(key)

    async def drop_fork(self, key: EffectKey) -> None:
        """Delete the fork that was kept."""
        fork = self._forks.pop(key, None)
        if fork is not None:
            await self.call(self.workspaces.discard, fork)

    def recover(self) -> None:
        """Bring the records in line with what happened before the last end. Blocks; before any call is taken.

        What was being published has been finished by Workspaces: its history says whether it took effect. What was
        being computed, without effects outside, is forgotten, so that asking again computes it again.
        """
        for record in self.store.in_state(EffectState.APPLYING):
            self.recover_applying(record)
        for record in self.store.in_state(EffectState.PREPARING):
            if not record.outside:
                self.store.forget(record.key)
        own = self.workspaces.collector.back_to()
        forgotten = self.store.prune(Rule(own, others=frozenset(self.workspaces.named_since(own))))
        if forgotten:
            _log.info("forgot old effects", count=forgotten)
        self.store.forget_sources(self.workspaces.entered())

    def recover_applying(self, record: Record) -> None:
        """Record how a publication ended that was begun and cut off; nothing while it has not. Blocks."""
        if self.workspaces.unsettled(record.workspace) == str(record.key):
            return
        try:
            heads = self.workspaces.heads(record.workspace)
        except InterlockError:
            heads = []
        for head in heads:
            if head.key == str(record.key):
                merged = head.tree != record.result_tree
                count, kept = self.workspaces.kept(record.workspace, head.key)
                done = replace(
                    record,
                    state=EffectState.APPLIED,
                    head_tree=head.tree,
                    merged=merged,
                    applied_at=rfc3339(head.at),
                    kept=kept,
                    kept_count=count,
                )
                self.store.put(done)
                return
        self.store.put(replace(record, state=EffectState.PREPARED, approval=""))

    async def finish(self, work: asyncio.Task[_T]) -> _T:
        """Wait for a task that goes on when the waiting is cancelled."""
        self._background.add(work)
        work.add_done_callback(self._background.discard)
        return await asyncio.shield(work)

    async def drain(self) -> None:
        """A stop was asked for: imports end now, steps under way have the grace period."""
        self.closing.set()
        self.draining.set()

    async def close(self) -> None:
        """Stop the steps under way, let publications finish, close files."""
        self.closing.set()
        await self.inflight.close()
        if self._background:
            await asyncio.wait(self._background)
        self._threads.shutdown(wait=True)
        self.store.close()
        self.workspaces.close()
