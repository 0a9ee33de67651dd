"""Tree ids as people give them: whole, or the first digits, as tables print them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from interlock.client import Client
from interlock.common.errors import InterlockError, Reason

MIN_DIGITS = 8
"""Fewer hex digits of a tree id are not looked up."""

_WHOLE = 64
_MOST_RUNS = 50
_SHOWN = 5
_DIGITS = re.compile(r"[0-9a-f]+")


async def find_tree(client: Client, workspace_id: str, text: str, field: str) -> str:
    """The whole id of a tree of the workspace that begins with these digits, `sha256:` before them or not.

    Looked for among the trees the workspace has been at, then those that steps of its newest runs prepared. A whole
    id is taken as it is, and nothing stays nothing. Raises INVALID_ARGUMENT when it is no such text or fits several
    trees, TREE_NOT_FOUND when it fits none.
    """
    digits = text.strip().lower().removeprefix("sha256:")
    if not text or (len(digits) == _WHOLE and _DIGITS.fullmatch(digits)):
        return f"sha256:{digits}" if text else ""
    if not (MIN_DIGITS <= len(digits) < _WHOLE and _DIGITS.fullmatch(digits)):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{text[:80]!r} is not a tree id.",
            field=field,
            fix=f"Give at least {MIN_DIGITS} of its hex digits, as `interlock workspace show` prints them.",
        )
    for trees in (_heads(client, workspace_id), _prepared(client, workspace_id)):
        found = sorted({tree async for tree in trees if tree.startswith(f"sha256:{digits}")})
        if len(found) > 1:
            raise _ambiguous(text, found, field)
        if found:
            return found[0]
    raise InterlockError(
        Reason.TREE_NOT_FOUND,
        f"No tree of {workspace_id} begins with {text}.",
        field=field,
        fix=f"`interlock workspace show {workspace_id}` lists the trees it has been at.",
    )


async def _heads(client: Client, workspace_id: str) -> AsyncIterator[str]:
    async for snapshot in client.every_snapshot(workspace_id):
        yield snapshot.tree


async def _prepared(client: Client, workspace_id: str) -> AsyncIterator[str]:
    for run in await client.list_runs(workspace_id=workspace_id, limit=_MOST_RUNS):
        async for step in client.list_steps(run.run_id):
            yield step.effect.base_tree
            yield step.effect.result_tree


def _ambiguous(text: str, found: list[str], field: str) -> InterlockError:
    listed = ", ".join(tree.removeprefix("sha256:")[:20] for tree in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{text} may be any of {len(found)} trees: {listed}{more}.",
        field=field,
        fix="Give more of its digits.",
    )
