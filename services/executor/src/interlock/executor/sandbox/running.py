"""What every backend does alike: follow one step from its start to its result.

A backend starts a tree of processes that waits at a gate (`Tree`); everything else is here: limits on what waits,
the watchdog, output, the end of the whole tree, accounts, and the verdict.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox import cgroups, counts, orphans
from interlock.executor.sandbox.base import (
    NO_OVERHEAD,
    Capabilities,
    Check,
    Ending,
    Exceeded,
    OutputSink,
    Overhead,
    Probe,
    SandboxResult,
    SandboxSpec,
    TierReport,
    Usage,
)
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.devices import require_devices
from interlock.executor.sandbox.environment import check_spec
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.launch import become_subreaper, outlive
from interlock.executor.sandbox.limits import Limiter, prefer_as_victim, tasks_of
from interlock.executor.sandbox.network.link import Link
from interlock.executor.sandbox.output import Delivery, Pump
from interlock.executor.sandbox.selftest import fork_checks
from interlock.executor.sandbox.verdict import NotStarted, Observation, start_error, starting, verdict
from interlock.executor.sandbox.watchdog import Watchdog

_counter = itertools.count(1)


class Tree(Protocol):
    """The processes of one step, and the runner they came from.

    Args:
        root: the runner's own process that every process of the step is below of, for as long as any is alive.
        waiting: the process that becomes the command, or is as the command will be; it waits at the gate.
        beside: a process of the step that is not below the root, once there is one; else 0.
        user_us, system_us, max_rss: the accounts, after `reap`.
        signal: after `reap`, the signal that ended the command, 0 for none, None when the runner does not tell.
        scratch: a directory on disk that stands in for /tmp, or None.
    """

    root: int
    waiting: int
    beside: int
    user_us: int
    system_us: int
    max_rss: int
    signal: int | None
    scratch: Path | None

    async def meet(self, identity: Identity) -> bool:
        """Wait until the command waits at the gate, and check who it is. False when the runner ended before.

        Raises InterlockError(SANDBOX_UNAVAILABLE) when it is not what it must be.
        """

    def release(self) -> None:
        """Let the command run."""

    def kill(self) -> None:
        """Begin the end of everything; returns at once."""

    async def ended(self) -> None:
        """Wait until the runner and every process of the step are gone."""

    async def quiesce(self) -> None:
        """After `kill`: wait for the end. Raises InterlockError(SANDBOX_UNAVAILABLE) if it does not come."""

    def reap(self) -> int | None:
        """Collect the dead, their accounts, and the exit code; None when the command was never executed."""

    def not_started(self, said: str) -> NotStarted:
        """After `reap` gave None: why. `said` is what the runner said on stderr."""

    def close(self) -> None:
        """Close every descriptor but the output pipes, and remove what is no longer needed."""


@dataclass(frozen=True, slots=True)
class Started:
    """A started tree and the reading ends of its stdout and stderr."""

    tree: Tree
    stdout: int
    stderr: int


class Confined(ABC):
    """The common part of the backends; see `interlock.executor.sandbox.base.Sandbox`.

    Making one looks at the machine's devices, finds control groups and makes this process the reaper of orphans.
    Raises InterlockError(SANDBOX_UNAVAILABLE) where devices are not what they must be.
    """

    capabilities: Capabilities
    root_made = False
    """Whether root makes a step's namespaces, and not the uid of steps."""
    rlimits_inside = False  # the runner sets the limits of processes itself, and must not be below them
    overhead: Overhead = NO_OVERHEAD
    own_tasks = (
        1  # of the runner, counted by a control group with the step's: a reaper, or a child until exec
    )
    bounds_counts = (
        False  # a step has a user namespace of its own on the machine's kernel, to be bounded there
    )
    counts_bounded: bool | None = None  # whether the last one was

    def __init__(self, confinement: Confinement, backend: str) -> None:
        require_devices(confinement.identity.uid)
        self.confinement = confinement
        private = confinement.private
        private.mkdir(parents=True, exist_ok=True)
        if confinement.identity.switch:
            os.chmod(private, 0o755)  # noqa: S103 - other users must be able to pass
        self.controller = cgroups.find() if confinement.use_cgroups else None
        if self.controller is not None:
            cgroups.sweep(self.controller)
        enforcement = self.controller.name if self.controller else "rlimit+watchdog"
        # What `auto` comes to is found out by `probe`.
        copy = confinement.fork == "copy" or not self.capabilities.overlay
        self.tier = TierReport(backend, enforcement, "copy" if copy else "overlay")
        self.limiter = Limiter(confinement.identity)
        self._shell = confinement.shell()
        become_subreaper()

    @abstractmethod
    def start(self, spec: SandboxSpec, group: cgroups.Group | None) -> Started:
        """Start the runner; what waits at the gate is put into `group` afterwards.

        On the event loop's thread; blocks for milliseconds.

        Raises InterlockError(SANDBOX_UNAVAILABLE).
        """

    @abstractmethod
    async def probe(self, state: Path) -> Probe:
        """See `Sandbox`."""

    @abstractmethod
    def policy(self) -> dict[str, JsonValue]:
        """See `Sandbox`."""

    async def try_forks(self, state: Path, fix: str) -> list[Check]:
        """Find out by test steps how forks are made, and note it in the tier."""
        fork, checks = await fork_checks(self, state, self.confinement.fork, fix)
        self.tier = replace(self.tier, fork=fork)
        return checks

    @property
    def identity(self) -> Identity:
        """Whom steps run as."""
        return self.confinement.identity

    @property
    def name(self) -> str:
        """What runners on this directory are called, for `orphans`."""
        return orphans.name_of(self.confinement.private)

    def resolve_argv(self, spec: SandboxSpec) -> tuple[str, ...]:
        """See `Sandbox`."""
        return spec.argv or (self._shell, "-c", spec.command)

    def end_orphans(self) -> int:
        """See `Sandbox`."""
        return orphans.end_every(self.name)

    async def run(
        self, spec: SandboxSpec, *, sink: OutputSink | None = None, cancel: asyncio.Event | None = None
    ) -> SandboxResult:
        """See `Sandbox`."""
        check_spec(spec)
        stop = asyncio.Event()
        # A task of its own: whatever happens to the caller's, the tree is ended and collected in order.
        inner = asyncio.create_task(self._run(spec, sink, (stop,) if cancel is None else (stop, cancel)))
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            stop.set()
            await outlive(inner)
            raise

    async def _run(
        self, spec: SandboxSpec, sink: OutputSink | None, stops: tuple[asyncio.Event, ...]
    ) -> SandboxResult:
        group = self._group(spec)
        try:
            step = _Step(self, spec, sink, group)
            return await step.run(stops)
        finally:
            if group is not None:
                # Not waited for: removing a group takes the kernel longer than running the step.
                asyncio.get_running_loop().run_in_executor(None, group.remove)

    def _group(self, spec: SandboxSpec) -> cgroups.Group | None:
        if self.controller is None:
            return None
        try:
            return self.controller.create(
                f"{os.getpid()}-{next(_counter)}", self.overhead.added_to(spec.limits), self.own_tasks
            )
        except OSError as error:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"The step's control group cannot be made: {error.strerror}.",
                fix="Give the executor its control groups back, or set INTERLOCK_CGROUPS=false and restart it.",
            ) from None


class _Step:
    """One run, from start to result."""

    def __init__(
        self,
        sandbox: Confined,
        spec: SandboxSpec,
        sink: OutputSink | None,
        group: cgroups.Group | None,
    ) -> None:
        self._sandbox, self._spec, self._group = sandbox, spec, group
        self._loop = asyncio.get_running_loop()
        self._delivery = Delivery(sink) if sink is not None else None
        self._started = self._loop.time()
        self._link: Link | None = None

    async def run(self, stops: tuple[asyncio.Event, ...]) -> SandboxResult:
        if self._spec.network is None:
            return await self._run(stops)
        sandbox = self._sandbox
        self._link = Link(self._spec.network, sandbox.identity, root_made=sandbox.root_made)
        try:
            return await self._run(stops)
        finally:
            await self._link.close()

    async def _run(self, stops: tuple[asyncio.Event, ...]) -> SandboxResult:
        with starting():
            started = self._sandbox.start(self._spec, self._group)
        tree, keep, redact = started.tree, self._spec.limits.kept_bytes, self._spec.redact
        pumps = [
            Pump(stream, fd, keep, self._delivery, redact() if redact is not None else None)
            for stream, fd in (("stdout", started.stdout), ("stderr", started.stderr))
        ]
        if self._delivery is not None:
            self._delivery.pumps = pumps
        try:
            return await self._follow(tree, pumps, stops)
        finally:
            tree.close()
            for pump in pumps:
                pump.close()
            if self._delivery is not None:
                await self._delivery.abandon()

    async def _follow(self, tree: Tree, pumps: list[Pump], stops: tuple[asyncio.Event, ...]) -> SandboxResult:
        try:
            met = await tree.meet(self._sandbox.identity)
            if met:
                await self._confine(tree.waiting)
                if self._link is not None:
                    await self._link.enter(tree.waiting)
            self._started, watchdog = self._loop.time(), self._watchdog(tree, pumps)
            if met and self._link is not None:
                self._link.release()
            tree.release()
            ending, exceeded = await self._wait(tree, watchdog, stops)
        finally:
            tree.kill()
            await tree.quiesce()
            wall = self._loop.time() - self._started
            code = tree.reap()
        dropped = await self._drain(pumps)
        after = await asyncio.to_thread(watchdog.check_disk)
        seen = Observation(
            ending=ending,
            exceeded=exceeded,
            code=code,
            signal=tree.signal,
            counted=self._group,
            disk=after,
            usage=self._usage(tree, watchdog, int(wall * 1_000_000)),
            stdout=pumps[0].capture.result(),
            stderr=pumps[1].capture.result(),
            argv=self._sandbox.resolve_argv(self._spec),
            tier=self._sandbox.tier,
            live_dropped=dropped,
            tmp_is_mount=tree.scratch is None,
        )
        if ending is Ending.EXITED and code is None:
            said = seen.stderr.head.decode("utf-8", "replace").strip()
            raise start_error(self._spec, seen.argv, tree.not_started(said))
        result = verdict(self._spec, seen)
        return result if self._link is None else replace(result, network=await self._link.finish())

    async def _confine(self, pid: int) -> None:
        """Limits on the waiting child; everything the command starts inherits them."""
        try:
            if self._group is not None and not self._group.holds(pid):
                await asyncio.to_thread(self._group.attach, pid)
            if not self._sandbox.rlimits_inside:
                await self._limit(pid)
            if self._sandbox.bounds_counts:
                self._sandbox.counts_bounded = await counts.bound(pid)
        except (ProcessLookupError, FileNotFoundError):
            return  # it failed before the gate; the runner says why
        except OSError as error:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"A step's limits cannot be set: {error.strerror}.",
                fix="See `interlock doctor`.",
            ) from None
        prefer_as_victim(pid)

    async def _limit(self, pid: int) -> None:
        counted = self._group is not None
        others: int | None = 0
        if not self._sandbox.capabilities.own_user_namespace:
            # The kernel counts processes of a uid in a namespace: here, everybody's who has it.
            others = None if counted else await asyncio.to_thread(tasks_of, self._sandbox.identity.uid)
        await self._sandbox.limiter.apply(pid, self._spec.limits, counted=counted, others=others)

    def _watchdog(self, tree: Tree, pumps: list[Pump]) -> Watchdog:
        upper = str(self._spec.fork.upper) if self._spec.fork else None
        return Watchdog(
            tree.root,
            self._spec.limits,
            self._group,
            upper,
            lambda: sum(pump.read for pump in pumps),
            held=self._spec.fork.held if self._spec.fork else (0, 0),
            beside=lambda: tree.beside,
            scratch=str(tree.scratch) if tree.scratch else None,
            own=self._sandbox.overhead,
            look=self._sandbox.limiter.deleted,
            held_memory=self._sandbox.limiter.held_memory,
        )

    async def _wait(
        self, tree: Tree, watchdog: Watchdog, stops: tuple[asyncio.Event, ...]
    ) -> tuple[Ending, Exceeded | None]:
        """Until the first of: the end, a limit, a stop, the time."""
        wall = self._spec.limits.wall_us
        ended = asyncio.create_task(tree.ended())
        watched = asyncio.create_task(watchdog.watch())
        stopped = [asyncio.create_task(stop.wait()) for stop in stops]
        tasks = [ended, watched, *stopped]
        try:
            done, _ = await asyncio.wait(tasks, timeout=wall / 1_000_000, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # Their clean-up (taking readers off the loop) must not come after what follows.
            await asyncio.wait(tasks)
        if ended in done:
            return Ending.EXITED, None
        if watched in done:
            return Ending.LIMIT, watched.result()
        if done:
            return Ending.CANCELLED, None
        spent = int((self._loop.time() - self._started) * 1_000_000)
        return Ending.TIMED_OUT, Exceeded("wall_us", wall, spent)

    async def _drain(self, pumps: list[Pump]) -> int:
        """Read what the dead left in the pipes."""
        for pump in pumps:
            pump.resume()
        await asyncio.gather(*(pump.ended for pump in pumps))
        return await self._delivery.finish() if self._delivery is not None else 0

    def _usage(self, tree: Tree, watchdog: Watchdog, wall_us: int) -> Usage:
        times = self._group.cpu_us() if self._group is not None else None
        user, system = times or (tree.user_us, tree.system_us)
        peak = self._group.memory_peak() if self._group is not None else 0
        return Usage(
            wall_us=wall_us,
            user_us=max(user, watchdog.user_us),
            system_us=max(system, watchdog.system_us),
            max_rss_bytes=peak or max(tree.max_rss, watchdog.memory_peak),
            processes_peak=max(1, watchdog.tasks_peak),
        )
