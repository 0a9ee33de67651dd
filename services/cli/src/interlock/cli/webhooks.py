"""What `interlock webhook add` is given: filters and secrets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from interlock.cli.values import parse_enum, workspace_id
from interlock.client import Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.approval_pb2 import ApprovalFilter
from interlock.v1.decision_pb2 import ApprovalEventKind
from interlock.v1.step_pb2 import StepKind


async def chosen(client: Client, texts: Iterable[str]) -> tuple[ApprovalFilter, list[int]]:
    """The filter and the events that `KEY=VALUE` texts choose. Raises INVALID_ARGUMENT."""
    matching, events = ApprovalFilter(), []
    for text in texts:
        key, found, value = text.partition("=")
        if not found or not value:
            raise _bad(text)
        if key == "run":
            matching.run_id = value
        elif key == "workspace":
            matching.workspace_id = await workspace_id(client, value)
        elif key == "kind":
            matching.kinds.append(parse_enum(StepKind, value, "filter"))  # type: ignore[arg-type]
        elif key == "event":
            events.append(parse_enum(ApprovalEventKind, value, "filter"))
        elif key.startswith("label."):
            matching.labels[key.removeprefix("label.")] = value
        elif key.startswith("workspace-label."):
            matching.workspace_labels[key.removeprefix("workspace-label.")] = value
        else:
            raise _bad(text)
    return matching, events


def secret_of(source: str) -> str:
    """The secret in a file, in `env:NAME`, or on standard input (`-`); empty for no source."""
    if not source:
        return ""
    if source == "-":
        secret = sys.stdin.readline()
    elif source.startswith("env:"):
        secret = os.environ.get(source[4:], "")
    else:
        try:
            secret = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(source, type(error).__name__) from None
    if not secret.strip():
        raise _unreadable(source, "it is empty")
    return secret.strip()


def _unreadable(source: str, why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT, f"There is no secret in {source!r}: {why}.", field="secret-from"
    )


def _bad(text: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{text!r} is no filter.",
        field="filter",
        fix="Use run=, workspace=, kind=, event=, label.KEY= or workspace-label.KEY=, each with a value.",
    )
