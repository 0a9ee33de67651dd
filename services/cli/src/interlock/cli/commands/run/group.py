"""The group `interlock run`, and what most of its commands do: connect, and find the run by its id's beginning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from interlock.cli.command import group
from interlock.cli.settings import Settings

if TYPE_CHECKING:
    from interlock.client import Client

app = group("Execute, start, watch and steer runs.")


@asynccontextmanager
async def one_run(settings: Settings, beginning: str) -> AsyncIterator[tuple[Client, str]]:
    """A connection, and the whole id of the run whose id begins so. Raises RUN_NOT_FOUND, INVALID_ARGUMENT."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect

    async with connect(settings) as client:
        yield client, await find_run(client, beginning)
