"""The start-up self-test: a real step through the real sandbox on the real state directory, and what it rests on."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import tempfile
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.kernel import has_openat2
from interlock.executor.files.remove import remove_path
from interlock.executor.sandbox.base import (
    Check,
    Ending,
    Fork,
    Limits,
    Probe,
    Sandbox,
    SandboxSpec,
)
from interlock.executor.sandbox.binary import Binary
from interlock.executor.sandbox.cgroups import Controller
from interlock.executor.sandbox.identity import Identity

_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_VERSION: Final = 1
_WITNESS: Final = "interlock-self-test"
_PAYLOAD: Final = f"""
set -e
test "$(cat base)" = {_WITNESS}
echo written > result
rm base
test "$(cat /proc/sys/kernel/hostname)" = step
if echo x 2>/dev/null > /proc/sys/kernel/hostname; then exit 41; fi
if echo x 2>/dev/null > /usr/interlock; then exit 42; fi
if test -e /root -o -e /sys; then exit 43; fi
exec cat /proc/self/status
"""
_LIMITS: Final = Limits(wall_us=20_000_000, memory_bytes=256 << 20)


async def self_test(
    sandbox: Sandbox, identity: Identity, state: Path, binary: Binary, controller: Controller | None
) -> Probe:
    """Run every check. `state` is where forks will be."""
    checks = [
        Check("identity", True, f"steps run as uid {identity.uid}"),
        Check("bubblewrap", True, f"{binary.path} {binary.version_text}"),
        await _step(sandbox, identity, state),
        _cgroup(controller),
        _openat2(),
        _landlock(),
    ]
    return Probe(sandbox.tier, tuple(checks))


def require(probe: Probe) -> None:
    """Raise InterlockError(SANDBOX_UNAVAILABLE) naming the first required check that failed."""
    for check in probe.checks:
        if check.required and not check.ok:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE, f"{check.name}: {check.detail}", field=check.name, fix=check.fix
            )


async def _step(sandbox: Sandbox, identity: Identity, state: Path) -> Check:
    try:
        directory = await asyncio.to_thread(_make_fork, identity, state)
    except OSError as error:
        return Check("step", False, f"{state}: {error.strerror}", "Make INTERLOCK_EXECUTOR_DIR writable.")
    fork = Fork((directory / "lower",), directory / "upper", directory / "work")
    try:
        result = await sandbox.run(SandboxSpec(command=_PAYLOAD, fork=fork, limits=_LIMITS))
        if result.ending is not Ending.EXITED or result.exit_code != 0:
            said = (result.stderr.head or result.stdout.head).decode("utf-8", "replace").strip()
            return Check(
                "step",
                False,
                f"the test step ended {result.ending.value} {result.exit_code}: {said[:300]}",
                _FIX,
            )
        return _judge(fork, result.stdout.head.decode("utf-8", "replace"))
    except InterlockError as error:
        return Check("step", False, error.message, _FIX)
    finally:
        # The kernel leaves overlay's work directory with mode 000, which only root's rmtree gets past.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(remove_path, directory)


_FIX: Final = (
    "The kernel must allow unprivileged user namespaces and overlayfs in them (Linux 5.11): sysctl "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container, unmask /proc "
    "and use the seccomp profile of docs/containers.md. The state directory must be on a real file system, not on "
    "an overlay, and its path open to the uid of steps."
)


def _judge(fork: Fork, status: str) -> Check:
    if not (fork.upper / "result").is_file() or (fork.lower[0] / "result").exists():
        return Check("step", False, "what the test step wrote did not arrive in its fork", _FIX)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = {"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
    for name, value in wanted.items():
        if lines.get(name, "").strip() != value:
            return Check("step", False, f"inside, {name} is {lines.get(name)!r} instead of {value}", _FIX)
    return Check("step", True, "user namespace, overlay, proc, seccomp and capabilities are as they must be")


def _make_fork(identity: Identity, state: Path) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="self-test-", dir=state))
    os.chmod(directory, 0o711)  # noqa: S103 - other users must be able to pass
    for name in ("lower", "upper", "work"):
        (directory / name).mkdir(mode=0o755)
    (directory / "lower" / "base").write_text(_WITNESS)
    if identity.switch:
        for path in (directory / "lower" / "base", *directory.iterdir()):
            os.chown(path, identity.uid, identity.gid)
    return directory


def _cgroup(controller: Controller | None) -> Check:
    if controller is not None:
        return Check(
            "cgroup", True, f"{controller.name} counts memory and processes of a whole step", required=False
        )
    return Check(
        "cgroup",
        False,
        "no writable control group: rlimits and a watchdog enforce limits; memory nobody has mapped escapes them",
        "Run the executor with a delegated control group, for example `systemd-run --user -p Delegate=yes`.",
        required=False,
    )


def _openat2() -> Check:
    if has_openat2():
        return Check("openat2", True, "files are reached through openat2", required=False)
    return Check("openat2", False, "not there: paths are walked one component at a time", required=False)


def _landlock() -> Check:
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION))
    if version > 0:
        return Check("landlock", True, f"ABI {version}", required=False)
    return Check("landlock", False, "not in this kernel", required=False)
