"""The gateway of the installation that a worker's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.envoy import ENVOY, envoy
from tests.support.installation import Installation


@dataclass
class Gateway:
    """Where it is, what opens it, and an HTTP client that does."""

    up: Installation
    url: str
    token: str
    http: httpx.Client

    def workspace(self, **files: str) -> str:
        """The id of a new workspace."""
        source = {"directory": {"path": str(self.up.project(**files))}}
        return str(self.post("/v1/workspaces", {"source": source})["workspace"]["workspaceId"])

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """What a POST answers; its status must be this one."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, /, status: int = 200, **query: Any) -> Any:
        """What a GET answers; its status must be this one."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def run(self, *steps: dict[str, Any], **more: Any) -> str:
        """The id of a started run on a workspace of its own."""
        body = {"goal": "test", "workspaceId": self.workspace(a__txt="a\n"), "start": True, **more}
        body["steps"] = [{"input": step} for step in steps]
        return str(self.post("/v1/runs", body)["run"]["runId"])


def token_of(up: Installation) -> str:
    """The installation's token."""
    return (Path(up.home) / "data" / "token").read_text().strip()


@pytest.fixture(scope="session")
def front(up: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL that the tests ask."""
    if not ENVOY:
        yield f"http://{up.endpoints['gateway']}"
        return
    with envoy(tmp_path_factory.mktemp("envoy"), up.endpoints["gateway"]) as address:
        yield f"https://{address}"


@pytest.fixture(scope="session")
def gateway(up: Installation, front: str) -> Iterator[Gateway]:
    """The shared installation's; behind Envoy, where ENVOY names its program."""
    url, token = front, token_of(up)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        yield Gateway(up, url, token, http)


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """An asynchronous client with the token."""
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=dict(gateway.http.headers), timeout=60
    ) as client:
        yield client
