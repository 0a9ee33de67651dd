"""Issued tokens through the gateway: it sends them on, and the services say what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.e2e.gateway.conftest import Gateway


class Callers:
    """A client for each role, with a token issued for it by HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._opened: dict[str, httpx.Client] = {}

    def __getitem__(self, role: str) -> httpx.Client:
        if role not in self._opened:
            body = {"subject": f"{role}-of-tests", "roles": [f"ROLE_{role.upper()}"]}
            token = self._gateway.post("/v1/tokens", body)["text"]
            headers = {"authorization": f"Bearer {token}"}
            self._opened[role] = httpx.Client(base_url=self._gateway.url, headers=headers, timeout=60)
        return self._opened[role]

    def close(self) -> None:
        for each in self._opened.values():
            each.close()


@pytest.fixture(scope="module")
def callers(gateway: Gateway) -> Iterator[Callers]:
    found = Callers(gateway)
    yield found
    found.close()


def waiting(gateway: Gateway, client: httpx.Client) -> tuple[str, dict[str, Any]]:
    """A run of the facade whose first step waits, made with this token."""
    place = gateway.up.project(a__txt="a\n")
    made = client.post("/v1/agent-runs", json={"goal": "roles", "workspace_path": str(place)})
    assert made.status_code == 201, made.text
    path = f"/v1/agent-runs/{made.json()['id']}"
    step = {"step_type": "edit_file", "input": {"path": "a.txt", "new_content": "b\n"}}
    assert client.post(f"{path}/steps", json=step).status_code == 201
    return path, client.post(f"{path}/execute").json()


def test_who_one_is(gateway: Gateway, callers: Callers) -> None:
    assert "viewer-of-tests" in callers["viewer"].get("/v1/whoami").text


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_approve_does_not(gateway: Gateway, callers: Callers, role: str) -> None:
    path, shown = waiting(gateway, callers["operator"])
    digest = {"digest": shown["step"]["digest"]}
    answer = callers[role].post(f"{path}/steps/1/approve", json=digest)
    assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert callers["viewer"].get(path).json()["steps"][0]["status"] == "awaiting_approval"


def test_an_approver_approves_what_it_saw_itself(gateway: Gateway, callers: Callers) -> None:
    """What an operator was shown was not shown to the approver."""
    path, _ = waiting(gateway, callers["operator"])
    blind = callers["approver"].post(f"{path}/steps/1/approve")
    assert (blind.status_code, blind.json()["reason"]) == (400, "APPROVAL_DIGEST_MISMATCH")
    shown = callers["approver"].get(path).json()["steps"][0]
    done = callers["approver"].post(f"{path}/steps/1/approve").json()
    assert (done["status"], done["digest"]) == ("succeeded", shown["digest"])
    record = gateway.get(f"/v1/approvals/{done['approval_id']}")["approval"]["decision"]
    assert (record["subject"], record["channel"]) == ("approver-of-tests", "rest")


def test_a_viewer_changes_nothing(gateway: Gateway, callers: Callers) -> None:
    refused = callers["viewer"].post("/v1/agent-runs", json={"goal": "x", "workspace_path": "/tmp/x"})
    assert (refused.status_code, refused.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert callers["viewer"].post("/v1/runs/run-none:start", json={}).status_code == 403
    assert callers["viewer"].get("/v1/runs").status_code == 200


def test_a_revoked_token_opens_nothing(gateway: Gateway) -> None:
    made = gateway.post("/v1/tokens", {"subject": "gone", "roles": ["ROLE_VIEWER"]})
    headers = {"authorization": f"Bearer {made['text']}"}
    assert httpx.get(f"{gateway.url}/v1/runs", headers=headers).status_code == 200
    gateway.post(f"/v1/tokens/{made['token']['tokenId']}:revoke", {})
    for _ in range(400):
        answer = httpx.get(f"{gateway.url}/v1/runs", headers=headers)
        if answer.status_code == 401:
            break
    assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")
