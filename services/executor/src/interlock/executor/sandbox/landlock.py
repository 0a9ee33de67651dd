"""The sandbox for where there are no user namespaces: in a pod, or in a container without privileges.

Walls: Landlock rules (read `/usr` and a little more; change the fork and a private directory in place of /tmp), a
system call filter without sockets, no new privileges, no capability, limits, and a supervisor per step that ends
everything the step started (`rules.supervisor`). The file system, the process ids and the host name are the
machine's: see docs/threat-model.md for what that means. A fork is a copy.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.files.remove import remove_path
from interlock.executor.sandbox import cgroups, orphans, seccomp
from interlock.executor.sandbox.base import Capabilities, Check, Level, Probe, SandboxSpec
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.environment import environment
from interlock.executor.sandbox.landlock_tree import RulesTree, spawn_supervisor
from interlock.executor.sandbox.rootfs import HOST_ETC
from interlock.executor.sandbox.rules import kernel
from interlock.executor.sandbox.rules.plan import Plan
from interlock.executor.sandbox.running import Confined, Started
from interlock.executor.sandbox.selftest import self_test

CAPABILITIES: Final = Capabilities(
    Level.LANDLOCK,
    overlay=False,
    own_paths=False,
    own_processes=False,
    own_identity=False,
    own_loopback=False,
    own_user_namespace=False,
)

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PROC: Final = (
    *(
        f"/proc/{name}"
        for name in ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems")
    ),
    *(
        f"/proc/sys/kernel/{name}"
        for name in ("osrelease", "ostype", "pid_max", "threads-max", "ngroups_max")
    ),
    *(f"/proc/sys/vm/{name}" for name in ("overcommit_memory", "max_map_count")),
)
_FIX: Final = (
    "It needs Linux 6.12 with Landlock (CONFIG_SECURITY_LANDLOCK, and `landlock` in the kernel's lsm= list), /proc, "
    "and a container that allows the system calls landlock_* and seccomp."
)


class LandlockSandbox(Confined):
    """See `interlock.executor.sandbox.base.Sandbox`.

    Raises InterlockError(SANDBOX_UNAVAILABLE) where the kernel's Landlock is absent or too old, or where a root file
    system or mounts at other places are wanted, which rules cannot give.
    """

    capabilities = CAPABILITIES

    def __init__(self, confinement: Confinement) -> None:
        self.abi = kernel.landlock_abi()
        _check_kernel(self.abi)
        _check_confinement(confinement)
        super().__init__(confinement, "landlock")
        self._scratch = confinement.private / "scratch"
        self._scratch.mkdir(exist_ok=True, mode=0o711)
        self._scratch.chmod(0o711)
        self._rules = _rules(confinement)
        self._filter = base64.b64encode(seccomp.shared_program()).decode()

    def policy(self) -> dict[str, JsonValue]:
        reads: list[JsonValue] = [path for path, access in self._rules if access == kernel.READ]
        return {
            "backend": self.tier.backend,
            "enforcement": self.tier.enforcement,
            "filter": "sha256:" + hashlib.sha256(seccomp.shared_program()).hexdigest(),
            "network": "none",
            "system": self.confinement.system_name(),
            "paths": "the machine's",
            "reads": reads,
        }

    async def probe(self, state: Path) -> Probe:
        found = Check("landlock rules", True, f"ABI {self.abi}: files, sockets and signals are kept in")
        return self_test(self, [found, *await self.try_forks(state, _FIX)], self.controller)

    def end_orphans(self) -> int:
        ended = super().end_orphans()
        for name in os.listdir(self._scratch):
            with suppress(OSError):
                remove_path(self._scratch / name)
        return ended

    def start(self, spec: SandboxSpec, group: cgroups.Group | None) -> Started:
        try:
            scratch = self._make_scratch(own_workspace=spec.fork is None)
        except OSError as error:
            raise _unavailable(f"No directory can be made for a step: {error.strerror}.") from None
        workspace = os.path.realpath(spec.fork.upper if spec.fork else scratch / "workspace")
        plan = Plan(
            argv=self.resolve_argv(spec),
            env=environment({**self._places(scratch, workspace, spec), **spec.env}),
            workspace=workspace,
            working_dir=spec.working_dir,
            scratch=str(scratch),
            rules=(*self._rules, (workspace, kernel.CHANGE), (str(scratch), kernel.CHANGE)),
            filter=self._filter,
            uid=self.identity.uid,
            gid=self.identity.gid,
            switch=self.identity.switch,
            gate=-1,
            status=-1,
        )
        joins = group.entrances() if group is not None else ()
        spawned = spawn_supervisor(plan, orphans.rules_name(self.name), joins)
        return Started(RulesTree(spawned, scratch), spawned.stdout, spawned.stderr)

    @staticmethod
    def _places(scratch: Path, workspace: str, spec: SandboxSpec) -> dict[str, str]:
        """The variables that name places."""
        directory = os.path.join(workspace, spec.working_dir).rstrip("/")
        return {"HOME": str(scratch / "home"), "TMPDIR": str(scratch), "PWD": directory}

    def _make_scratch(self, *, own_workspace: bool) -> Path:
        directory = self._scratch.resolve() / secrets.token_hex(8)
        names = ("home", "workspace") if own_workspace else ("home",)
        directory.mkdir(mode=0o700)
        for path in (*(directory / name for name in names), directory):
            path.mkdir(mode=0o755, exist_ok=True)
            if self.identity.switch:
                os.chown(path, self.identity.uid, self.identity.gid)
        return directory


def _rules(confinement: Confinement) -> tuple[tuple[str, int], ...]:
    reads = [*_SYSTEM, *(f"/etc/{name}" for name in HOST_ETC), *_PROC]
    reads += [mount.target for mount in confinement.mounts]
    return (*((path, kernel.READ) for path in reads), *((path, kernel.DEVICE) for path in _DEVICES))


def _check_kernel(abi: int) -> None:
    if abi >= kernel.MINIMUM_ABI:
        return
    found = (
        f"the kernel's Landlock is ABI {abi}" if abi else "the kernel has no Landlock, or it is not enabled"
    )
    raise _unavailable(
        f"{found[0].upper()}{found[1:]}; ABI {kernel.MINIMUM_ABI} is needed, without which a step can signal "
        "everybody of its uid."
    )


def _check_confinement(confinement: Confinement) -> None:
    moved = [mount for mount in confinement.mounts if str(mount.source) != mount.target]
    if confinement.rootfs is None and not moved:
        return
    field = "INTERLOCK_EXTRA_RO_MOUNTS" if moved else "INTERLOCK_ROOTFS"
    raise InterlockError(
        Reason.SANDBOX_UNAVAILABLE,
        f"{field} puts something at another place, and the landlock sandbox has no places of its own.",
        field=field,
        fix="Unset it (or name mounts by their source only), or choose another INTERLOCK_SANDBOX.",
    )


def _unavailable(message: str) -> InterlockError:
    return InterlockError(Reason.SANDBOX_UNAVAILABLE, message, field="INTERLOCK_SANDBOX", fix=_FIX)
