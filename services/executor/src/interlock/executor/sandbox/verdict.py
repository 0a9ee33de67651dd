"""From what was observed to what is said: pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import (
    Ending,
    Exceeded,
    Limits,
    SandboxResult,
    SandboxSpec,
    StreamOutput,
    TierReport,
    Usage,
)
from interlock.executor.sandbox.cgroups import Group
from interlock.executor.sandbox.watchdog import counted

_SIGKILL, _SIGXCPU, _SIGXFSZ = 9, 24, 25
_LAST_SIGNAL: Final = 64


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a command was never executed. `what` is at fault: the `program`, the `directory`, or the `sandbox`."""

    what: Literal["program", "directory", "sandbox"]
    detail: str


@contextmanager
def starting() -> Iterator[None]:
    """What the system refuses while a step is started, said as SANDBOX_UNAVAILABLE."""
    try:
        yield
    except OSError as error:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            f"A step cannot be started: {error.strerror or error}.",
            fix="Try again; look for limits on open files, memory or disk of the executor.",
        ) from None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything seen of one run.

    `code` is 128 + n for signal n, None for a command that was never executed. `signal` is what ended the command, 0
    for none; None when the runner does not tell that from an exit with 128 + n, and it is taken for a signal.
    """

    ending: Ending
    exceeded: Exceeded | None
    code: int | None
    counted: Group | None
    disk: Exceeded | None
    usage: Usage
    stdout: StreamOutput
    stderr: StreamOutput
    argv: tuple[str, ...]
    tier: TierReport
    live_dropped: int
    tmp_is_mount: bool = True
    signal: int | None = None

    def ended_by(self) -> int:
        """The signal that ended the command, or 0."""
        if self.signal is not None:
            return self.signal
        return self.code - 128 if self.code is not None and 128 < self.code <= 128 + _LAST_SIGNAL else 0


def start_error(spec: SandboxSpec, argv: tuple[str, ...], why: NotStarted) -> InterlockError:
    """The error for a command that was never executed."""
    if why.what == "program":
        return InterlockError(
            Reason.COMMAND_NOT_FOUND,
            f"{argv[0]!r} cannot be executed: {why.detail}.",
            field="argv" if spec.argv else "command",
            fix="Check the program's name, its execute permission, and that it exists inside the sandbox.",
        )
    if why.what == "directory":
        return InterlockError(
            Reason.PATH_NOT_FOUND,
            f"The working directory {spec.working_dir!r} cannot be entered: {why.detail}.",
            field="working_dir",
            fix="Give a directory that exists in the workspace.",
        )
    return InterlockError(
        Reason.SANDBOX_UNAVAILABLE,
        f"The sandbox could not be made: {why.detail[:500] or 'the runner ended without a word'}",
        fix="Run `interlock doctor`; it says what this machine lacks.",
    )


def verdict(spec: SandboxSpec, seen: Observation) -> SandboxResult:
    """The result of a command that ran."""
    ending, exceeded = seen.ending, seen.exceeded
    if ending is Ending.EXITED and (late := _late(spec.limits, seen)) is not None:
        ending, exceeded = Ending.LIMIT, late
    if (
        ending is Ending.TIMED_OUT
        and seen.counted is not None
        and (first := counted(seen.counted, spec.limits))
    ):
        # The kernel saw another limit passed before; on a starved machine the watchdog may come too late to say so.
        ending, exceeded = Ending.LIMIT, first
    signal = seen.ended_by() if ending is Ending.EXITED else 0
    if signal:
        ending = Ending.SIGNALED
    return SandboxResult(
        ending=ending,
        exit_code=seen.code if ending is Ending.EXITED else None,
        signal=signal,
        exceeded=exceeded,
        argv=seen.argv,
        usage=seen.usage,
        stdout=seen.stdout,
        stderr=seen.stderr,
        enforced=enforcement(seen.tier, tmp_is_mount=seen.tmp_is_mount),
        tier=seen.tier,
        live_dropped=seen.live_dropped,
    )


def _late(limits: Limits, seen: Observation) -> Exceeded | None:
    """Limits whose passing shows only at the end."""
    if seen.counted is not None and (found := counted(seen.counted, limits)) is not None:
        return found
    used = seen.usage.user_us + seen.usage.system_us
    # Also a shell whose child it was: that as much was used is a fact.
    if seen.code in (128 + _SIGXCPU, 128 + _SIGKILL) and used >= limits.cpu_us:
        return Exceeded("cpu_us", limits.cpu_us, used)
    if seen.ended_by() == _SIGXFSZ:
        return Exceeded("file_bytes", limits.file_bytes, limits.file_bytes)
    if (written := seen.stdout.total + seen.stderr.total) > limits.output_bytes:
        return Exceeded("output_bytes", limits.output_bytes, written)
    return seen.disk


def enforcement(tier: TierReport, *, tmp_is_mount: bool = True) -> dict[str, str]:
    """What enforces each limit. `tmp_is_mount`: /tmp and /dev/shm are file systems of the step's own."""
    tree = tier.enforcement if tier.enforcement.startswith("cgroup") else "watchdog"
    return {
        "wall_us": "timer",
        "cpu_us": "watchdog",
        "memory_bytes": tree,
        "processes": tree,
        "open_files": "rlimit",
        "file_bytes": "rlimit",
        "written_bytes": "watchdog",
        "written_files": "watchdog",
        "output_bytes": "watchdog",
        "kept_bytes": "reader",
        "tmp_bytes": "mount" if tmp_is_mount else "watchdog",
        "shm_bytes": "mount" if tmp_is_mount else "absent",
    }
