"""Gateways of their own on a running installation, and what their event streams say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.support.installation import Installation
from tests.support.processes import Child, python_module


@dataclass(frozen=True)
class Event:
    """One server-sent event: its id as it stood, its name, its data."""

    id: str
    name: str
    data: Any


@asynccontextmanager
async def gateway_process(
    up: Installation, place: Path, address: str = "127.0.0.1:0", **env: str
) -> AsyncIterator[tuple[Child, str]]:
    """Another gateway before the installation's services: the process, and its address once it takes requests."""
    number = len(list(place.glob("gateway*.log")))  # noqa: ASYNC240 (a local directory, once)
    ready = place / f"gateway{number}.ready"
    environment = {
        "INTERLOCK_DATA_DIR": str(up.home / "data"),
        **{f"INTERLOCK_{name.upper()}_ADDRESS": where for name, where in up.endpoints.items()},
        "INTERLOCK_GATEWAY_ADDRESS": address,
        **env,
    }
    log = place / f"gateway{number}.log"
    async with python_module(log, "interlock.gateway", "--ready-file", str(ready), env=environment) as child:
        yield child, await child.wait_for_file(ready)


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """A response's events, as the HTML standard reads them."""
    assert answer.headers["content-type"] == "text/event-stream"
    place, name, data = "", "message", ""
    async for line in answer.aiter_lines():
        if not line:
            if data:
                yield Event(place, name, json.loads(data))
            name, data = "message", ""
        elif line.startswith("id: "):
            place = line[4:]
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data += line[6:]
