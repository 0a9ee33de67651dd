"""A step in a container: its first process, the command beside it, and their end.

The command is not the container's first process, which the kernel would shield from signals; the runtime puts it
there (`exec`) when it may run. When the first process ends, the kernel ends everything in the container.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import orphans
from interlock.executor.sandbox.devices import open_null
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.launch import memory_file, readable
from interlock.executor.sandbox.oci_files import give_files
from interlock.executor.sandbox.verdict import NotStarted

_HANDSHAKE: Final = 30.0
_QUIESCE: Final = 30.0
_STRAYS: Final = 0.1
_WORDS: Final = 8192
_PROGRAM: Final = re.compile(
    r"exec:? \"?[^\"]*\"?: (?:stat [^:]*: )?([^\n\"]+)|executable file `[^`]*` (not found[^\n:]*)"
    r"|open executable: ([^\n]+)"
)
_DIRECTORY: Final = re.compile(r"(?:chdir|cwd)[^\n]*: ([^\n\":]+)")

_commands: Final[set[int]] = set()
"""Commands that are to be waited for."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """An OCI runtime and how it is called.

    Args:
        name: its name.
        path: its program.
        state: where it keeps what it knows of containers.
        within: a command line that runs it where it works, given files to write its number to, `--`, and its own.
        options: before every command of it.
    """

    name: str
    path: str
    state: Path
    within: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def command(self, *arguments: str, entrances: Sequence[Path] = ()) -> list[str]:
        """A command line of it. `entrances`: of the control group that it joins, where it does not find it itself."""
        own = [self.path, "--root", str(self.state), *self.options, *arguments]
        return [*self.within, *map(str, entrances), "--", *own] if self.within else own

    def start(
        self,
        arguments: Sequence[str],
        stdin: int,
        stdout: int,
        stderr: int,
        passed: Sequence[int] = (),
        entrances: Sequence[Path] = (),
    ) -> subprocess.Popen[bytes]:
        """Start it without an environment. `passed` are descriptors that arguments name."""
        return subprocess.Popen(
            self.command(*arguments, entrances=entrances),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(passed),
            process_group=0,
        )

    def delete(self, container: str) -> None:
        """End a container and forget it, if it is there. Blocks."""
        done = self.start(
            ["delete", "--force", container], subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL
        )
        try:
            done.wait(_QUIESCE)
        except subprocess.TimeoutExpired:
            done.kill()
            done.wait()


class ContainerTree:
    """See `running.Tree`. The root is the container's first process; `beside` is the command, once it runs.

    Args:
        runtime: the runtime.
        bundle: the directory of this container; its name is the container's.
        outputs: writing ends of stdout and stderr, owned by this object.
        process: the document of the command. It holds the command's environment, so it is in no file.
        entrances: of the step's control group, for a runtime that has to be put there.
        files: content by path of the files that the step is given.
    """

    scratch: Path | None = None

    def __init__(
        self,
        runtime: Runtime,
        bundle: Path,
        outputs: tuple[int, int],
        process: bytes,
        entrances: Sequence[Path] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self._runtime, self._bundle, self._outputs = runtime, bundle, list(outputs)
        self._process, self._entrances, self._files = process, entrances, files or {}
        self.root = self.waiting = self.beside = 0
        self.user_us = self.system_us = self.max_rss = 0
        self.signal: int | None = None
        self._failed = ""
        self._code: int | None = None
        stdin, self._gate = os.pipe()
        self._ready, stdout = os.pipe()
        # crun gives what it is started with to the container's user: nothing that is anybody else's.
        self._log = os.memfd_create("log")
        self._run = runtime.start(
            ["run", "--detach", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), bundle.name],
            stdin,
            stdout,
            self._log,
            entrances=entrances,
        )
        os.close(stdin)
        os.close(stdout)
        self._run_fd = os.pidfd_open(self._run.pid)
        self._exec: subprocess.Popen[bytes] | None = None
        self._init_fd = self._exec_fd = self._step_fd = -1

    async def meet(self, identity: Identity) -> bool:
        async with asyncio.timeout(_HANDSHAKE):
            await readable(self._run_fd)
            if self._run.wait() == 0:
                self._adopt_init()
                await readable(self._ready)
        if not self.root or os.read(self._ready, 16) != b"ready\n":
            said = os.pread(self._log, _WORDS, 0).decode(errors="replace")
            self._failed = said.strip() or "no first process"
            return False
        facts = _status_of(self.root)
        ids = {*facts["Uid"].split(), *facts["Gid"].split()}
        bound = facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2" and not int(facts["CapPrm"], 16)
        apart = os.stat(f"/proc/{self.root}/ns/pid").st_ino != os.stat("/proc/self/ns/pid").st_ino
        if ids != {str(identity.uid), str(identity.gid)} or "0" in ids or not bound or not apart:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE, "The container's process is not the one that was asked for."
            )
        self._give_files(identity)
        return True

    def _give_files(self, identity: Identity) -> None:
        if not self._files:
            return
        try:
            give_files(self.root, self._files, identity)
        except OSError as error:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"The files that the step names cannot be put into its container: {error.strerror}.",
                fix="Give secrets as variables, or use the bubblewrap sandbox.",
            ) from None
        self._files = {}

    def _adopt_init(self) -> None:
        self.root = self.waiting = int((self._bundle / "pid").read_text())
        self._init_fd = os.pidfd_open(self.root)

    def release(self) -> None:
        if self._failed:
            return
        with ExitStack() as stack:
            fd = memory_file(stack, "process", self._process)
            null = open_null(self._bundle)
            stack.callback(os.close, null)
            words = ["exec", "--detach", "--pid-file", str(self._bundle / "step-pid")]
            words += ["--process", f"/proc/self/fd/{fd}", self._bundle.name]
            out, err = self._outputs
            self._exec = self._runtime.start(words, null, out, err, (fd,), self._entrances)
        self._exec_fd = os.pidfd_open(self._exec.pid)
        self._close_outputs()

    def _close_outputs(self) -> None:
        while self._outputs:
            os.close(self._outputs.pop())

    def _adopt_step(self) -> None:
        """After the runtime has put the command into the container."""
        if self._exec is None or self._step_fd >= 0 or self._exec.wait() != 0:
            return
        pid = int((self._bundle / "step-pid").read_text())
        # A child of the runtime, it is now this process's: its number is kept until it is waited for.
        self._step_fd = os.pidfd_open(pid)
        self.beside = pid
        _commands.add(pid)

    def kill(self) -> None:
        self._close_outputs()
        if self._run.returncode is None and self._run.poll() is None:
            self._run.kill()
        if self._init_fd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)

    async def ended(self) -> None:
        if self._exec_fd >= 0:
            await readable(self._exec_fd)
            self._adopt_step()
        if self._step_fd >= 0:
            await readable(self._step_fd)
            # The kernel does not let the first process go while anybody of its namespace is not waited for.
            self._collect_step()
        self.kill()
        while self._init_fd >= 0:
            collect_strays(self._runtime.name)
            # Readable only after the kernel has ended every other process of the container.
            with suppress(TimeoutError):
                async with asyncio.timeout(_STRAYS):
                    return await readable(self._init_fd)

    def _collect_step(self) -> None:
        if self._code is None and (status := self._account(self.beside)) is not None:
            code = os.waitstatus_to_exitcode(status)
            self._code, self.signal = (code, 0) if code >= 0 else (128 - code, -code)

    async def quiesce(self) -> None:
        try:
            async with asyncio.timeout(_QUIESCE):
                await readable(self._run_fd)
                if not self.root:
                    await asyncio.to_thread(self._runtime.delete, self._bundle.name)
                await self.ended()
        except TimeoutError:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"A step's processes did not end within {_QUIESCE:.0f} s of being killed.",
                fix="Look for processes in uninterruptible sleep (state D) and for a hanging file system.",
            ) from None

    def reap(self) -> int | None:
        if self.root:
            self._account(self.root)
        return self._code

    def _account(self, pid: int) -> int | None:
        try:
            _, status, usage = os.wait4(pid, 0)
        except ChildProcessError:
            return None
        self.user_us += int(usage.ru_utime * 1_000_000)
        self.system_us += int(usage.ru_stime * 1_000_000)
        if pid == self.beside:
            self.max_rss = max(self.max_rss, usage.ru_maxrss * 1024)
        return status

    def not_started(self, said: str) -> NotStarted:
        if self._failed:
            return NotStarted("sandbox", self._failed)
        if found := _DIRECTORY.search(said):
            return NotStarted("directory", found[1].strip())
        if found := _PROGRAM.search(said):
            return NotStarted("program", (found[1] or found[2] or found[3]).strip())
        return NotStarted("sandbox", said)

    def close(self) -> None:
        self._close_outputs()
        _commands.discard(self.beside)
        fds = (self._run_fd, self._init_fd, self._exec_fd, self._step_fd, self._gate, self._ready, self._log)
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        # Not waited for: nothing of the step is alive.
        asyncio.get_running_loop().run_in_executor(None, self._forget)

    def _forget(self) -> None:
        self._runtime.delete(self._bundle.name)
        shutil.rmtree(self._bundle, ignore_errors=True)


def collect_strays(name: str) -> None:
    """Wait for helpers of runtimes called `name` that ended and were left to this process.

    crun leaves the child that should have become a command that cannot be executed; until that is waited for, the
    kernel does not let the container's first process go. Not mistaken for one: commands, which are in `_commands`, and
    runtimes started here, which lead their process groups.
    """
    for pid in orphans.children():
        with suppress(OSError):
            before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            state, _, group = after.split()[:3]
            stray = state == "Z" and before.partition("(")[2] == name and int(group) != pid
            if stray and pid not in _commands:
                os.waitpid(pid, os.WNOHANG)


def _status_of(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
