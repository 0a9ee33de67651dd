"""Control groups: limits that count a step's whole process tree. One group per step, below the executor's own.

Version 1 (`memory`, `pids`, `cpuacct`, each where it is mounted and writable) and version 2 (a delegated subtree with
`memory` and `pids`) have one interface. Where there is neither, `find` returns None and a watchdog stands in.
Sources: Linux `Documentation/admin-guide/cgroup-v1/`, `cgroup-v2.rst`.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from interlock.executor.sandbox.base import Limits

PREFIX: Final = "interlock-step-"
_ROOT: Final = Path("/sys/fs/cgroup")


class Group(Protocol):
    """One step's group. `name` is its directory's, below the executor's own group."""

    @property
    def name(self) -> str: ...

    def entrances(self) -> list[Path]:
        """The files to whom a process, with one thread only, writes its number, or 0, to join."""

    def holds(self, pid: int) -> bool:
        """Whether a process is in it. Raises OSError."""

    def attach(self, pid: int) -> None:
        """Move a process in, before it has children. Blocks for some 10 ms. Raises OSError."""

    def oom_kills(self) -> int:
        """Processes the kernel killed because the memory limit was reached."""

    def refused_forks(self) -> int:
        """Forks refused because the process limit was reached."""

    def memory_peak(self) -> int:
        """Most memory used at one time, bytes; 0 when unknown."""

    def cpu_us(self) -> tuple[int, int] | None:
        """Processor time in user mode and in the kernel so far; None when not counted."""

    def remove(self) -> None:
        """Delete the group. Every process in it must be gone."""


class Controller(Protocol):
    """Makes groups. `name` is what a step's record says: `cgroup-v1` or `cgroup-v2`."""

    name: str
    parents: tuple[Path, ...]

    def create(self, tag: str, limits: Limits, own_tasks: int = 1) -> Group:
        """A new group with limits set; `own_tasks`, the runner's, are in it besides the step's. Raises OSError."""


@dataclass(frozen=True, slots=True)
class _V1Group:
    memory: Path
    pids: Path
    cpuacct: Path | None

    @property
    def name(self) -> str:
        return self.memory.name

    def attach(self, pid: int) -> None:
        for directory in self._directories():
            _write(directory / "cgroup.procs", pid)

    def holds(self, pid: int) -> bool:
        return _names(pid).count(self.name) >= len(self._directories())

    def oom_kills(self) -> int:
        return _table(self.memory / "memory.oom_control").get("oom_kill", 0)

    def refused_forks(self) -> int:
        return _table(self.pids / "pids.events").get("max", 0)

    def memory_peak(self) -> int:
        return _number(self.memory / "memory.max_usage_in_bytes")

    def cpu_us(self) -> tuple[int, int] | None:
        if self.cpuacct is None:
            return None
        user, system = (
            _number(self.cpuacct / "cpuacct.usage_user"),
            _number(self.cpuacct / "cpuacct.usage_sys"),
        )
        return user // 1000, system // 1000

    def remove(self) -> None:
        for directory in self._directories():
            _remove(directory)

    def entrances(self) -> list[Path]:
        # One that moves its only thread by this file does so at once; by `cgroup.procs` it waits for every processor.
        return [directory / "tasks" for directory in self._directories()]

    def _directories(self) -> list[Path]:
        return [path for path in (self.memory, self.pids, self.cpuacct) if path is not None]


class V1:
    """Version 1: a directory per hierarchy, below the executor's own group in each."""

    name = "cgroup-v1"

    def __init__(self, memory: Path, pids: Path, cpuacct: Path | None) -> None:
        self._memory, self._pids, self._cpuacct = memory, pids, cpuacct
        self.parents: tuple[Path, ...] = tuple(path for path in (memory, pids, cpuacct) if path is not None)

    def create(self, tag: str, limits: Limits, own_tasks: int = 1) -> Group:
        name = PREFIX + tag
        cpuacct = self._cpuacct / name if self._cpuacct else None
        group = _V1Group(self._memory / name, self._pids / name, cpuacct)
        try:
            for directory in (group.memory, group.pids, cpuacct):
                if directory is not None:
                    directory.mkdir()
            _write(group.memory / "memory.limit_in_bytes", limits.memory_bytes)
            # Memory and swap together: without this, a step would go on in swap. Absent without swap accounting.
            with contextlib.suppress(FileNotFoundError):
                _write(group.memory / "memory.memsw.limit_in_bytes", limits.memory_bytes)
            _write(group.pids / "pids.max", limits.processes + own_tasks)
        except OSError:
            group.remove()
            raise
        return group


@dataclass(frozen=True, slots=True)
class _V2Group:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def entrances(self) -> list[Path]:
        return [self.path / "cgroup.procs"]

    def attach(self, pid: int) -> None:
        _write(self.path / "cgroup.procs", pid)

    def holds(self, pid: int) -> bool:
        return self.name in _names(pid)

    def oom_kills(self) -> int:
        return _table(self.path / "memory.events").get("oom_kill", 0)

    def refused_forks(self) -> int:
        return _table(self.path / "pids.events").get("max", 0)

    def memory_peak(self) -> int:
        return _number(self.path / "memory.peak")

    def cpu_us(self) -> tuple[int, int] | None:
        table = _table(self.path / "cpu.stat")
        return (table["user_usec"], table["system_usec"]) if "user_usec" in table else None

    def remove(self) -> None:
        _remove(self.path)


class V2:
    """Version 2: a directory below a delegated one that has `memory` and `pids` in its subtree_control."""

    name = "cgroup-v2"

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self.parents: tuple[Path, ...] = (parent,)

    def create(self, tag: str, limits: Limits, own_tasks: int = 1) -> Group:
        group = _V2Group(self._parent / (PREFIX + tag))
        group.path.mkdir()
        try:
            _write(group.path / "memory.max", limits.memory_bytes)
            _write(group.path / "pids.max", limits.processes + own_tasks)
            for name, value in (("memory.swap.max", 0), ("memory.oom.group", 1)):
                with contextlib.suppress(FileNotFoundError):
                    _write(group.path / name, value)
        except OSError:
            group.remove()
            raise
        return group


def find(root: Path = _ROOT, membership: str | None = None) -> Controller | None:
    """The control groups this process can make, or None.

    Args:
        root: where the hierarchies are mounted.
        membership: the text of /proc/self/cgroup; read when absent.
    """
    try:
        text = Path("/proc/self/cgroup").read_text() if membership is None else membership
    except OSError:
        return None
    own = _own_groups(text)
    return _find_v1(root, own) or _find_v2(root, own)


def sweep(controller: Controller) -> int:
    """Remove groups that a process which is gone has left behind. Returns how many."""
    found = 0
    for parent in controller.parents:
        for path in parent.glob(PREFIX + "*"):
            owner = path.name.removeprefix(PREFIX).partition("-")[0]
            if not os.path.exists(f"/proc/{owner}"):
                _remove(path)
                found += 1
    return found


def _own_groups(text: str) -> dict[str, str]:
    """Path by controller name; version 2 has the name ''."""
    groups = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            groups[name] = path.lstrip("/")
    return groups


def _find_v1(root: Path, own: dict[str, str]) -> Controller | None:
    paths = {name: root / name / own[name] for name in ("memory", "pids", "cpuacct") if name in own}
    usable = {name: path for name, path in paths.items() if _can_create(path)}
    if "memory" not in usable or "pids" not in usable:
        return None
    return V1(usable["memory"], usable["pids"], usable.get("cpuacct"))


def _find_v2(root: Path, own: dict[str, str]) -> Controller | None:
    if "" not in own or not (root / "cgroup.controllers").exists():
        return None
    parent = root / own[""]
    try:
        if not {"memory", "pids"} <= set((parent / "cgroup.controllers").read_text().split()):
            return None
        if not {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
            _delegate(parent)
        return V2(parent) if _can_create(parent) else None
    except OSError:
        return None


def _delegate(parent: Path) -> None:
    # A group with processes of its own cannot give controllers to its children: the executor moves to a leaf.
    leaf = parent / "interlock-executor"
    leaf.mkdir(exist_ok=True)
    _write(leaf / "cgroup.procs", os.getpid())
    (parent / "cgroup.subtree_control").write_text("+memory +pids")


def _can_create(parent: Path) -> bool:
    probe = parent / f"interlock-probe-{os.getpid()}-{time.monotonic_ns()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    _remove(probe)
    return True


def _write(path: Path, value: int) -> None:
    # Opened without O_CREAT: on a plain directory this must fail, not leave a file.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def _names(pid: int) -> list[str]:
    """The last parts of the paths of the groups that a process is in."""
    with open(f"/proc/{pid}/cgroup") as file:
        return [line.rstrip("\n").rpartition("/")[2] for line in file]


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _remove(path: Path) -> None:
    """rmdir; just after its last process ended, a group can be busy for a moment."""
    for attempt in range(20):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.001 * (attempt + 1))
