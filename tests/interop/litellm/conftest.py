"""One proxy before a scripted server and before the real local model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.background import in_background
from tests.support.litellm import Upstream, litellm
from tests.support.models import KEY, MODEL, ScriptedServer, scripted

from interlock.planner.gateways.local import MODEL as LOCAL
from interlock.planner.gateways.local_process import LocalProcess, LocalSettings, find_weights


@dataclass(frozen=True)
class Proxy:
    """The proxy's address, and the scripted server behind it."""

    url: str
    server: ScriptedServer


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    local = LocalProcess.start(LocalSettings(find_weights()))
    try:
        with in_background(scripted) as (server, _):
            upstreams = {
                "scripted": Upstream(f"{server.url}/v1", MODEL, KEY),
                "local": Upstream(f"{local.url}/v1", LOCAL, local.key),
            }
            with litellm(tmp_path_factory.mktemp("litellm"), upstreams) as url:
                yield Proxy(url, server)
    finally:
        local.stop()
