"""The facade of agent runs where it could go wrong: what an approval without a digest is about, above all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.gateway.conftest import Gateway
from tests.support.gateways import gateway_process

EDIT = {"step_type": "edit_file", "input": {"path": "a.txt", "new_content": "b\n"}}


def made(gateway: Gateway, *steps: dict[str, Any]) -> tuple[str, Path]:
    """A run's path in the API, and its directory."""
    place = gateway.up.project(a__txt="a\n")
    body = {"goal": "test", "workspace_path": str(place)}
    path = f"/v1/agent-runs/{gateway.post('/v1/agent-runs', body, 201)['id']}"
    for step in steps:
        gateway.post(f"{path}/steps", step, 201)
    return path, place


def test_a_directory_is_one_workspace_for_all_its_runs(gateway: Gateway) -> None:
    path, place = made(gateway)
    first = gateway.get(path)
    again = gateway.post("/v1/agent-runs", {"goal": "again", "workspace_path": f"{place}/"}, 201)
    assert again["workspace_id"] == first["workspace_id"]
    inside = place / "inside"
    inside.mkdir()
    problem = gateway.post("/v1/agent-runs", {"goal": "x", "workspace_path": str(inside)}, 409)
    assert problem["reason"] == "WORKSPACE_EXISTS"


def test_what_was_not_shown_is_not_approved(gateway: Gateway, tmp_path: Path) -> None:
    """Made to wait by the full API: the facade has shown it to nobody."""
    path, place = made(gateway, EDIT)
    run = path.rpartition("/")[2]
    gateway.post(f"/v1/runs/{run}:executeNextStep", {})
    problem = gateway.post(f"{path}/steps/1/approve", {}, 400)
    assert (problem["reason"], problem["field"]) == ("APPROVAL_DIGEST_MISMATCH", "digest")
    assert (place / "a.txt").read_text() == "a\n"
    shown = gateway.get(path)["steps"][0]
    assert gateway.post(f"{path}/steps/1/approve")["digest"] == shown["digest"]
    assert (place / "a.txt").read_text() == "b\n"


def test_a_preview_that_was_replaced_since_is_not_approved(gateway: Gateway) -> None:
    path, place = made(gateway, EDIT)
    old = gateway.post(f"{path}/execute")["step"]
    edited = {
        "edit": {"input": {"editFile": {"path": "a.txt", "newContent": "evil\n"}}},
        "digest": old["digest"],
    }
    gateway.post(f"/v1/approvals/{old['approval_id']}:decide", {"decision": edited})
    run = path.rpartition("/")[2]
    gateway.http.get(f"/v1/runs/{run}")
    waiting = gateway.post(f"{path}/execute", None)
    if waiting["step"]["digest"] == old["digest"]:
        pytest.fail("the preview was not replaced")
    problem = gateway.post(f"{path}/steps/1/approve", {"digest": old["digest"]}, 400)
    assert problem["reason"] == "APPROVAL_DIGEST_MISMATCH"
    assert (place / "a.txt").read_text() == "a\n"


async def test_another_gateway_has_shown_nothing(gateway: Gateway, tmp_path: Path) -> None:
    """What was shown is known to the process that showed it; a digest works everywhere."""
    path, place = made(gateway, EDIT)
    shown = gateway.post(f"{path}/execute")["step"]
    async with (
        gateway_process(gateway.up, tmp_path) as (_, address),
        httpx.AsyncClient(
            base_url=f"http://{address}", headers=dict(gateway.http.headers), timeout=60
        ) as other,
    ):
        answer = await other.post(f"{path}/steps/1/approve")
        assert (answer.status_code, answer.json()["reason"]) == (400, "APPROVAL_DIGEST_MISMATCH")
        answer = await other.post(f"{path}/steps/1/approve", json={"digest": shown["digest"]})
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert (place / "a.txt").read_text() == "b\n"


def test_nothing_is_approved_twice_or_early(gateway: Gateway) -> None:
    path, _ = made(gateway, EDIT)
    assert gateway.post(f"{path}/steps/1/approve", {}, 400)["reason"] == "STEP_WRONG_STATE"
    gateway.post(f"{path}/execute")
    gateway.post(f"{path}/steps/step-1/approve")
    problem = gateway.post(f"{path}/steps/step-1/approve", {}, 400)
    assert (problem["reason"], problem["metadata"]["current"]) == ("STEP_WRONG_STATE", "succeeded")


def test_a_loop_of_the_api_before_reaches_the_end(gateway: Gateway) -> None:
    """Execute, approve where asked, until everything is complete."""
    command = {
        "step_type": "run_command",
        "input": {"command": "cat a.txt > c.txt; exit 0", "working_dir": ""},
    }
    patch = {"path": "a.txt", "patch": "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-b\n+c\n"}
    path, place = made(gateway, EDIT, command, {"step_type": "edit_file", "input": patch})
    for _ in range(10):
        done = gateway.post(f"{path}/execute")
        if done["all_complete"]:
            break
        if done["awaiting_approval"]:
            gateway.post(f"{path}/steps/{done['step']['id']}/approve")
    assert done["all_complete"]
    assert ((place / "a.txt").read_text(), (place / "c.txt").read_text()) == ("c\n", "b\n")
    assert {step["status"] for step in gateway.get(path)["steps"]} == {"succeeded"}


def test_a_failure_is_told(gateway: Gateway) -> None:
    path, _ = made(gateway, {"step_type": "read_file", "input": {"path": "none.txt"}})
    done = gateway.post(f"{path}/execute")
    assert (done["status"], done["step"]["status"]) == ("failed", "failed")
    assert "none.txt" in done["step"]["error"]
    assert gateway.get(path)["error"]


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        ({"step_type": "dance", "input": {}}, "STEP_KIND_UNKNOWN", "step_type"),
        ({"step_type": "read_file", "input": {"nope": 1}}, "INVALID_ARGUMENT", "input.nope"),
        ({"step_type": "read_file", "input": {"path": 1}}, "INVALID_ARGUMENT", "input.path"),
        ({"step_type": "read_file", "input": []}, "INVALID_ARGUMENT", "input"),
        ({"step_type": "read_file"}, "VALIDATION_FAILED", None),
        ({"input": {"path": "a"}}, "VALIDATION_FAILED", None),
        ({"step_type": "read_file", "input": {"path": "a"}, "gate": "NONE"}, "INVALID_ARGUMENT", "gate"),
    ],
)
def test_a_step_that_is_none_is_refused(gateway: Gateway, body: Any, reason: str, field: str | None) -> None:
    path, _ = made(gateway)
    problem = gateway.post(f"{path}/steps", body, 400)
    assert problem["reason"] == reason, problem
    assert problem.get("field") == field


def test_labels_are_the_runs_and_bounded(gateway: Gateway) -> None:
    directory = str(gateway.up.project(a__txt="a"))
    body = {"goal": "labelled", "workspace_path": directory, "labels": {"team": "a"}}
    run = gateway.post("/v1/agent-runs", body, 201)
    assert run["labels"] == gateway.get(f"/v1/runs/{run['id']}")["run"]["labels"] == {"team": "a"}
    for labels in ({"": "a"}, {"a": "x" * 257}, {f"k{n}": "" for n in range(51)}):
        assert (
            gateway.post("/v1/agent-runs", {**body, "labels": labels}, 400)["reason"] == "VALIDATION_FAILED"
        )
    assert gateway.post("/v1/agent-runs", {**body, "labels": ["a"]}, 400)["field"] == "labels"


def test_a_plan_can_be_added_to_a_run(gateway: Gateway) -> None:
    path, _ = made(gateway)
    run = path.rpartition("/")[2]
    body = {"goal": "Say hello", "auto_add_steps": True}
    assert gateway.post("/v1/plan", body, 400)["field"] == "run_id"
    planned = gateway.post("/v1/plan", {**body, "run_id": run})
    assert planned["run_id"] == run
    steps = gateway.get(path)["steps"]
    assert [step["step_type"] for step in steps] == [step["step_type"] for step in planned["steps"]]
    cost = gateway.get(f"{path}/cost")
    assert cost["steps"][0]["step_id"] == "plan"
    assert cost["total_tokens"]["prompt"] > 0
