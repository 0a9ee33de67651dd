"""What a guest of gVisor sees, and the document that runsc is told it by.

bubblewrap puts the guest's whole system below `GUEST`; gVisor's kernel adds /proc, /dev, /tmp and /dev/shm, which
are its own. Format: the OCI runtime specification 1.0.2.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from typing import Any, Final

from interlock.executor.sandbox.base import WORKSPACE, SandboxSpec
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.environment import HOME, HOSTNAME, INNER_UID
from interlock.executor.sandbox.oci_bundle import filter_profile, process
from interlock.executor.sandbox.rootfs import directory_system, host_system

GUEST: Final = "/guest"
_OPERANDS: Final = {"--ro-bind": 2, "--symlink": 2, "--dir": 1, "--perms": 1}


def guest_system(confinement: Confinement) -> list[str]:
    """The system of a step as bubblewrap's options, below `GUEST`."""
    root = confinement.rootfs
    system = directory_system(root) if root else host_system(confinement.private / "etc")
    for mount in confinement.mounts:
        system += ["--ro-bind", str(mount.source), mount.target]
    return _below(system)


def _below(options: Sequence[str]) -> list[str]:
    moved: list[str] = []
    words = iter(options)
    for option in words:
        operands = [next(words) for _ in range(_OPERANDS[option])]
        if option != "--perms":
            operands[-1] = GUEST + operands[-1]
        moved += [option, *operands]
    return moved


def mount_points() -> list[str]:
    """Where gVisor's kernel mounts what is its own, as bubblewrap's options."""
    options: list[str] = []
    for name in ("/proc", "/dev", "/sys", "/tmp", WORKSPACE):  # noqa: S108 - inside the sandbox
        options += ["--perms", "0755", "--dir", GUEST + name]
    return options


def document(spec: SandboxSpec, argv: Sequence[str]) -> bytes:
    """config.json of a step."""
    own = [f"uid={INNER_UID}", f"gid={INNER_UID}"]
    tmp, shm = f"size={spec.limits.tmp_bytes}", f"size={spec.limits.shm_bytes}"
    config = {
        "ociVersion": "1.0.2",
        "process": process(spec, argv, counted=True),
        "root": {"path": GUEST, "readonly": True},
        "hostname": HOSTNAME,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            _memory("/sys", "size=4096", "mode=000", "ro"),
            _memory("/tmp", tmp, "mode=1777"),  # noqa: S108 - inside the sandbox
            _memory(HOME, tmp, "mode=755", *own),
            _memory("/dev/shm", shm, "mode=1777"),  # noqa: S108 - inside the sandbox
            {"destination": WORKSPACE, "type": "bind", "source": WORKSPACE, "options": ["rbind", "rw"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "seccomp": guest_profile(),
        },
    }
    return json.dumps(config).encode()


def guest_profile() -> dict[str, Any]:
    """The filter of steps as gVisor understands it: it answers EPERM whatever number a rule names.

    What must seem to be absent (clone3, or no thread could be started) is left to a tracer, of which there is none;
    that is answered ENOSYS (seccomp(2)).
    """
    profile = filter_profile()
    for rule in profile["syscalls"]:
        if rule["errnoRet"] == errno.ENOSYS:
            del rule["errnoRet"]
            rule["action"] = "SCMP_ACT_TRACE"
    return profile


def _memory(place: str, *options: str) -> dict[str, Any]:
    every = ["nosuid", "nodev", *options]
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": every}
