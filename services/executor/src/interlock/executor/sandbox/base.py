"""The Sandbox interface: one command in, everything that is known about its end out.

Backends are one module each beside this one, and all pass one contract suite: `bubblewrap` is the default,
`landlock` is for where there are no user namespaces. `selection` chooses. What is the same for all of them is in
`running`. A backend that runs steps elsewhere (one Kubernetes pod per workspace) implements `Sandbox` without it.

All sizes are bytes, all times whole microseconds.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from interlock.executor.domain.limits import DEFAULT_LIMITS, GIB, MAXIMUM_LIMITS, MIB, SECOND, Limits
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.network.grant import Grant, NetworkRecord

__all__ = [
    "DEFAULT_LIMITS",
    "FILES",
    "GIB",
    "MAXIMUM_LIMITS",
    "MAX_ARGUMENT",
    "MAX_ARGUMENTS",
    "MIB",
    "NO_OVERHEAD",
    "SECOND",
    "WORKSPACE",
    "Capabilities",
    "Check",
    "Ending",
    "Exceeded",
    "Filter",
    "Fork",
    "Level",
    "Limits",
    "OutputSink",
    "Overhead",
    "Probe",
    "Sandbox",
    "SandboxResult",
    "SandboxSpec",
    "StreamOutput",
    "TierReport",
    "Usage",
]

WORKSPACE = "/workspace"
"""Where every step finds its fork of the workspace."""

FILES = "/run/secrets"
"""Where a step finds the files it is given besides its workspace."""

MAX_ARGUMENT = 128 * 1024 - 1
"""Longest single argument or environment entry Linux passes to a program (MAX_ARG_STRLEN), without its NUL."""

MAX_ARGUMENTS = 1 * MIB
"""Most bytes of arguments and environment together; Linux allows a quarter of the stack limit (2 MiB)."""


@dataclass(frozen=True, slots=True)
class Fork:
    """What is mounted at /workspace. All paths are absolute, owned by the step's uid, and traversable by it.

    Args:
        lower: read-only layers of an overlay, topmost first; none: `upper` is a copy, mounted as it is.
        upper: directory that receives what the step writes; empty where there are layers.
        work: empty directory on the same file system as `upper`, for overlayfs itself.
        held: bytes on disk and entries that `upper` has before the step, and that its limits do not count.
        alias: absolute path by which people know the workspace; where it can be, it leads to /workspace.
    """

    lower: tuple[Path, ...]
    upper: Path
    work: Path
    alias: str = ""
    held: tuple[int, int] = (0, 0)


class Filter(Protocol):
    """Changes one output stream before anything of it is hashed, kept or shown."""

    def feed(self, data: bytes) -> bytes:
        """The next part, which may come later than what it is made of."""

    def finish(self) -> bytes:
        """What is left at the end."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to run. Exactly one of `argv` and `command` is not empty.

    Args:
        argv: program and arguments, no shell.
        command: a line for `/bin/bash -c`, or `/bin/sh -c` where the root file system has no bash.
        fork: what is mounted at /workspace; None gives an empty directory that is thrown away.
        working_dir: relative to the workspace; symlinks are resolved inside the sandbox.
        env: added to the fixed environment (see `environment`).
        limits: what it may use.
        files: content by path below /run/secrets, read-only, on a private file system in memory.
        redact: makes the filter of one output stream; None leaves output as it is.
        network: where it may go, through a proxy; None: nowhere. Only for backends that promise `network`.
    """

    argv: tuple[str, ...] = ()
    command: str = ""
    fork: Fork | None = None
    working_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = DEFAULT_LIMITS
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    redact: Callable[[], Filter] | None = None
    network: Grant | None = None


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a backend's own processes take, at most, of what is counted for a step: threads, and bytes of memory."""

    tasks: int = 0
    memory: int = 0

    def added_to(self, limits: Limits) -> Limits:
        """What the step and the backend may use together."""
        return replace(
            limits, processes=limits.processes + self.tasks, memory_bytes=limits.memory_bytes + self.memory
        )


NO_OVERHEAD: Final = Overhead()


class Ending(enum.Enum):
    """How the command came to its end."""

    EXITED = "exited"
    SIGNALED = "signaled"
    TIMED_OUT = "timed_out"
    LIMIT = "limit"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that ended the step: the name of a field of Limits, what it allowed and what was measured."""

    limit: str
    allowed: int
    measured: int


@dataclass(frozen=True, slots=True)
class StreamOutput:
    """One output stream. `digest` and `total` cover every byte (as redacted); `head` and `tail` are exact."""

    digest: str
    total: int
    head: bytes
    tail: bytes

    @property
    def omitted(self) -> int:
        """Bytes between head and tail that were not kept."""
        return self.total - len(self.head) - len(self.tail)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used. `max_rss_bytes` is of the whole tree with a cgroup, else of its largest process."""

    wall_us: int
    user_us: int
    system_us: int
    max_rss_bytes: int
    processes_peak: int


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """Everything known about a step's end. Nothing it started is alive any more.

    Args:
        ending: how it ended.
        exit_code: as the program gave it; absent when a signal or a limit ended it.
        signal: number of the signal that ended the command, else 0. Where the runner does not tell the two apart
            (docs/sandbox.md), a program that exits with 129..192 is reported as signalled.
        exceeded: for LIMIT and TIMED_OUT, which one.
        argv: what ran.
        enforced: for each limit, what enforced it: `cgroup-v1`, `cgroup-v2`, `rlimit`, `watchdog`, `mount`; `absent`
            where there is nothing to limit.
        live_dropped: bytes that were not delivered to the sink because it was too slow.
        network: what it did with the network it was given.
    """

    ending: Ending
    exit_code: int | None
    signal: int
    exceeded: Exceeded | None
    argv: tuple[str, ...]
    usage: Usage
    stdout: StreamOutput
    stderr: StreamOutput
    enforced: Mapping[str, str]
    tier: TierReport
    live_dropped: int = 0
    network: NetworkRecord | None = None


@dataclass(frozen=True, slots=True)
class TierReport:
    """The sandbox in force: its backend, what enforces limits (`cgroup-v1`, …) and how a fork is made."""

    backend: str
    enforcement: str
    fork: str


class Level(enum.IntEnum):
    """How much stands between a step and the machine; more is better. The names are INTERLOCK_SANDBOX_MINIMUM's."""

    LANDLOCK = 1
    """The kernel's access rules on the machine's own file system and process ids."""
    NAMESPACES = 2
    """A file system, process ids and a network of its own, on the machine's kernel."""
    GVISOR = 3
    """Another kernel in user space between the step and the machine's."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend promises; where it does not, docs/threat-model.md says what that means.

    Args:
        level: its strength.
        overlay: forks can be overlays; else only copies.
        own_paths: the fork is at /workspace, /tmp and /dev/shm are its own, and only what is visible has a name.
        own_processes: it has process ids of its own and sees nobody else's.
        own_identity: uid 1000, name and host name `step`.
        own_loopback: a network interface of its own; else it can make no socket but pairs.
        own_user_namespace: the kernel counts its uid's processes apart from everybody else's.
        files: it can give a step files in memory that are nobody else's.
        network: it can let a step reach hosts that it names, and no others.
    """

    level: Level
    overlay: bool
    own_paths: bool
    own_processes: bool
    own_identity: bool
    own_loopback: bool
    own_user_namespace: bool
    files: bool = False
    network: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of the self-test. `required` ones that fail make the backend unusable."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """The self-test's report."""

    tier: TierReport
    checks: tuple[Check, ...]

    @property
    def usable(self) -> bool:
        """Whether every required check passed."""
        return all(check.ok for check in self.checks if check.required)


class OutputSink(Protocol):
    """Receives live output. A slow one is waited for a bounded time in all, then bytes are dropped for it."""

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        """`stream` is `stdout` or `stderr`; `offset` is the position of `data` in it."""


class Sandbox(Protocol):
    """Runs commands confined. One object serves any number of concurrent steps."""

    @property
    def tier(self) -> TierReport:
        """The tier in force."""

    @property
    def capabilities(self) -> Capabilities:
        """What it promises."""

    @property
    def identity(self) -> Identity:
        """Whom steps run as, seen from outside; never root."""

    async def run(
        self, spec: SandboxSpec, *, sink: OutputSink | None = None, cancel: asyncio.Event | None = None
    ) -> SandboxResult:
        """Run to the end and return only when no process of the step is left.

        A failing command, a timeout and an exceeded limit are data. `cancel` kills the tree and returns what
        happened until then; cancelling the task kills the tree, waits for its end and re-raises.

        Raises InterlockError: INVALID_ARGUMENT for a bad spec, COMMAND_NOT_FOUND and PATH_NOT_FOUND when the
        program or the working directory does not exist, SANDBOX_UNAVAILABLE when the sandbox cannot be made.
        """

    async def probe(self, state: Path) -> Probe:
        """Find out whether this backend works with forks below `state`. Never raises for what it finds."""

    def end_orphans(self) -> int:
        """End the steps of an executor that was killed on this directory, which is the caller's now; how many."""

    def policy(self) -> dict[str, JsonValue]:
        """What decides, besides the spec, what a step can see and do; part of every command's digest."""

    def resolve_argv(self, spec: SandboxSpec) -> tuple[str, ...]:
        """The argument vector that would run: `argv`, or the shell's for `command`."""
