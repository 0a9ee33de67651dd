"""The default sandbox: one bubblewrap process per step, from a uid that is not root.

Walls: user, pid, mount, network, ipc, uts and cgroup namespaces of its own; a read-only root; an overlay fork at
/workspace; no capabilities; a system call filter; limits by cgroup where there is one, by rlimits and a watchdog
otherwise. Three traps and their answers: never started by uid 0 (`identity`, checked again before the command may
run); empty environment and options by descriptor (`launch`); no mount target below the workspace (`rootfs`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox import cgroups, counts, ends, seccomp
from interlock.executor.sandbox.base import FILES, WORKSPACE, Capabilities, Check, Level, Probe, SandboxSpec
from interlock.executor.sandbox.binary import find_binary
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.environment import HOME, HOSTNAME, INNER_UID, environment
from interlock.executor.sandbox.launch import Tree, memory_file, spawn
from interlock.executor.sandbox.rootfs import (
    INIT_MEMORY,
    can_alias,
    directory_system,
    host_system,
    top_level,
    write_etc,
)
from interlock.executor.sandbox.running import Confined, Started
from interlock.executor.sandbox.selftest import FIX_NAMESPACES, self_test

CAPABILITIES = Capabilities(
    Level.NAMESPACES,
    overlay=True,
    own_paths=True,
    own_processes=True,
    own_identity=True,
    own_loopback=True,
    own_user_namespace=True,
    files=True,
    network=True,
)

_FILES_BYTES = 1 << 20


class BubblewrapSandbox(Confined):
    """See `interlock.executor.sandbox.base.Sandbox`.

    Making one looks for the binary and writes below `confinement.private`.
    Raises InterlockError(SANDBOX_UNAVAILABLE, INVALID_ARGUMENT).
    """

    capabilities = CAPABILITIES
    own_tasks = 2  # its two processes
    bounds_counts = True

    def __init__(self, confinement: Confinement) -> None:
        super().__init__(confinement, "bubblewrap")
        self.binary = find_binary(confinement.private)
        write_etc(confinement.private / "etc")
        self._holds = confinement.private / "holds"
        self._holds.mkdir(mode=0o711, exist_ok=True)
        self._holds.chmod(0o711)
        self._system = self._system_arguments()
        self._taken = (*top_level(confinement.rootfs), *(mount.target for mount in confinement.mounts))

    def policy(self) -> dict[str, JsonValue]:
        mounts: list[JsonValue] = [f"{mount.source}:{mount.target}" for mount in self.confinement.mounts]
        return {
            "backend": self.tier.backend,
            "enforcement": self.tier.enforcement,
            "filter": "sha256:" + hashlib.sha256(seccomp.program()).hexdigest(),
            "network": "none",
            "system": self.confinement.system_name(),
            "mounts": mounts,
        }

    async def probe(self, state: Path) -> Probe:
        found = Check("bubblewrap", True, f"{self.binary.path} {self.binary.version_text}")
        forks = await self.try_forks(state, FIX_NAMESPACES)
        return self_test(self, [found, *forks, counts.check(self.counts_bounded)], self.controller)

    def start(self, spec: SandboxSpec, group: cgroups.Group | None) -> Started:
        hold = ends.Hold(self._holds) if ends.can_tell() else None
        with ExitStack() as stack, ExitStack() as failed:
            if hold is not None:
                failed.callback(hold.close)
            files = {path: memory_file(stack, "file", content) for path, content in spec.files.items()}
            spawned = spawn(
                self.binary,
                self._options(spec, files, hold),
                self.resolve_argv(spec),
                seccomp.program(),
                self.identity,
                self.name,
                tuple(files.values()),
                joins=group.entrances() if group is not None else (),
            )
            tree = Tree(spawned, hold)
            failed.pop_all()
        return Started(tree, spawned.stdout, spawned.stderr)

    def end_orphans(self) -> int:
        ended = super().end_orphans()
        for left in self._holds.iterdir():
            left.unlink(missing_ok=True)
        return ended

    def _system_arguments(self) -> list[str]:
        config = self.confinement
        system = directory_system(config.rootfs) if config.rootfs else host_system(config.private / "etc")
        for mount in config.mounts:
            system += ["--ro-bind", str(mount.source), mount.target]
        return system

    def _options(self, spec: SandboxSpec, files: Mapping[str, int], hold: ends.Hold | None) -> list[str]:
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
        options += _files(files)
        options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
        for path in INIT_MEMORY:
            options += ["--ro-bind", "/dev/null", path]
        options += hold.options() if hold is not None else []
        options += ["--size", str(spec.limits.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
        options += ["--perms", "0755", "--dir", HOME]
        options += ["--size", str(spec.limits.shm_bytes), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
        options += _workspace(spec)
        if spec.fork is not None and can_alias(spec.fork.alias, self._taken):
            options += ["--symlink", WORKSPACE, spec.fork.alias]
        # /dev is a file system without a size; devices in it work all the same.
        return [
            *options,
            "--remount-ro",
            "/dev",
            "--remount-ro",
            "/",
            "--chdir",
            os.path.join(WORKSPACE, spec.working_dir),
        ]


def _files(files: Mapping[str, int]) -> list[str]:
    """In place of whatever the system has at /run: what is there read-only has no room for a mount."""
    if not files:
        return []
    options = ["--size", str(_FILES_BYTES), "--perms", "0755", "--tmpfs", "/run"]
    options += ["--perms", "0700", "--dir", FILES]
    for path, fd in files.items():
        options += ["--perms", "0400", "--file", str(fd), path]
    return [*options, "--remount-ro", "/run"]


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
