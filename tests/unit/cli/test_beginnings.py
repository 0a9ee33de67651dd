"""Ids by their beginning: the only one, several, none, and what is left to the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from interlock.cli.beginnings import find_run, whole_workspace_id
from interlock.client import Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.run_pb2 import Run
from interlock.v1.workspace_pb2 import Workspace

DIGITS = ["01kb0000000000000000000a01", "01kb0000000000000000000a02", *(f"01kc{n:022}" for n in range(9))]


class Known:
    """A client that knows some runs and workspaces, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def list_runs(self, *, prefix: str, limit: int) -> list[Run]:
        self.asked += 1
        return [Run(run_id=f"run-{d}") for d in DIGITS if f"run-{d}".startswith(prefix)][:limit]

    async def list_workspaces(self) -> AsyncIterator[Workspace]:
        self.asked += 1
        for digits in DIGITS:
            yield Workspace(workspace_id=f"ws-{digits}")


FIND: dict[str, Any] = {"run": find_run, "ws": whole_workspace_id}


@pytest.mark.parametrize("kind", FIND)
async def test_the_only_one_that_begins_so(kind: str) -> None:
    client = Known()
    for text in ("01kb0000000000000000000a02"[:26], f"{DIGITS[2]}"):
        assert await FIND[kind](cast(Client, client), f"{kind}-{text}") == f"{kind}-{text}"
    assert client.asked == 0, "a whole id is not looked up"
    client = Known()
    mine = f"01kd{7:022}"
    DIGITS.append(mine)
    try:
        for size in (4, 10, 25):
            assert await FIND[kind](cast(Client, client), f"{kind}-{mine[:size]}") == f"{kind}-{mine}"
    finally:
        DIGITS.remove(mine)


@pytest.mark.parametrize(("kind", "what"), [("run", "run"), ("ws", "workspace")])
async def test_several_are_named_up_to_a_bound(kind: str, what: str) -> None:
    with pytest.raises(InterlockError) as few:
        await FIND[kind](cast(Client, Known()), f"{kind}-01kb")
    assert few.value.reason is Reason.INVALID_ARGUMENT
    assert few.value.field == what
    assert str(few.value).endswith(f": {kind}-{DIGITS[0]}, {kind}-{DIGITS[1]}.")
    assert f"`interlock {what} list`" in few.value.fix
    with pytest.raises(InterlockError, match="and more") as many:
        await FIND[kind](cast(Client, Known()), f"{kind}-01kc0")
    assert len(many.value.metadata["candidates"].split(",")) == 5


@pytest.mark.parametrize(
    ("kind", "reason"), [("run", Reason.RUN_NOT_FOUND), ("ws", Reason.WORKSPACE_NOT_FOUND)]
)
async def test_nothing_begins_so(kind: str, reason: Reason) -> None:
    with pytest.raises(InterlockError, match="begins with") as caught:
        await FIND[kind](cast(Client, Known()), f"{kind}-01kz")
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "text", ["", "run-", "run-01k", "run-01KB", "01kb", "apr-01kb", "run-01k%", "run-" + "0" * 40]
)
async def test_what_is_no_beginning_is_left_to_the_service(text: str) -> None:
    client = Known()
    assert await find_run(cast(Client, client), text) == text
    assert client.asked == 0
