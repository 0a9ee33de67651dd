"""What computing a step gives, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import Failure
from interlock.executor.sandbox.base import StreamOutput, TierReport, Usage
from interlock.executor.sandbox.network.grant import NetworkRecord
from interlock.executor.snapshots.diff import Diff

NO_PROCESS = TierReport("none", "", "")

FAILURES = frozenset(
    {
        Reason.PATH_NOT_FOUND,
        Reason.PATH_IS_DIRECTORY,
        Reason.PATH_NOT_REGULAR,
        Reason.PATH_OUTSIDE_WORKSPACE,
        Reason.FILE_TOO_LARGE,
        Reason.FILE_BINARY,
        Reason.PATCH_INVALID,
        Reason.PATCH_DOES_NOT_APPLY,
        Reason.INVALID_ARGUMENT,
        Reason.COMMAND_NOT_FOUND,
        Reason.EFFECT_NOT_PUBLISHABLE,
        Reason.WORKSPACE_LIMIT_EXCEEDED,
    }
)
"""Reasons that mean the step was tried and failed: data for the caller, not an error of the call."""


@dataclass(frozen=True)
class Outcome:
    """A computed effect. Trees are `sha256:…`; `streams` has stdout and stderr of a command, content of a file.

    `read_path` is the file that read_file read, at the end of all links.
    """

    base_tree: str
    result_tree: str
    argv: tuple[str, ...] = ()
    sandbox: TierReport = NO_PROCESS
    diff: Diff | None = None
    streams: Mapping[str, StreamOutput] = field(default_factory=dict)
    exit_code: int | None = None
    signal: int = 0
    usage: Usage | None = None
    failure: Failure | None = None
    network: NetworkRecord | None = None
    read_path: str = ""


def failure_of(error: InterlockError) -> Failure:
    """A failed step's reason from the error that says so."""
    return Failure(error.reason.value, error.message, error.field, error.fix, error.metadata)
