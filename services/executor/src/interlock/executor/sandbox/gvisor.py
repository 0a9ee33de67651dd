"""The sandbox with a kernel of its own: gVisor's runsc, inside bubblewrap.

A command's system calls are answered by gVisor's kernel, a program in user space, and never by the machine's. That
program, and the files that it reaches, stand within the namespaces that `bubblewrap` makes: process, mount, network
and user ones of their own, the overlay fork, an end that takes everything along. See
docs/decisions/0020-gvisor-within-bubblewrap.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from interlock.common.digests import canonical_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox import cgroups
from interlock.executor.sandbox.base import (
    FILES,
    MIB,
    WORKSPACE,
    Capabilities,
    Check,
    Level,
    Overhead,
    Probe,
    SandboxSpec,
)
from interlock.executor.sandbox.binary import find_binary
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.environment import HOSTNAME, INNER_UID
from interlock.executor.sandbox.gvisor_guest import GUEST, document, guest_profile, guest_system, mount_points
from interlock.executor.sandbox.gvisor_runsc import find_runsc
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.launch import Spawned, Tree, memory_file, spawn
from interlock.executor.sandbox.rootfs import can_alias, top_level, write_etc
from interlock.executor.sandbox.running import Confined, Started
from interlock.executor.sandbox.selftest import FIX_NAMESPACES, self_test
from interlock.executor.sandbox.verdict import NotStarted

CAPABILITIES: Final = Capabilities(
    Level.GVISOR,
    overlay=True,
    own_paths=True,
    own_processes=True,
    own_identity=True,
    own_loopback=True,
    own_user_namespace=True,
    files=True,
)
# Measured: 31 threads and 70 MiB for a step that sleeps, with room for what its kernel keeps of many processes.
_OVERHEAD: Final = Overhead(tasks=96, memory=192 * MIB)
_FILES_BYTES: Final = 1 << 20
_REFUSED: Final = 128
_BEFORE: Final = ("running container: creating container: ", "running container: starting container: ")
_LOG_BYTES: Final = 64 * 1024
_PROGRAM: Final = re.compile(r": (?:failed to load|error finding executable) .*: ([^:]+)\Z")


class GvisorSandbox(Confined):
    """See `interlock.executor.sandbox.base.Sandbox`.

    Raises InterlockError(SANDBOX_UNAVAILABLE) where runsc or bubblewrap is missing, or the executor is not root.
    """

    capabilities = CAPABILITIES
    overhead = _OVERHEAD
    rlimits_inside = True

    def __init__(self, confinement: Confinement) -> None:
        self.runsc = find_runsc(confinement)
        super().__init__(confinement, "gvisor")
        self.binary = find_binary(confinement.private)
        write_etc(confinement.private / "etc")
        self._system = guest_system(confinement)
        self._taken = (*top_level(confinement.rootfs), *(mount.target for mount in confinement.mounts))

    def policy(self) -> dict[str, JsonValue]:
        mounts: list[JsonValue] = [f"{mount.source}:{mount.target}" for mount in self.confinement.mounts]
        return {
            "backend": self.tier.backend,
            "enforcement": self.tier.enforcement,
            "filter": "sha256:" + hashlib.sha256(canonical_json(guest_profile())).hexdigest(),
            "network": "none",
            "system": self.confinement.system_name(),
            "mounts": mounts,
        }

    async def probe(self, state: Path) -> Probe:
        found = Check("gvisor", True, f"{self.runsc.path} {self.runsc.version}, within {self.binary.path}")
        forks = await self.try_forks(state, f"{self.runsc.fix} {FIX_NAMESPACES}")
        return self_test(self, [found, *forks], self.controller)

    def start(self, spec: SandboxSpec, group: cgroups.Group | None) -> Started:
        log = os.memfd_create("log")
        try:
            with ExitStack() as stack:
                files = {path: memory_file(stack, "file", content) for path, content in spec.files.items()}
                config = memory_file(stack, "config", document(spec, self.resolve_argv(spec)))
                runsc = os.open(self.runsc.path, os.O_PATH | os.O_CLOEXEC)
                stack.callback(os.close, runsc)
                spawned = spawn(
                    self.binary,
                    self._options(spec, files, config, runsc),
                    self.runsc.command(log),
                    b"",
                    self.identity,
                    self.name,
                    (*files.values(), config, runsc, log),
                    joins=group.entrances() if group is not None else (),
                    mapped=True,
                )
            tree = GuestTree(spawned, log)
        except BaseException:
            os.close(log)
            raise
        return Started(tree, spawned.stdout, spawned.stderr)

    def _options(self, spec: SandboxSpec, files: Mapping[str, int], config: int, runsc: int) -> list[str]:
        # The capabilities are those of the user namespace: runsc sets up its own walls with them, then drops them.
        options = [
            "--unshare-user",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--cap-add",
            "ALL",
        ]
        options += ["--hostname", HOSTNAME, "--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin"]
        options += self.runsc.system(runsc)
        options += ["--perms", "0755", "--dir", GUEST, *self._system, *mount_points()]
        options += _files(files)
        options += ["--perms", "0400", "--file", str(config), "/bundle/config.json"]
        options += _workspace(spec)
        if spec.fork is not None and can_alias(spec.fork.alias, self._taken):
            options += ["--symlink", WORKSPACE, GUEST + spec.fork.alias]
        # runsc would make a working directory that is not there.
        return [*options, "--chdir", os.path.join(WORKSPACE, spec.working_dir)]


def _files(files: Mapping[str, int]) -> list[str]:
    if not files:
        return []
    options = ["--size", str(_FILES_BYTES), "--perms", "0755", "--tmpfs", f"{GUEST}/run"]
    options += ["--perms", "0700", "--dir", GUEST + FILES]
    for path, fd in files.items():
        options += ["--perms", "0400", "--file", str(fd), GUEST + path]
    return options


def _workspace(spec: SandboxSpec) -> list[str]:
    if spec.fork is None:
        return ["--size", str(spec.limits.tmp_bytes), "--perms", "0755", "--tmpfs", WORKSPACE]
    if not spec.fork.lower:
        return ["--bind", str(spec.fork.upper), WORKSPACE]
    options: list[str] = []
    for layer in reversed(spec.fork.lower):
        options += ["--overlay-src", str(layer)]
    return [*options, "--overlay", str(spec.fork.upper), str(spec.fork.work), WORKSPACE]


class GuestTree(Tree):
    """bubblewrap's tree, whose uids are mapped from outside; the command is a guest of what it runs.

    `log`: what runsc writes its messages to; owned by this object.
    """

    def __init__(self, spawned: Spawned, log: int) -> None:
        super().__init__(spawned)
        self._log, self._said = log, ""

    async def meet(self, identity: Identity) -> bool:
        async with asyncio.timeout(20):
            child = await asyncio.shield(self._status.child)
        if child:
            try:
                map_uids(int(child["child-pid"]), identity)
                os.write(self._spawned.map_write, b"x")
            except (OSError, KeyError) as error:
                raise InterlockError(
                    Reason.SANDBOX_UNAVAILABLE, f"The uids of a step cannot be mapped: {error}."
                ) from None
        return await super().meet(identity)

    def reap(self) -> int | None:
        code = super().reap()
        self._said = refusal(os.pread(self._log, _LOG_BYTES, 0)) if code == _REFUSED else ""
        return None if self._said else code

    def not_started(self, said: str) -> NotStarted:
        if not self._said:
            return super().not_started(said)
        found = _PROGRAM.search(self._said)
        return NotStarted("program", found[1]) if found else NotStarted("sandbox", self._said)

    def close(self) -> None:
        super().close()
        os.close(self._log)


def refusal(log: bytes) -> str:
    """Why runsc did not start a command, from what it wrote to its log (JSON, one a line); empty when it did."""
    for line in log.decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        message = str(entry.get("msg", "")) if isinstance(entry, dict) else ""
        if message.startswith(_BEFORE):
            return message
    return ""


def map_uids(pid: int, identity: Identity) -> None:
    """Give the user namespace of `pid` the step's uid as 1000, and the next one, which owns nothing, as root.

    Raises OSError.
    """
    for name, outside in (("uid_map", identity.uid), ("gid_map", identity.gid)):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(f"0 {outside + 1} 1\n{INNER_UID} {outside} 1\n")
