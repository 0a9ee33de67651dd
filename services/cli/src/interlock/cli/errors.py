"""Errors as people see them, and the exit codes scripts see."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from interlock.cli.safe import escape

if TYPE_CHECKING:
    from interlock.common.errors import InterlockError

OK, FAILED, USAGE, WAITING, REJECTED, NOT_FOUND, DENIED, UNAVAILABLE = range(8)
TIMEOUT, INTERRUPTED = 124, 130

_BY_CODE = {
    "INVALID_ARGUMENT": USAGE,
    "OUT_OF_RANGE": USAGE,
    "NOT_FOUND": NOT_FOUND,
    "PERMISSION_DENIED": DENIED,
    "UNAUTHENTICATED": DENIED,
    "UNAVAILABLE": UNAVAILABLE,
    "DEADLINE_EXCEEDED": TIMEOUT,
}
# A plan file that is wrong is wrong usage, whatever status the rpc would have.
_BY_REASON = {"RUN_EMPTY_PLAN": USAGE, "RUN_TOO_MANY_STEPS": USAGE}
_BORING = frozenset({"grpc_code"})


def exit_code(error: InterlockError) -> int:
    """The exit code of an error; FAILED where no special one is defined."""
    return _BY_REASON.get(error.reason.value) or _BY_CODE.get(error.code, FAILED)


def error_lines(error: InterlockError) -> list[str]:
    """Message, field, what to do, details and reason, one a line, safe for a terminal."""
    lines = [f"Error: {error.message}"]
    if error.field:
        lines.append(f"  field:  {error.field}")
    lines += [f"  field:  {each.field}: {each.description}" for each in error.violations]
    if error.fix:
        lines.append(f"  do:     {error.fix}")
    details = ", ".join(
        f"{key}={value}" for key, value in sorted(error.metadata.items()) if key not in _BORING
    )
    if details:
        lines.append(f"  detail: {details}")
    lines.append(f"  reason: {error.reason.value}")
    return [escape(line) for line in lines]


def print_error(error: InterlockError) -> None:
    """Write an error to standard error."""
    print("\n".join(error_lines(error)), file=sys.stderr)


def print_fault(error: Exception) -> None:
    """Write a defect of this program to standard error: never a traceback."""
    print(
        f"Error: {escape(type(error).__name__)}: {escape(str(error))[:2000]}\n"
        "  do:     This is a fault of interlock itself. Run the command again with INTERLOCK_DEBUG=1 for its "
        "traceback.\n  reason: INTERNAL",
        file=sys.stderr,
    )
