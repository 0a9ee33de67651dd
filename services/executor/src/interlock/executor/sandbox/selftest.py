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
    Level,
    Limits,
    Probe,
    Sandbox,
    SandboxSpec,
)
from interlock.executor.sandbox.cgroups import Controller
from interlock.executor.sandbox.devices import NODES
from interlock.executor.sandbox.identity import Identity
from interlock.executor.snapshots.clone import can_share_blocks

_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_VERSION: Final = 1
_WITNESS: Final = "interlock-self-test"
_COMMON: Final = f"""
set -e
test "$(cat base)" = {_WITNESS}
echo written > result
rm base
if echo x 2>/dev/null > /proc/sys/kernel/hostname; then exit 41; fi
if echo x 2>/dev/null > /usr/interlock; then exit 42; fi
"""
_OWN_PATHS: Final = """
test "$(cat /proc/sys/kernel/hostname)" = step
if test -e /root -o -e /sys/kernel; then exit 43; fi
"""
_RULES: Final = """
for place in / /proc /sys /root /home /etc /tmp /dev .. ../lower; do
  if ls "$place" >/dev/null 2>&1; then echo "$place can be listed" >&2; exit 44; fi
done
if echo x 2>/dev/null > ../lower/file; then exit 45; fi
if chmod 0777 ../lower 2>/dev/null; then exit 46; fi
if kill -0 1 2>/dev/null; then exit 47; fi
"""
_STATUS: Final = "exec cat /proc/self/status\n"
_LIMITS: Final = Limits(wall_us=20_000_000, memory_bytes=256 << 20)


def self_test(sandbox: Sandbox, found: list[Check], controller: Controller | None) -> Probe:
    """The whole report; `found` are the backend's own findings and those of `fork_checks`."""
    checks = [
        Check("identity", True, f"steps run as uid {sandbox.identity.uid}"),
        Check("devices", True, f"{', '.join(NODES)} are what they must be"),  # else there were no sandbox
        *found,
        _cgroup(controller),
        _openat2(),
        _landlock(),
    ]
    return Probe(sandbox.tier, tuple(checks))


async def fork_checks(sandbox: Sandbox, state: Path, wanted: str, fix: str) -> tuple[str, list[Check]]:
    """How the workspace is forked, by trying: overlay, unless a copy is `wanted`; a copy where `auto` cannot have it.

    `state` is where forks will be; `fix` says what to do when the test step fails.
    """
    possible = sandbox.capabilities.overlay
    if wanted == "overlay" and not possible:
        told = f"{sandbox.tier.backend} forks by copying only"
        return "copy", [
            Check("fork", False, told, "Set INTERLOCK_FORK=auto, or choose another INTERLOCK_SANDBOX.")
        ]
    overlay = None if wanted == "copy" or not possible else await _step(sandbox, state, fix, copy=False)
    if overlay is not None and (overlay.ok or wanted == "overlay"):
        told = "overlay: a fork costs the same whatever the size of the workspace"
        return "overlay", [overlay, Check("fork", True, told, required=False)]
    copied = await _step(sandbox, state, fix, copy=True)
    if overlay is not None and not copied.ok:
        return "overlay", [overlay]
    how = "sharing blocks (reflink)" if await _shares_blocks(state) else "byte by byte"
    why = "INTERLOCK_FORK=copy" if possible else f"{sandbox.tier.backend} has no other"
    if overlay is not None:
        why = f"no overlay works here: {overlay.detail}"
    told = f"copy, {how}: a fork costs more the larger the workspace ({why})"
    return "copy", [
        copied,
        Check("fork", overlay is None, told, overlay.fix if overlay else "", required=False),
    ]


async def _shares_blocks(state: Path) -> bool:
    try:
        return await asyncio.to_thread(can_share_blocks, state)
    except OSError:
        return False


def require(probe: Probe) -> None:
    """Raise InterlockError(SANDBOX_UNAVAILABLE) naming the first required check that failed."""
    for check in probe.checks:
        if check.required and not check.ok:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE, f"{check.name}: {check.detail}", field=check.name, fix=check.fix
            )


async def _step(sandbox: Sandbox, state: Path, fix: str, *, copy: bool) -> Check:
    try:
        directory = await asyncio.to_thread(_make_fork, sandbox.identity, state, copy)
    except OSError as error:
        return Check("step", False, f"{state}: {error.strerror}", "Make INTERLOCK_EXECUTOR_DIR writable.")
    lower = () if copy else (directory / "lower",)
    fork = Fork(lower, directory / "upper", directory / "work")
    try:
        payload = _COMMON + (_OWN_PATHS if sandbox.capabilities.own_paths else _RULES) + _STATUS
        result = await sandbox.run(SandboxSpec(command=payload, fork=fork, limits=_LIMITS))
        if result.ending is not Ending.EXITED or result.exit_code != 0:
            said = (result.stderr.head or result.stdout.head).decode("utf-8", "replace").strip()
            return Check(
                "step",
                False,
                f"the test step ended {result.ending.value} {result.exit_code}: {said[:300]}",
                fix,
            )
        # gVisor's kernel does not tell whether new privileges can be had.
        told = () if sandbox.capabilities.level is Level.GVISOR else ("NoNewPrivs",)
        return _judge(fork, result.stdout.head.decode("utf-8", "replace"), told, fix)
    except InterlockError as error:
        return Check("step", False, error.message, fix)
    finally:
        # The kernel leaves overlay's work directory with mode 000, which only root's rmtree gets past.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(remove_path, directory)


FIX_NAMESPACES: Final = (
    "The kernel must allow unprivileged user namespaces and overlayfs in them (Linux 5.11): sysctl "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container, unmask /proc "
    "and use the seccomp profile of docs/containers.md. The state directory must be on a real file system, not on "
    "an overlay, and its path open to the uid of steps."
)


def _judge(fork: Fork, status: str, told: tuple[str, ...], fix: str) -> Check:
    arrived = (fork.upper / "result").is_file() and not (fork.upper / "base").is_file()
    if not arrived or any(
        (layer / "result").exists() or not (layer / "base").exists() for layer in fork.lower
    ):
        return Check("step", False, "what the test step wrote did not arrive in its fork", fix)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = {"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "Seccomp": "2"}
    wanted |= dict.fromkeys(told, "1")
    for name, value in wanted.items():
        if lines.get(name, "").strip() != value:
            return Check("step", False, f"inside, {name} is {lines.get(name)!r} instead of {value}", fix)
    kind = "overlay" if fork.lower else "copy"
    return Check("step", True, f"{kind}, what a step sees, seccomp and capabilities are as they must be")


def _make_fork(identity: Identity, state: Path, copy: bool) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="self-test-", dir=state))
    os.chmod(directory, 0o711)  # noqa: S103 - other users must be able to pass
    for name in ("lower", "upper", "work"):
        (directory / name).mkdir(mode=0o755)
    witness = directory / ("upper" if copy else "lower") / "base"
    witness.write_text(_WITNESS)
    if identity.switch:
        for path in (witness, *directory.iterdir()):
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
        "no writable control group: rlimits and a watchdog enforce limits, and see less",
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
