"""Decisions that come before their question, over HTTP and by command: kept, and given about exactly that digest.

The digests are computed here from the documents that docs/effect-digest.md describes, as a program would that decides
ahead.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

from tests.e2e.gateway.conftest import Gateway
from tests.support.installation import INTERLOCK, wait_until

from interlock.common.digests import digest_json

CONTENT = b"b\n"
EDIT = {"editFile": {"path": "a.txt", "newContent": CONTENT.decode()}}


def shown(gateway: Gateway, workspace: str) -> dict[str, Any]:
    """What the same edit came to in a run that was turned down: the trees follow from the contents alone."""
    run = planned(gateway, workspace, start=True)
    found = wait_until(lambda: gateway.get("/v1/approvals", **{"filter.run_id": run}).get("approvals"))
    step = gateway.get(f"/v1/runs/{run}")["run"]["steps"][0]
    reject = {"decision": {"reject": {}, "digest": found[0]["digest"]}}
    gateway.post(f"/v1/approvals/{found[0]['approvalId']}:decide", reject)
    effect: dict[str, Any] = {**step["effect"], "asked": digest_of(run, workspace, step["effect"])}
    assert effect["asked"] == found[0]["digest"]
    return effect


def planned(gateway: Gateway, workspace: str, *, start: bool = False) -> str:
    body = {"goal": "ahead", "workspaceId": workspace, "start": start, "steps": [{"input": EDIT}]}
    return str(gateway.post("/v1/runs", body)["run"]["runId"])


def digest_of(run: str, workspace: str, like: dict[str, Any]) -> str:
    """The effect digest of the edit as step 1 of a run, on the tree and with the result that it had before."""
    request = {
        "run": run,
        "step": 1,
        "attempt": 1,
        "workspace": workspace,
        "kind": "edit_file",
        "input": {
            "path": "a.txt",
            "new_content": {
                "bytes": len(CONTENT),
                "digest": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
            },
        },
        "base_tree": like["baseTree"],
        "argv": [],
        "environment": None,
        "limits": None,
        "sandbox": None,
    }
    effect = {
        "request": digest_json(request, "interlock.executor.request.v1"),
        "result_tree": like["resultTree"],
        "exit_code": None,
        "signal": 0,
        "streams": {},
        "failure": "",
    }
    return digest_json(effect, "interlock.executor.effect.v1")


def ended(gateway: Gateway, run: str) -> dict[str, Any]:
    """The run when nothing of it waits or works any more."""
    over = ("RUN_STATE_COMPLETED", "RUN_STATE_FAILED")
    return dict(wait_until(lambda: (it := gateway.get(f"/v1/runs/{run}")["run"])["state"] in over and it))


def command(gateway: Gateway, *line: str, code: int = 0) -> Any:
    done = subprocess.run(
        [*INTERLOCK, "approvals", "ahead", *line, "-o", "json"],
        env=gateway.up.env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_a_decision_over_http_before_its_question(gateway: Gateway) -> None:
    workspace = gateway.workspace(a__txt="a\n")
    like = shown(gateway, workspace)
    run = planned(gateway, workspace)
    digest = digest_of(run, workspace, like)
    route = f"/v1/runs/{run}/steps/1:decide"
    decision = {"decision": {"approve": {}, "digest": digest, "comment": "as computed", "channel": "http"}}
    kept = gateway.post(route, decision)["approval"]
    assert kept["keptUntil"]
    assert (kept["runId"], kept["step"]) == (run, 1)
    twice = gateway.post(route, decision, status=400)
    assert twice["reason"] == "APPROVAL_ALREADY_VOTED"
    edit = {"decision": {"edit": {"input": EDIT}, "digest": digest}}
    assert gateway.post(route, edit, status=400)["field"] == "decision"
    assert gateway.post(f"/v1/runs/{run}/steps/7:decide", decision, status=404)["reason"] == "STEP_NOT_FOUND"
    gateway.post(f"/v1/runs/{run}:start", {})
    over = ended(gateway, run)
    assert over["state"] == "RUN_STATE_COMPLETED"
    approval = gateway.get(f"/v1/approvals/{over['steps'][0]['approvalId']}")["approval"]
    given = approval["decision"]
    assert (given["digest"], given["comment"], given["channel"]) == (digest, "as computed", "http")
    assert gateway.get(f"/v1/workspaces/{workspace}/files:read", path="a.txt")["data"] == "Ygo="


def test_the_command_keeps_one_and_another_digest_asks_people(gateway: Gateway) -> None:
    workspace = gateway.workspace(a__txt="a\n")
    like = shown(gateway, workspace)
    refused, asked = planned(gateway, workspace), planned(gateway, workspace)
    answer = command(
        gateway, refused, "1", "reject", "--digest", digest_of(refused, workspace, like), "-m", "not today"
    )
    assert answer["keptUntil"]
    command(gateway, asked, "1", "approve", "--digest", digest_of(refused, workspace, like))
    assert "cannot be decided ahead" in command(
        gateway, asked, "1", "edit", "--digest", like["asked"], code=2
    )
    gateway.post(f"/v1/runs/{refused}:start", {})
    step = ended(gateway, refused)["steps"][0]
    assert step["state"] == "STEP_STATE_REJECTED"
    approval = gateway.get(f"/v1/approvals/{step['approvalId']}")["approval"]
    assert (approval["decision"]["comment"], approval["decision"]["channel"]) == ("not today", "cli")
    gateway.post(f"/v1/runs/{asked}:start", {})
    found = wait_until(lambda: gateway.get("/v1/approvals", **{"filter.run_id": asked}).get("approvals"))
    assert found[0]["state"] == "APPROVAL_STATE_PENDING", "that one was approved of another run"
    decide = {"decision": {"reject": {}, "digest": found[0]["digest"]}}
    gateway.post(f"/v1/approvals/{found[0]['approvalId']}:decide", decide)
