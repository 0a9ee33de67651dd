"""What an OCI runtime is told: a root file system of mount points, a container, and the process of a step.

Format: the OCI runtime specification 1.0.2 (config.md, config-linux.md).
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import seccomp
from interlock.executor.sandbox.base import WORKSPACE, Fork, SandboxSpec
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.environment import HOME, HOSTNAME, INNER_UID, environment
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.limits import rlimits
from interlock.executor.sandbox.oci_files import PLACE
from interlock.executor.sandbox.rootfs import INIT_MEMORY, directory_system, host_system
from interlock.executor.sandbox.syscalls import MACHINES

INIT: Final = ("/bin/sh", "-c", f"umask 022; mkdir {HOME} && echo ready && read _")
"""The container's first process: it ends when the executor closes its standard input, and with it everything."""

_ARCHITECTURES: Final = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# The runtime gives a mount the mode of the directory below it, which is not open to everybody.
_OWNED: Final = (f"uid={INNER_UID}", f"gid={INNER_UID}", "mode=755")
_OWN: Final = ("proc", "dev", "tmp", "workspace")
INIT_DESCRIPTORS: Final = ("/proc/1/fd", "/proc/1/task/1/fd")
"""The first process's descriptors are the executor's: its gate, and a file of messages. crun gives them to the
container's user, so a step could open them; it works with these hidden. runc does neither."""
_FILES_BYTES: Final = 1 << 20
_NAMES: Final = {
    getattr(resource, name): name
    for name in ("CORE", "FSIZE", "NOFILE", "CPU", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NPROC", "DATA")
    for name in (f"RLIMIT_{name}",)
}

Json = dict[str, Any]


def make_skeleton(root: Path, confinement: Confinement, etc: Path, *, files: bool = False) -> list[Json]:
    """Make the mount points and links of a root file system in `root`; the mounts that fill it.

    `files`: with a place for the files that a step is given.
    """
    system = directory_system(confinement.rootfs) if confinement.rootfs else host_system(etc)
    for mount in confinement.mounts:
        system += ["--ro-bind", str(mount.source), mount.target]
    for name in _OWN:
        (root / name).mkdir(parents=True, exist_ok=True)
    mounts: list[Json] = []
    words = iter(system)
    for word in words:
        if word == "--symlink":
            target, link = next(words), root / next(words).lstrip("/")
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        elif word == "--dir":
            (root / next(words).lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "--ro-bind":
            source, place = next(words), next(words)
            _make_point(root / place.lstrip("/"), os.path.isdir(source))
            mounts.append(_bind(source, place, "ro"))
        else:
            next(words)  # --perms
    if files:
        run = root / PLACE.lstrip("/")
        if run.is_symlink():
            run.unlink()
        run.mkdir(exist_ok=True)
    for directory, _, _ in os.walk(root):
        os.chmod(directory, 0o755)  # noqa: S103 - other users must be able to pass
    return mounts


def _make_point(place: Path, directory: bool) -> None:
    if directory:
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _bind(source: str, place: str, how: str) -> Json:
    options = ["rbind", how, "nosuid", "nodev"]
    return {"destination": place, "type": "bind", "source": source, "options": options}


def _memory(place: str, size: int, *options: str) -> Json:
    every = ["nosuid", "nodev", f"size={size}", *options]
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": every}


def container(spec: SandboxSpec, root: Path, system: Sequence[Json], identity: Identity, group: str) -> Json:
    """config.json of the container that a step runs in; `group`: the name of its control group, or empty."""
    inner = [
        {"containerID": 0, "hostID": identity.uid + 1, "size": 1},
        {"containerID": INNER_UID, "hostID": identity.uid, "size": 1},
    ]
    kinds = ("user", "pid", "network", "ipc", "uts", "mount")
    linux: Json = {
        "namespaces": [{"type": kind} for kind in kinds],
        "uidMappings": inner,
        "gidMappings": [{**each, "hostID": each["hostID"] - identity.uid + identity.gid} for each in inner],
        "seccomp": filter_profile(),
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", *INIT_MEMORY],
        "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"],
    }
    if group:
        linux["cgroupsPath"] = group
    return {
        "ociVersion": "1.0.2",
        "process": _process(list(INIT), {}, "/", []),
        "root": {"path": str(root), "readonly": True},
        "hostname": HOSTNAME,
        "mounts": [
            {
                "destination": "/proc",
                "type": "proc",
                "source": "proc",
                "options": ["nosuid", "nodev", "noexec"],
            },
            _memory("/dev", 65536, "mode=755", "ro")
            | {"options": ["nosuid", "mode=755", "size=65536", "ro"]},
            _memory("/dev/shm", spec.limits.shm_bytes, "mode=1777"),  # noqa: S108 - inside the sandbox
            *system,
            *([_memory(PLACE, _FILES_BYTES, *_OWNED)] if spec.files else []),
            _memory("/tmp", spec.limits.tmp_bytes, *_OWNED),  # noqa: S108 - inside the sandbox
            _workspace(spec),
        ],
        "linux": linux,
    }


def _workspace(spec: SandboxSpec) -> Json:
    fork = spec.fork
    if fork is None:
        return _memory(WORKSPACE, spec.limits.tmp_bytes, *_OWNED)
    if not fork.lower:
        return _bind(str(fork.upper), WORKSPACE, "rw")
    _check_paths(fork)
    layers = ":".join(str(layer) for layer in fork.lower)
    options = [f"lowerdir={layers}", f"upperdir={fork.upper}", f"workdir={fork.work}", "userxattr"]
    return {
        "destination": WORKSPACE,
        "type": "overlay",
        "source": "overlay",
        "options": [*options, "nosuid", "nodev"],
    }


def _check_paths(fork: Fork) -> None:
    for path in (*fork.lower, fork.upper, fork.work):
        if any(letter in str(path) for letter in ":,\\"):
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"{path} cannot be a layer of an overlay: its path holds a colon, a comma or a backslash.",
                field="INTERLOCK_EXECUTOR_DIR",
                fix="Choose another directory, or set INTERLOCK_FORK=copy.",
            )


def process(spec: SandboxSpec, argv: Sequence[str], *, counted: bool) -> Json:
    """process.json of a step's command."""
    found = []
    for number, value in rlimits(spec.limits, counted=counted).items():
        hard = resource.getrlimit(number)[1]
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        found.append({"type": _NAMES[number], "hard": capped, "soft": capped})
    cwd = os.path.join(WORKSPACE, spec.working_dir).rstrip("/")
    return _process(list(argv), environment(spec.env), cwd, found)


def _process(argv: list[str], env: dict[str, str], cwd: str, limits: list[Json]) -> Json:
    none: list[str] = []
    return {
        "terminal": False,
        "user": {"uid": INNER_UID, "gid": INNER_UID, "umask": 0o022},
        "args": argv,
        "env": [f"{name}={value}" for name, value in sorted(env.items())] or ["PATH=/usr/bin:/bin"],
        "cwd": cwd,
        "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), none),
        "noNewPrivileges": True,
        "rlimits": limits,
    }


def filter_profile() -> Json:
    """The filter of `seccomp`, in the runtime's words."""
    name = os.uname().machine
    machine = MACHINES[name]
    denied, absent, family = errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT
    rules = [_rule(machine.denied, denied), _rule(machine.absent, absent)]
    rules += [_rule(["clone"], denied, (0, bit, "SCMP_CMP_MASKED_EQ", bit)) for bit in seccomp.NAMESPACE_BITS]
    # Of the command of ioctl the kernel looks at the low half only.
    rules += [
        _rule(["ioctl"], denied, (1, 0xFFFFFFFF, "SCMP_CMP_MASKED_EQ", command))
        for command in seccomp.TERMINAL_INJECTION
    ]
    for call, at in (("mknod", 1), ("mknodat", 2)):
        if call in machine.conditional:
            rules += [
                _rule([call], denied, (at, 0xF000, "SCMP_CMP_MASKED_EQ", kind))
                for kind in seccomp.DEVICE_TYPES
            ]
    rules += [
        _rule([call], family, (0, number, "SCMP_CMP_EQ", 0))
        for call in ("socket", "socketpair")
        for number in range(46)
        if number not in (*seccomp.FAMILIES, seccomp.AF_NETLINK)
    ]
    rules += [_rule([call], family, (0, 46, "SCMP_CMP_GE", 0)) for call in ("socket", "socketpair")]
    netlink = (0, seccomp.AF_NETLINK, "SCMP_CMP_EQ", 0)
    rules += [_rule([call], family, netlink, (2, 0, "SCMP_CMP_NE", 0)) for call in ("socket", "socketpair")]
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [_ARCHITECTURES[name]], "syscalls": rules}


def _rule(names: Sequence[str] | dict[str, int], error: int, *tests: tuple[int, int, str, int]) -> Json:
    rule: Json = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": error}
    if tests:
        rule["args"] = [
            {"index": index, "value": value, "op": op, "valueTwo": second}
            for index, value, op, second in tests
        ]
    return rule
