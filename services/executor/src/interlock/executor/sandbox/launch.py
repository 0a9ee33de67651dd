"""Starting bubblewrap: descriptors, arguments, and the handshake before the command may run.

The runner gets an empty environment (its own would be readable at /proc/1/environ inside) and its options through a
descriptor. Its child reports its pid, then waits on a pipe until it was checked and limited.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.binary import Binary
from interlock.executor.sandbox.ends import Hold
from interlock.executor.sandbox.identity import Identity, check_identity
from interlock.executor.sandbox.nursery import client as nursery
from interlock.executor.sandbox.nursery.order import Order
from interlock.executor.sandbox.verdict import NotStarted

_PR_SET_CHILD_SUBREAPER: Final = 36
_STATUS_BYTES: Final = 64 * 1024
_HANDSHAKE: Final = 20.0
_QUIESCE: Final = 30.0


def become_subreaper() -> None:
    """Inherit orphans, so that the init of a step's namespace, with its accounts, can be waited for here."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def readable(fd: int) -> None:
    """Wait until `fd` can be read; a pidfd can when its process has ended."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _settle, future)
    try:
        await future
    finally:
        loop.remove_reader(fd)


async def outlive(task: asyncio.Task[Any]) -> None:
    """Wait for `task` however often the waiting is cancelled; its result no longer matters to anybody."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Status:
    """Reads the JSON documents a runner writes, one a line: first the child, at the end its exit code.

    `facts` holds the fields of all of them.
    """

    def __init__(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self.child: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.facts: dict[str, Any] = {}
        self._fd, self._buffer, self._size = fd, b"", 0
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        self._size += len(data)
        if not data or self._size > _STATUS_BYTES:
            self.close()
            return
        # A document can arrive in pieces.
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, document: dict[str, Any]) -> None:
        if "child-pid" in document and not self.child.done():
            self.child.set_result(document)
        self.facts.update(document)

    @property
    def exit_code(self) -> int | None:
        """As the runner reported it; None for a command that was never executed."""
        code: int | None = self.facts.get("exit-code")
        return code

    def drain(self) -> None:
        """Read what is left after the runner's end."""
        while self._fd >= 0:
            before = self._size
            self._read()
            if self._size == before:
                self.close()

    def close(self) -> None:
        """Stop reading; a child that was never reported now never will be. Idempotent."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if not self.child.done():
            self.child.set_result({})


@dataclass(slots=True)
class Spawned:
    """A started runner and our ends of its pipes, all owned by whoever holds this.

    `inherited`: bytes of memory that it had before it was the runner, at most.
    """

    pid: int
    inherited: int
    status: int
    gate_write: int
    stdout: int
    stderr: int
    map_write: int = -1


def watch(spawned: Spawned) -> int:
    """A descriptor of the process. Where none can be had it is ended, and its pipes are closed. Raises OSError."""
    try:
        return os.pidfd_open(spawned.pid)
    except OSError:
        os.kill(spawned.pid, signal.SIGKILL)
        os.waitpid(spawned.pid, 0)
        for fd in (spawned.status, spawned.gate_write, spawned.stdout, spawned.stderr, spawned.map_write):
            if fd >= 0:
                os.close(fd)
        raise


def spawn(
    binary: Binary,
    options: Sequence[str],
    argv: Sequence[str],
    program: bytes,
    identity: Identity,
    name: str = "interlock-step",
    passed: Sequence[int] = (),
    *,
    joins: Sequence[Path] = (),
    mapped: bool = False,
) -> Spawned:
    """Start the runner, under a name that `orphans` knows it by. Blocks for about a millisecond.

    On the event loop's thread and nowhere else: the runner dies with the thread that started it. `passed` are
    descriptors that options name; they stay the caller's. An empty `program` filters nothing. `joins`: entrances of
    the control group that it starts in. `mapped`: the runner waits until its uids are mapped and something is written
    to `map_write`, which else is -1.

    Raises InterlockError(SANDBOX_UNAVAILABLE), OSError.
    """
    check_identity(identity)
    with ExitStack() as ours, ExitStack() as theirs:
        gate_read, gate_write = pipe(theirs, ours)
        status_read, status_write = pipe(ours, theirs)
        stdout_read, stdout_write = pipe(ours, theirs)
        stderr_read, stderr_write = pipe(ours, theirs)
        inherited = [gate_read, status_write]
        fds = ["--block-fd", str(gate_read), "--json-status-fd", str(status_write)]
        if program:
            inherited.append(memory_file(theirs, "seccomp", program))
            fds += ["--add-seccomp-fd", str(inherited[-1])]
        map_write = -1
        if mapped:
            map_read, map_write = pipe(theirs, ours)
            # It insists on telling its child in two ways; the other one is enough.
            inherited += [map_read, memory_file(theirs, "info", b"")]
            fds += ["--userns-block-fd", str(map_read), "--info-fd", str(inherited[-1])]
        arguments = memory_file(theirs, "args", os.fsencode("\0".join([*fds, *options, ""])))
        entrances = open_entrances(theirs, joins)
        order = Order(
            parent=os.getpid(),
            argv=(name, "--args", str(arguments), "--", *argv),
            program=str(binary.path),
            uid=identity.uid,
            gid=identity.gid,
            switch=identity.switch,
            joins=entrances,
        )
        kept = (*inherited, arguments, *passed, *entrances)
        pid, own = nursery.start(order, descriptors(stdout_write, stderr_write, kept))
        ours.pop_all()
        return Spawned(pid, own, status_read, gate_write, stdout_read, stderr_read, map_write)


def open_entrances(stack: ExitStack, paths: Sequence[Path]) -> tuple[int, ...]:
    """Descriptors to join a control group by, at the numbers that they are told by. Raises OSError."""
    found = []
    for path in paths:
        found.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        stack.callback(os.close, found[-1])
    return tuple(found)


def descriptors(stdout: int, stderr: int, kept: Iterable[int]) -> dict[int, int]:
    """What a process has, by the number that it has it by: those kept are told by their numbers here."""
    return {1: stdout, 2: stderr, **{fd: fd for fd in kept}}


def pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A pipe: each end is closed when its owner leaves."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def memory_file(stack: ExitStack, name: str, data: bytes) -> int:
    """A descriptor to read `data` from."""
    fd = os.memfd_create(name)
    stack.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Tree:
    """A started runner, its child (init of the step's namespace), and their end. See `running.Tree`.

    `hold`: what keeps init from waiting for the command before that is known; owned by this object.
    """

    scratch: Path | None = None

    def __init__(self, spawned: Spawned, hold: Hold | None = None) -> None:
        self._spawned, self._hold = spawned, hold
        self.signal: int | None = None
        self._runner_fd = watch(spawned)
        self._status = Status(spawned.status)
        self._init_fd = -1
        self.root = self.waiting = self.beside = 0
        self.user_us = self.system_us = self.max_rss = 0
        self._inherited = spawned.inherited * 5 // 4

    async def meet(self, identity: Identity) -> bool:
        """Wait for the child and check who it is. False when the runner ended before it had one.

        Raises InterlockError(SANDBOX_UNAVAILABLE) when the child is not what it must be.
        """
        async with asyncio.timeout(_HANDSHAKE):
            child = await asyncio.shield(self._status.child)
        if not child:
            return False
        pid = int(child["child-pid"])
        try:
            self._init_fd = os.pidfd_open(pid)
            inode, uid = os.stat(f"/proc/{pid}/ns/pid").st_ino, uid_of(pid)
        except OSError:
            return False  # already gone: its end is reported like any other
        self.root = self.waiting = pid
        own = os.stat("/proc/self/ns/pid").st_ino
        if uid != identity.uid or uid == 0 or inode in (own, 0) or inode != child.get("pid-namespace", inode):
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE, "The sandbox's process is not the one that was asked for."
            )
        return True

    def release(self) -> None:
        """Let the command run."""
        try:
            os.write(self._spawned.gate_write, b"x")
        except BrokenPipeError:
            return

    def kill(self) -> None:
        """SIGKILL the namespace's init, and with it everything in it; and the runner."""
        for fd in (self._init_fd, self._runner_fd):
            if fd >= 0:
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    async def ended(self) -> None:
        """Wait until the runner and every process of the namespace are gone."""
        if self._hold is not None and self.root:
            await self._hold.meet(self.root, (self._runner_fd, self._init_fd))
        await readable(self._runner_fd)
        if self._init_fd >= 0:
            # Readable only after the kernel has ended and reaped every other process of the namespace.
            await readable(self._init_fd)

    async def quiesce(self) -> None:
        """After `kill`: wait for the end. Raises InterlockError(SANDBOX_UNAVAILABLE) if the kernel does not finish."""
        try:
            async with asyncio.timeout(_QUIESCE):
                await self.ended()
        except TimeoutError:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"A step's processes did not end within {_QUIESCE:.0f} s of being killed.",
                fix="Look for processes in uninterruptible sleep (state D) and for a hanging file system.",
            ) from None

    def reap(self) -> int | None:
        """Collect the dead, their accounts, and the exit code (128 + n for signal n).

        None when the command was never executed: bubblewrap reports a code only for a command that was.
        """
        self._status.drain()
        end = self._account(self._spawned.pid)
        if self.root:
            self._account(self.root)
        if self._status.exit_code is None and self.root and end is not None and os.WIFSIGNALED(end):
            self.signal = os.WTERMSIG(end)  # somebody killed the runner itself
            return 128 + self.signal
        self.signal = self._hold.signal() if self._hold is not None else None
        return self._status.exit_code

    def _account(self, pid: int) -> int | None:
        try:
            done, status, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return None  # the runner had reaped it: its accounts are in the runner's
        if not done:
            return None
        self.user_us += int(usage.ru_utime * 1_000_000)
        self.system_us += int(usage.ru_stime * 1_000_000)
        # Until it executes something, a forked child counts the forking process's memory as its own: what is no larger
        # than that says nothing about the step.
        peak = usage.ru_maxrss * 1024
        if peak > self._inherited:
            self.max_rss = max(self.max_rss, peak)
        return status

    def not_started(self, said: str) -> NotStarted:
        return not_started(said)

    def close(self) -> None:
        """Close every descriptor but the output pipes, which their pumps own."""
        self._status.close()
        if self._hold is not None:
            self._hold.close()
        for fd in (self._runner_fd, self._init_fd, self._spawned.gate_write, self._spawned.map_write):
            if fd >= 0:
                os.close(fd)


def not_started(said: str) -> NotStarted:
    """Why a command was never executed, from bubblewrap's words on stderr."""
    last_words = said.rpartition(": ")[2] or said
    if said.startswith("bwrap: execvp "):
        return NotStarted("program", last_words)
    if said.startswith("bwrap: Can't chdir to "):
        return NotStarted("directory", last_words)
    return NotStarted("sandbox", said)


def uid_of(pid: int) -> int:
    """The real uid of a process; 0 where none is told. Raises OSError."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("Uid:"):
                return int(line.split()[1])
    return 0
