"""How this machine's steps are confined: what every backend is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interlock.common.config import env_bool, env_list, env_path, env_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.identity import Identity, step_identity
from interlock.executor.sandbox.rootfs import Mount, parse_mounts


@dataclass(frozen=True, slots=True)
class Confinement:
    """What backends have in common.

    Args:
        private: a directory of the sandbox's own (copies of binaries, generated files, directories for /tmp).
        identity: whom steps run as.
        rootfs: a root file system directory to use in place of the host's /usr, or None.
        mounts: extra read-only mounts.
        oci_runtime: name or path of the runtime of the oci backend; empty: one that is there.
        use_cgroups: False makes rlimits and the watchdog enforce everything.
        runsc: path of gVisor's runsc; empty: the one that is installed.
        fork: how the workspace is forked: `overlay`, `copy`, or `auto`: overlay where it works.
    """

    private: Path
    identity: Identity
    rootfs: Path | None = None
    mounts: tuple[Mount, ...] = ()
    use_cgroups: bool = True
    fork: str = "auto"
    oci_runtime: str = ""
    runsc: str = ""

    @classmethod
    def from_env(cls, private: Path) -> Confinement:
        """INTERLOCK_STEP_UID, INTERLOCK_ROOTFS, INTERLOCK_EXTRA_RO_MOUNTS, INTERLOCK_CGROUPS (true),
        INTERLOCK_FORK (auto), INTERLOCK_OCI_RUNTIME, INTERLOCK_RUNSC.

        Raises InterlockError(SANDBOX_UNAVAILABLE) when steps would run as root, INVALID_ARGUMENT.
        """
        rootfs = env_path("INTERLOCK_ROOTFS", Path("/"))
        return cls(
            private=private,
            identity=step_identity(),
            rootfs=None if rootfs == Path("/") else rootfs,
            mounts=parse_mounts(env_list("INTERLOCK_EXTRA_RO_MOUNTS")),
            use_cgroups=env_bool("INTERLOCK_CGROUPS", True),
            fork=_fork_mode(),
            oci_runtime=env_text("INTERLOCK_OCI_RUNTIME"),
            runsc=env_text("INTERLOCK_RUNSC"),
        )

    def shell(self) -> str:
        """The shell that runs a command line: bash where the root file system has one."""
        root = self.rootfs or Path("/")
        return "/bin/bash" if (root / "usr/bin/bash").exists() or (root / "bin/bash").exists() else "/bin/sh"

    def system_name(self) -> str:
        """Which system a step sees, as its record says it."""
        return f"directory:{self.rootfs}" if self.rootfs else "host:/usr"


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
