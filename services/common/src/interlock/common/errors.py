"""The one exception type that crosses module and service boundaries.

    Exception
    └── InterlockError(reason, message)      every expected failure; safe to show to a caller

Anything else that escapes a handler is a defect: callers see INTERNAL and a request id, the log sees all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from interlock.common.advice import named
from interlock.common.reasons import TABLE, Reason, ReasonInfo

__all__ = ["DOMAIN", "InterlockError", "Reason", "ReasonInfo", "Violation"]

DOMAIN = "interlock.v1"
"""`google.rpc.ErrorInfo.domain` of every Interlock error."""


class Violation(NamedTuple):
    """One field that breaks a rule: its path (`steps[0].run_command.argv`) and what is wrong with it."""

    field: str
    description: str


class InterlockError(Exception):
    """An expected failure with a documented reason.

    `str(error)` is the message alone and is safe to show: no secrets, driver text or stack traces.

    Args:
        reason: why, from the documented list.
        message: one sentence for people, naming the thing it is about.
        field: path of the request field (or name of the variable) at fault, if there is one.
        fix: what to do; the reason's default when empty. In its commands (`interlock step retry RUN STEP`) names
            that stand for ids of the metadata are replaced by them.
        metadata: further machine-readable facts, such as `state` or `oldest_cursor`; short text only.
        violations: every broken rule, for VALIDATION_FAILED.
        retry_after: seconds a caller should wait before trying again, where that is known.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str = "",
        fix: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = Reason(reason)
        self.message = message
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})
        self.fix = named(fix or TABLE[self.reason].fix, self.metadata)
        self.violations: tuple[Violation, ...] = tuple(violations)
        self.retry_after = retry_after

    @property
    def info(self) -> ReasonInfo:
        """The table's entry for this error's reason."""
        return TABLE[self.reason]

    @property
    def code(self) -> str:
        """Name of the gRPC status code, for example `NOT_FOUND`."""
        return self.info.code

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.info.retryable

    def __repr__(self) -> str:
        return f"InterlockError({self.reason.value}, {self.message!r})"
