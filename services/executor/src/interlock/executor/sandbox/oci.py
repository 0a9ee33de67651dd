"""The sandbox made by an OCI runtime: runc or crun, one container per step.

Walls: those of bubblewrap (user, pid, mount, network, ipc and uts namespaces, a read-only root, the same filter, no
capability), made by a program that many machines have and administrators know. The runtime is run by root; the
container's uids are two that own nothing but what steps own. See docs/decisions/0013-a-container-per-step.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

from interlock.common.digests import canonical_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox import cgroups, counts
from interlock.executor.sandbox.base import Capabilities, Check, Level, Overhead, Probe, SandboxSpec
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.limits import VICTIM
from interlock.executor.sandbox.oci_bundle import (
    INIT_DESCRIPTORS,
    container,
    filter_profile,
    make_skeleton,
    process,
)
from interlock.executor.sandbox.oci_tree import ContainerTree, Runtime
from interlock.executor.sandbox.rootfs import write_etc
from interlock.executor.sandbox.running import Confined, Started
from interlock.executor.sandbox.selftest import self_test

CAPABILITIES: Final = Capabilities(
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
RUNTIMES: Final = ("runc", "crun")
_BESIDE: Final = Overhead(tasks=3)  # the first process, and a runtime that is put into the group
_ALONE: Final = ("--cgroup-manager=disabled",)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIX: Final = (
    "Install runc or crun (Debian, Ubuntu: apt-get install runc), run the executor as root with CAP_SYS_ADMIN, and "
    "keep its directory on a real file system."
)


class OciSandbox(Confined):
    """See `interlock.executor.sandbox.base.Sandbox`.

    Raises InterlockError(SANDBOX_UNAVAILABLE) where there is no runtime, or where the executor is not run by root.
    """

    capabilities = CAPABILITIES
    root_made = True
    bounds_counts = True

    def __init__(self, confinement: Confinement) -> None:
        home = confinement.private / "oci"
        self.runtime = find_runtime(confinement, home / "state")
        super().__init__(confinement, f"oci:{self.runtime.name}")
        if self.runtime.within:
            self.overhead = _BESIDE
        for directory, mode in ((home, 0o711), (home / "state", 0o711), (home / "bundles", 0o700)):
            directory.mkdir(exist_ok=True)
            directory.chmod(mode)
        write_etc(confinement.private / "etc")
        self._home = home
        # Two, because who is given no file finds no /run.
        self._roots = {False: home / "root", True: home / "root-with-files"}
        for files, root in self._roots.items():
            self._system = make_skeleton(root, confinement, confinement.private / "etc", files=files)
        self._version = _version(self.runtime)

    def policy(self) -> dict[str, JsonValue]:
        mounts: list[JsonValue] = [f"{mount.source}:{mount.target}" for mount in self.confinement.mounts]
        return {
            "backend": self.tier.backend,
            "enforcement": self.tier.enforcement,
            "filter": "sha256:" + hashlib.sha256(canonical_json(filter_profile())).hexdigest(),
            "network": "none",
            "system": self.confinement.system_name(),
            "mounts": mounts,
        }

    async def probe(self, state: Path) -> Probe:
        found = Check("oci runtime", True, f"{self.runtime.path}: {self._version}")
        forks = await self.try_forks(state, _FIX)
        return self_test(self, [found, *forks, counts.check(self.counts_bounded)], self.controller)

    def end_orphans(self) -> int:
        ended = super().end_orphans()
        bundles, states = self._home / "bundles", self._home / "state"
        # A runtime that is killed while it makes a container may leave a state that it does not know itself.
        for name in sorted({path.name for path in (*bundles.iterdir(), *states.glob("interlock-*"))}):
            self.runtime.delete(name)
            for directory in (bundles / name, states / name):
                shutil.rmtree(directory, ignore_errors=True)
            ended += 1
        return ended

    def start(self, spec: SandboxSpec, group: cgroups.Group | None) -> Started:
        bundle = self._home / "bundles" / f"interlock-{secrets.token_hex(8)}"
        argv = self.resolve_argv(spec)
        joins = group.entrances() if group and self.runtime.within else []
        name = group.name if group and not joins else ""
        config = container(spec, self._roots[bool(spec.files)], self._system, self.identity, name)
        config["process"]["oomScoreAdj"] = VICTIM  # also of the command, which the runtime starts
        if self.runtime.name == "crun":
            config["linux"]["maskedPaths"] += INIT_DESCRIPTORS
        bundle.mkdir(mode=0o700)
        (bundle / "config.json").write_text(json.dumps(config))
        command = json.dumps(process(spec, argv, counted=group is not None)).encode()
        out, err = os.pipe(), os.pipe()
        try:
            tree = ContainerTree(self.runtime, bundle, (out[1], err[1]), command, joins, spec.files)
        except OSError as error:
            for fd in (*out, *err):
                os.close(fd)
            raise _unavailable(f"{self.runtime.path} cannot be started: {error.strerror}.") from None
        return Started(tree, out[0], err[0])


def find_runtime(confinement: Confinement, state: Path) -> Runtime:
    """INTERLOCK_OCI_RUNTIME (a name or a path), else the first of `RUNTIMES` there is.

    Raises InterlockError(SANDBOX_UNAVAILABLE).
    """
    if not confinement.identity.switch:
        raise _unavailable("The oci sandbox needs an executor that is run by root (its steps are not).")
    wanted = confinement.oci_runtime
    for candidate in (wanted,) if wanted else RUNTIMES:
        path = candidate if candidate.startswith("/") else shutil.which(candidate, path=_PATH)
        if path and os.access(path, os.X_OK):
            name = Path(path).name
            if name not in RUNTIMES:
                raise _unavailable(
                    f"{path} is not one of the runtimes that are supported: {', '.join(RUNTIMES)}."
                )
            crun = name == "crun"
            return Runtime(name, path, state, _around_crun() if crun else (), _ALONE if crun else ())
    raise _unavailable(f"No OCI runtime is installed (looked for {wanted or ', '.join(RUNTIMES)}).")


def _around_crun() -> tuple[str, ...]:
    """What runs crun where it works.

    It looks for its control group in one place of every hierarchy, where the executor's own need not be, and lifts
    limits that it is not told: so it is put into the step's group, and leaves them alone. A command that is put into
    a container does not get the order of victims of that: so it has it itself. It refuses machines that have both
    versions of control groups mounted: then the second is hidden from it.
    """
    both = "/sys/fs/cgroup/unified"
    join = f"{{ echo {VICTIM} >/proc/$$/oom_score_adj; }} 2>/dev/null; "
    join += 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'
    if not os.path.ismount(both):
        return ("/bin/sh", "-c", join, "sh")
    hide = ("/usr/bin/unshare", "--mount", "--propagation", "private")
    return (*hide, "/bin/sh", "-c", f"umount {both} || exit 1; {join}", "sh")


def _version(runtime: Runtime) -> str:
    try:
        done = subprocess.run(
            [runtime.path, "--version"], capture_output=True, env={}, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        raise _unavailable(f"{runtime.path} does not run.") from None
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout.decode(errors="replace"))
    return found[0] if found else "unknown version"


def _unavailable(message: str) -> InterlockError:
    return InterlockError(Reason.SANDBOX_UNAVAILABLE, message, field="INTERLOCK_OCI_RUNTIME", fix=_FIX)
