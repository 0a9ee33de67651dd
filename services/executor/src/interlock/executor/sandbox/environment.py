"""What surrounds every step: the same on every machine, so that two runs of one command can be compared.

What still differs between two runs: the time, process ids, entropy, the processor's features, `/usr`'s content (the
host's or that of INTERLOCK_ROOTFS), the order in which directories are listed, and addresses of memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import MAX_ARGUMENT, MAX_ARGUMENTS, MAXIMUM_LIMITS, Limits, SandboxSpec

HOSTNAME = "step"
INNER_UID = 1000
HOME = "/tmp/home"  # noqa: S108 - inside the sandbox, on its own tmpfs

FIXED: Mapping[str, str] = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "LOGNAME": "step",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "315532800",
    "TMPDIR": "/tmp",  # noqa: S108 - inside the sandbox
    "TZ": "UTC",
    "USER": "step",
}
"""SOURCE_DATE_EPOCH is 1980-01-01, the earliest time a zip file can hold. Bytecode files are not written: they hold
times, and would make every effect look different."""

LEAST: Mapping[str, int] = {"memory_bytes": 8 << 20, "open_files": 32, "tmp_bytes": 4096, "shm_bytes": 4096}
"""Less than this, and the runner itself could not start the command."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a step; `extra` wins over the fixed one."""
    return {**FIXED, **extra}


def check_spec(spec: SandboxSpec) -> None:
    """Refuse what cannot or must not run. Raises InterlockError(INVALID_ARGUMENT, PATH_OUTSIDE_WORKSPACE)."""
    if bool(spec.argv) == bool(spec.command):
        raise _bad("Give exactly one of a command and an argument vector.", "command")
    _check_arguments(spec)
    _check_env(spec.env)
    check_working_dir(spec.working_dir)
    check_limits(spec.limits)


def check_working_dir(path: str) -> None:
    """A relative path without `..`; a symlink on the way is resolved inside the sandbox, where it can do no harm."""
    if path.startswith("/") or ".." in path.split("/"):
        raise InterlockError(
            Reason.PATH_OUTSIDE_WORKSPACE,
            f"The working directory {path[:200]!r} is not inside the workspace.",
            field="working_dir",
            fix="Give a path relative to the workspace, without `..`.",
        )
    if "\0" in path or len(_encoded(path, "working_dir")) > 4096:
        raise _bad("The working directory is longer than 4,096 bytes or holds a NUL.", "working_dir")


def check_limits(limits: Limits) -> None:
    """Each limit is between its least value and its maximum."""
    for name in Limits.__dataclass_fields__:
        value, most = getattr(limits, name), getattr(MAXIMUM_LIMITS, name)
        least = LEAST.get(name, 1)
        if not least <= value <= most:
            raise _bad(f"The limit {name} must be between {least} and {most}, not {value}.", f"limits.{name}")


def _check_arguments(spec: SandboxSpec) -> None:
    items = spec.argv or (spec.command,)
    if spec.argv and not spec.argv[0]:
        raise _bad("The program's name is empty.", "argv[0]")
    total = 0
    for index, item in enumerate(items):
        where = f"argv[{index}]" if spec.argv else "command"
        size = len(_encoded(item, where))
        if "\0" in item or size > MAX_ARGUMENT:
            raise _bad(f"{where} holds a NUL or is longer than {MAX_ARGUMENT} bytes.", where)
        total += size + 1
    total += sum(len(_encoded(f"{k}={v}", "env")) + 1 for k, v in spec.env.items())
    if total > MAX_ARGUMENTS:
        raise _bad(
            f"Arguments and environment are {total} bytes; at most {MAX_ARGUMENTS} can be passed.", "argv"
        )


def _check_env(env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not _NAME.match(name):
            raise _bad(f"{name[:80]!r} is not a name of an environment variable.", "env")
        if "\0" in value or len(_encoded(value, f"env.{name}")) + len(name) + 1 > MAX_ARGUMENT:
            raise _bad(f"The value of {name} holds a NUL or is too long.", f"env.{name}")


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _bad(f"{where} holds a lone surrogate.", where) from None


def _bad(message: str, where: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, message, field=where, fix="Correct the step's input.")
