"""Ids as people give them: whole, or the beginning, where only one thing's id begins so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from interlock.client import Client
from interlock.common.errors import InterlockError, Reason

_SHOWN: Final = 5
_BEGINNING: Final = re.compile(r"[0-9a-z]{4,25}")
"""What may stand for the 26 characters of an id. Fewer could hit what happens to be the only one there is."""


async def find_run(client: Client, text: str) -> str:
    """The id of the only run whose id begins so; what is no beginning of one is left to the service to refuse.

    Raises INVALID_ARGUMENT, naming candidates, when several do; RUN_NOT_FOUND.
    """
    if not _is_beginning(text, "run-"):
        return text
    found = await client.list_runs(prefix=text, limit=_SHOWN + 1)
    return _only([run.run_id for run in found], text, "run", Reason.RUN_NOT_FOUND)


async def whole_workspace_id(client: Client, text: str) -> str:
    """The same for workspaces. Raises INVALID_ARGUMENT and WORKSPACE_NOT_FOUND."""
    if not _is_beginning(text, "ws-"):
        return text
    found = []
    async for each in client.list_workspaces():
        if each.workspace_id.startswith(text):
            found.append(each.workspace_id)
            if len(found) > _SHOWN:
                break
    return _only(found, text, "workspace", Reason.WORKSPACE_NOT_FOUND)


def _is_beginning(text: str, kind: str) -> bool:
    return text.startswith(kind) and _BEGINNING.fullmatch(text.removeprefix(kind)) is not None


def _only(found: Sequence[str], text: str, what: str, missing: Reason) -> str:
    if text in found:
        return text
    if not found:
        raise InterlockError(missing, f"No {what}'s id begins with {text}.", field=what)
    listed = ", ".join(found[:_SHOWN]) + (" and more" if len(found) > _SHOWN else "")
    if len(found) > 1:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{text} may be any of several {what}s: {listed}.",
            field=what,
            fix=f"Give more of its id; `interlock {what} list` shows all.",
            metadata={"candidates": ",".join(found[:_SHOWN])},
        )
    return found[0]
