"""The default sandbox: one bubblewrap process per step, from a uid that is not root.

Walls: user, pid, mount, network, ipc, uts and cgroup namespaces of its own; a read-only root; an overlay fork at
/workspace; no capabilities; a system call filter; limits by cgroup where there is one, by rlimits and a watchdog
otherwise. Three traps and their answers: never started by uid 0 (`identity`, checked again before the command may
run); empty environment and options by descriptor (`launch`); no mount target below the workspace (`rootfs`).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.common.config import env_bool, env_list, env_path, env_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox import cgroups, orphans, seccomp
from interlock.executor.sandbox.base import (
    WORKSPACE,
    Ending,
    Exceeded,
    OutputSink,
    Probe,
    SandboxResult,
    SandboxSpec,
    TierReport,
    Usage,
)
from interlock.executor.sandbox.binary import find_binary
from interlock.executor.sandbox.environment import HOME, HOSTNAME, INNER_UID, check_spec, environment
from interlock.executor.sandbox.identity import Identity, step_identity
from interlock.executor.sandbox.launch import Tree, become_subreaper, spawn
from interlock.executor.sandbox.limits import Limiter
from interlock.executor.sandbox.output import Delivery, Pump
from interlock.executor.sandbox.rootfs import (
    Mount,
    can_alias,
    directory_system,
    host_system,
    parse_mounts,
    top_level,
    write_etc,
)
from interlock.executor.sandbox.selftest import fork_checks, self_test
from interlock.executor.sandbox.verdict import Observation, start_error, verdict
from interlock.executor.sandbox.watchdog import Watchdog

_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class BubblewrapConfig:
    """How this machine's steps are confined.

    Args:
        private: a directory of the sandbox's own (a copy of the binary, generated files of /etc).
        identity: whom steps run as.
        rootfs: a root file system directory to use in place of the host's /usr, or None.
        mounts: extra read-only mounts.
        fork: how the workspace is forked: `overlay`, `copy`, or `auto`: overlay where it works.
        use_cgroups: False makes rlimits and the watchdog enforce everything.
    """

    private: Path
    identity: Identity
    rootfs: Path | None = None
    mounts: tuple[Mount, ...] = ()
    use_cgroups: bool = True
    fork: str = "auto"

    @classmethod
    def from_env(cls, private: Path) -> BubblewrapConfig:
        """INTERLOCK_STEP_UID, INTERLOCK_ROOTFS, INTERLOCK_EXTRA_RO_MOUNTS, INTERLOCK_CGROUPS (true),
        INTERLOCK_FORK (auto)."""
        rootfs = env_path("INTERLOCK_ROOTFS", Path("/"))
        return cls(
            private=private,
            identity=step_identity(),
            rootfs=None if rootfs == Path("/") else rootfs,
            mounts=parse_mounts(env_list("INTERLOCK_EXTRA_RO_MOUNTS")),
            use_cgroups=env_bool("INTERLOCK_CGROUPS", True),
            fork=_fork_mode(),
        )


class BubblewrapSandbox:
    """See `interlock.executor.sandbox.base.Sandbox`.

    Making one looks for the binary, writes below `config.private`, and makes this process the reaper of orphans.
    Raises InterlockError(SANDBOX_UNAVAILABLE, INVALID_ARGUMENT).
    """

    def __init__(self, config: BubblewrapConfig) -> None:
        self._config = config
        config.private.mkdir(parents=True, exist_ok=True)
        if config.identity.switch:
            os.chmod(config.private, 0o755)  # noqa: S103 - other users must be able to pass
        self.binary = find_binary(config.private)
        write_etc(config.private / "etc")
        self._controller = cgroups.find() if config.use_cgroups else None
        if self._controller is not None:
            cgroups.sweep(self._controller)
        self._system = self._system_arguments()
        self._taken = (*top_level(config.rootfs), *(mount.target for mount in config.mounts))
        self._shell = self._find_shell()
        enforcement = self._controller.name if self._controller else "rlimit+watchdog"
        # What `auto` comes to is found out by `probe`.
        self.tier = TierReport("bubblewrap", enforcement, "copy" if config.fork == "copy" else "overlay")
        self.limiter = Limiter(config.identity)
        become_subreaper()

    def policy(self) -> dict[str, JsonValue]:
        config = self._config
        mounts: list[JsonValue] = [f"{mount.source}:{mount.target}" for mount in config.mounts]
        return {
            "backend": self.tier.backend,
            "enforcement": self.tier.enforcement,
            "filter": "sha256:" + hashlib.sha256(seccomp.program()).hexdigest(),
            "network": "none",
            "system": f"directory:{config.rootfs}" if config.rootfs else "host:/usr",
            "mounts": mounts,
        }

    def resolve_argv(self, spec: SandboxSpec) -> tuple[str, ...]:
        return spec.argv or (self._shell, "-c", spec.command)

    async def probe(self, state: Path) -> Probe:
        fork, checks = await fork_checks(self, self._config.identity, state, self._config.fork)
        self.tier = replace(self.tier, fork=fork)
        return self_test(self, self._config.identity, checks, self.binary, self._controller)

    async def run(
        self, spec: SandboxSpec, *, sink: OutputSink | None = None, cancel: asyncio.Event | None = None
    ) -> SandboxResult:
        check_spec(spec)
        stop = asyncio.Event()
        # A task of its own: whatever happens to the caller's, the tree is ended and collected in order.
        inner = asyncio.create_task(self._run(spec, sink, (stop,) if cancel is None else (stop, cancel)))
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            stop.set()
            await _outlive(inner)
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

    def start(self, spec: SandboxSpec) -> tuple[Tree, int, int]:
        """Start the runner: its tree and the reading ends of stdout and stderr."""
        spawned = spawn(
            self.binary,
            self._options(spec),
            self.resolve_argv(spec),
            seccomp.program(),
            self._config.identity,
            orphans.name_of(self._config.private),
        )
        return Tree(spawned), spawned.stdout, spawned.stderr

    def end_orphans(self) -> int:
        """End the steps of an executor that was killed on this directory, which is the caller's now; how many."""
        return orphans.end_all(orphans.name_of(self._config.private))

    @property
    def identity(self) -> Identity:
        """Whom steps run as."""
        return self._config.identity

    def _group(self, spec: SandboxSpec) -> cgroups.Group | None:
        if self._controller is None:
            return None
        try:
            return self._controller.create(f"{os.getpid()}-{next(_counter)}", spec.limits)
        except OSError as error:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"The step's control group cannot be made: {error.strerror}.",
                fix="Give the executor its control groups back, or set INTERLOCK_CGROUPS=false and restart it.",
            ) from None

    def _system_arguments(self) -> list[str]:
        config = self._config
        system = directory_system(config.rootfs) if config.rootfs else host_system(config.private / "etc")
        for mount in config.mounts:
            system += ["--ro-bind", str(mount.source), mount.target]
        return system

    def _find_shell(self) -> str:
        root = self._config.rootfs or Path("/")
        return "/bin/bash" if (root / "usr/bin/bash").exists() or (root / "bin/bash").exists() else "/bin/sh"

    def _options(self, spec: SandboxSpec) -> list[str]:
        # --unshare-all alone only tries the user namespace; --unshare-user fails where there is none.
        options = [
            "--unshare-user",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
        ]
        options += ["--uid", str(INNER_UID), "--gid", str(INNER_UID), "--hostname", HOSTNAME, "--clearenv"]
        for name, value in sorted(environment(spec.env).items()):
            options += ["--setenv", name, value]
        options += self._system
        options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
        options += ["--size", str(spec.limits.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
        options += ["--perms", "0755", "--dir", HOME]
        options += ["--size", str(spec.limits.shm_bytes), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
        options += _workspace(spec)
        if spec.fork is not None and can_alias(spec.fork.alias, self._taken):
            options += ["--symlink", WORKSPACE, spec.fork.alias]
        return [*options, "--remount-ro", "/", "--chdir", os.path.join(WORKSPACE, spec.working_dir)]


def _workspace(spec: SandboxSpec) -> list[str]:
    if spec.fork is None:
        return ["--size", str(spec.limits.tmp_bytes), "--perms", "0755", "--tmpfs", WORKSPACE]
    if not spec.fork.lower:
        return ["--bind", str(spec.fork.upper), WORKSPACE]
    options: list[str] = []
    # overlayfs wants the topmost layer last on this command line.
    for layer in reversed(spec.fork.lower):
        options += ["--overlay-src", str(layer)]
    return [*options, "--overlay", str(spec.fork.upper), str(spec.fork.work), WORKSPACE]


class _Step:
    """One run, from start to result."""

    def __init__(
        self,
        sandbox: BubblewrapSandbox,
        spec: SandboxSpec,
        sink: OutputSink | None,
        group: cgroups.Group | None,
    ) -> None:
        self._sandbox, self._spec, self._group = sandbox, spec, group
        self._loop = asyncio.get_running_loop()
        self._delivery = Delivery(sink) if sink is not None else None
        self._started = self._loop.time()

    async def run(self, stops: tuple[asyncio.Event, ...]) -> SandboxResult:
        tree, out, err = self._sandbox.start(self._spec)
        keep = self._spec.limits.kept_bytes
        pumps = [Pump("stdout", out, keep, self._delivery), Pump("stderr", err, keep, self._delivery)]
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
            if await tree.meet(self._sandbox.identity):
                await self._confine(tree.init)
            self._started = self._loop.time()
            watchdog = self._watchdog(tree, pumps)
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
            counted=self._group,
            disk=after,
            usage=self._usage(tree, watchdog, int(wall * 1_000_000)),
            stdout=pumps[0].capture.result(),
            stderr=pumps[1].capture.result(),
            argv=self._sandbox.resolve_argv(self._spec),
            tier=self._sandbox.tier,
            live_dropped=dropped,
        )
        if (error := start_error(self._spec, seen)) is not None:
            raise error
        return verdict(self._spec, seen)

    async def _confine(self, pid: int) -> None:
        """Limits on the waiting child; everything the command starts inherits them."""
        try:
            if self._group is not None:
                self._group.attach(pid)
            await self._sandbox.limiter.apply(pid, self._spec.limits, counted=self._group is not None)
        except ProcessLookupError:
            return  # it failed before the gate; the runner says why
        except OSError as error:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"A step's limits cannot be set: {error.strerror}.",
                fix="See `interlock doctor`.",
            ) from None
        _prefer_as_victim(pid)

    def _watchdog(self, tree: Tree, pumps: list[Pump]) -> Watchdog:
        upper = str(self._spec.fork.upper) if self._spec.fork else None
        return Watchdog(
            tree.init,
            self._spec.limits,
            self._group,
            upper,
            lambda: sum(pump.capture.total for pump in pumps),
            self._spec.fork.held if self._spec.fork else (0, 0),
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
            processes_peak=max(1, watchdog.tasks_peak - 1),
        )


def _prefer_as_victim(pid: int) -> None:
    """When the machine itself runs out of memory, a step goes before the executor."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        return


async def _outlive(task: asyncio.Task[SandboxResult]) -> None:
    """Wait for `task` however often the waiting is cancelled; its result no longer matters to anybody."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


def _fork_mode() -> str:
    how = env_text("INTERLOCK_FORK", "auto")
    if how not in ("auto", "overlay", "copy"):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"INTERLOCK_FORK must be auto, overlay or copy, not {how[:40]!r}.",
            field="INTERLOCK_FORK",
            fix="Correct or unset it.",
        )
    return how
