"""People decide in the console: what they see is what is decided about, and it takes effect once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console
from tests.support.installation import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

EDIT = {"editFile": {"path": "a.txt", "newContent": "b\n"}}


def started(gateway: Gateway, goal: str, *inputs: dict[str, Any], **more: Any) -> tuple[str, Path]:
    """A started run on a workspace of its own: its id, and the directory."""
    directory = gateway.up.project(a__txt="a\n")
    source = {"source": {"directory": {"path": str(directory)}}}
    workspace = gateway.post("/v1/workspaces", source)["workspace"]["workspaceId"]
    steps = [each if "input" in each else {"input": each} for each in inputs]
    body = {"goal": goal, "workspaceId": workspace, "start": True, "steps": steps, **more}
    return gateway.post("/v1/runs", body)["run"]["runId"], directory


def ended(gateway: Gateway, run: str, state: str) -> dict[str, Any]:
    """The run, once it is in this state."""

    def found() -> Any:
        now = gateway.get(f"/v1/runs/{run}")["run"]
        return now if now["state"] == f"RUN_STATE_{state}" else None

    return dict(wait_until(found, what=f"{run} is not {state}"))


def asked(gateway: Gateway, run: str, state: str = "PENDING") -> dict[str, Any]:
    """The run's approval in this state, once there is one."""
    query = {"filter.run_id": run, "states": f"APPROVAL_STATE_{state}"}
    return dict(wait_until(lambda: gateway.get("/v1/approvals", **query).get("approvals"))[0])


def decision(gateway: Gateway, run: str, step: int = 1) -> dict[str, Any]:
    """The last decision about a step, with the approval it answers."""
    approval = gateway.get(f"/v1/runs/{run}/steps/{step}")["step"]["approvalId"]
    return dict(gateway.get(f"/v1/approvals/{approval}")["approval"])


async def test_a_run_is_approved_to_its_end(gateway: Gateway, console: Console, goal: str) -> None:
    """Both steps arrive without a reload; what was shown is published."""
    command = {"runCommand": {"command": "printf '\\033[32mgreen\\033[0m text\\n'; echo more >> a.txt"}}
    run, directory = started(gateway, goal, EDIT, {"input": command, "gate": "GATE_EFFECT"})
    await console.page.get_by_role("searchbox").fill(goal)
    approval = await console.look_at(goal)
    await expect(approval.locator("td.code.old")).to_have_text("removed: −a")
    await expect(approval.locator("td.code.new")).to_have_text("added: +b")
    first = asked(gateway, run)["digest"]
    await expect(approval).to_contain_text(first)
    await console.keep("approve")
    await approval.get_by_label("Comment", exact=True).fill("fine")
    await console.button("Approve")
    await expect(console.card(goal)).to_contain_text("step 2")
    approval = await console.look_at(goal)
    await expect(approval.locator(".output .ansi.green")).to_have_text("green")
    await expect(approval.locator(".facts.strip")).to_contain_text("Exit code")
    await expect(approval.locator("td.code.new")).to_have_text("added: +more")
    await console.button("Approve")
    await expect(console.card(goal)).to_have_count(0)
    ended(gateway, run, "COMPLETED")
    assert (directory / "a.txt").read_text() == "b\nmore\n"
    found = decision(gateway, run)["decision"]
    assert (found["digest"], found["channel"], found["comment"]) == (first, "console", "fine")


async def test_a_rejection_ends_the_run_and_says_why(gateway: Gateway, console: Console, goal: str) -> None:
    run, directory = started(gateway, goal, EDIT)
    await console.look_at(goal)
    await console.button("Reject")
    dialog = console.page.get_by_role("dialog", name="Reject this step")
    await dialog.get_by_label("Comment", exact=True).fill("not <b>this</b> file")
    await console.keep("reject")
    await dialog.get_by_role("button", name="Reject").click()
    await expect(dialog).to_have_count(0)
    ended(gateway, run, "FAILED")
    assert decision(gateway, run)["decision"]["comment"] == "not <b>this</b> file"
    assert (directory / "a.txt").read_text() == "a\n"


async def test_skipping_and_rejecting_can_let_the_run_go_on(
    gateway: Gateway, console: Console, goal: str
) -> None:
    run, directory = started(gateway, goal, EDIT, EDIT)
    await console.look_at(goal)
    await console.button("Reject")
    dialog = console.page.get_by_role("dialog")
    await dialog.get_by_label("Go on without this step").check()
    await dialog.get_by_role("button", name="Reject").click()
    await expect(console.card(goal)).to_contain_text("step 2")
    await console.look_at(goal)
    await console.button("Skip")
    await console.page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    steps = ended(gateway, run, "COMPLETED")["steps"]
    assert [step["state"] for step in steps] == ["STEP_STATE_REJECTED", "STEP_STATE_SKIPPED"]
    assert (directory / "a.txt").read_text() == "a\n"


async def test_an_edit_asks_again_about_what_it_is_now(gateway: Gateway, console: Console, goal: str) -> None:
    run, directory = started(gateway, goal, EDIT)
    before = asked(gateway, run)
    await console.look_at(goal)
    await console.button("Edit")
    dialog = console.page.get_by_role("dialog", name="Edit this step")
    await expect(dialog.get_by_label("Content")).to_have_value("b\n")
    await dialog.get_by_label("Content").fill("edited\n")
    await console.keep("edit")
    await dialog.get_by_role("button", name="Edit and ask again").click()
    after = wait_until(lambda: asked(gateway, run)["digest"] != before["digest"] and asked(gateway, run))
    await console.page.goto(f"{console.url}/#/pending/{after['approvalId']}")
    approval = await console.shown(goal)
    await expect(approval.locator("td.code.new")).to_have_text("added: +edited")
    await console.button("Approve")
    ended(gateway, run, "COMPLETED")
    assert (directory / "a.txt").read_text() == "edited\n"
    assert before["state"] == "APPROVAL_STATE_PENDING"
    old = gateway.get(f"/v1/approvals/{before['approvalId']}")["approval"]
    assert old["state"] == "APPROVAL_STATE_EDITED"


async def test_what_somebody_else_decides_is_not_asked_any_more(
    gateway: Gateway, console: Console, goal: str
) -> None:
    run, _ = started(gateway, goal, EDIT)
    approval = await console.look_at(goal)
    await console.button("Reject")
    found = asked(gateway, run)
    answer = {"decision": {"approve": {}, "digest": found["digest"], "channel": "chat", "comment": "mine"}}
    gateway.post(f"/v1/approvals/{found['approvalId']}:decide", answer)
    article = console.page.locator("article.approval")
    await expect(article.locator(".banner")).to_contain_text("Approved by local (chat)")
    await expect(article.locator(".banner")).to_contain_text("mine")
    await expect(console.page.get_by_role("dialog")).to_have_count(0)
    await expect(console.page.get_by_role("button", name="Approve")).to_have_count(0)
    await expect(approval).to_have_count(0)
    await expect(console.card(goal)).to_have_count(0)
    await console.keep("somebody-else")


async def test_a_replaced_preview_is_shown_as_replaced(gateway: Gateway, console: Console, goal: str) -> None:
    """What was approved cannot be published any more; nobody has approved what would be now."""
    run, directory = started(gateway, goal, EDIT)
    await console.look_at(goal)
    (directory / "a.txt").write_text("somebody's\n")
    await console.button("Approve")
    await expect(console.card(goal)).to_contain_text("new preview")
    approval = await console.look_at(goal)
    changed = approval.get_by_role("region", name="What is new")
    await expect(changed).to_contain_text("a.txt")
    await console.keep("replaced")
    await changed.get_by_role("link", name="The earlier one").click()
    article = console.page.locator("article.approval")
    await expect(article.locator(".banner")).to_contain_text("this preview counts no more")
    await expect(console.page.get_by_role("group", name="Decision")).to_have_count(0)
    assert gateway.get(f"/v1/runs/{run}")["run"]["state"] == "RUN_STATE_AWAITING_APPROVAL"
    assert (directory / "a.txt").read_text() == "somebody's\n"


async def test_what_the_policy_decided_is_said(gateway: Gateway, console: Console, goal: str) -> None:
    """Before it is approved, and in the run's timeline afterwards."""
    when = 'observed.paths.anyMatch(["*.txt"])'
    rule = {
        "name": "texts",
        "effect": "RULE_EFFECT_REQUIRE",
        "when": when,
        "reason": "Texts <b>are</b> seen.",
    }
    run, _ = started(gateway, goal, EDIT, policy={"name": "house", "rules": [rule]})
    approval = await console.look_at(goal)
    ruling = approval.locator(".ruling")
    await expect(ruling).to_contain_text("somebody has to approve by what it did · house")
    await expect(ruling).to_contain_text("texts require (house) Texts <b>are</b> seen.")
    await console.keep("policy")
    await console.button("Approve")
    ended(gateway, run, "COMPLETED")
    await console.page.goto(f"{console.url}/#/runs/{run}/step-1")
    step = console.page.locator(".step > details[open]")
    await expect(step.locator(".ruling").filter(has_text="Texts <b>are</b> seen.")).to_be_visible()
    await expect(step).to_contain_text("Approved by local (console)")


async def test_more_like_it_is_approved_in_advance(gateway: Gateway, console: Console, goal: str) -> None:
    """Within the bounds nobody is asked; the first step outside asks, and says why."""
    inside = {"editFile": {"path": "a.txt", "newContent": "c\n"}}
    outside = {"editFile": {"path": "b.txt", "newContent": "b\n"}}
    run, directory = started(gateway, goal, EDIT, inside, outside)
    await console.look_at(goal)
    await console.button("More like it")
    dialog = console.page.get_by_role("dialog", name="Approve this, and what is like it")
    await expect(dialog.get_by_label("Paths")).to_have_value("a.txt")
    await console.keep("more-like-it")
    await dialog.get_by_role("button", name="Approve").click()
    await expect(console.card(goal)).to_contain_text("step 3")
    approval = await console.look_at(goal)
    await expect(approval.get_by_role("note")).to_contain_text("Not approved in advance")
    assert (directory / "a.txt").read_text() == "c\n"
    await console.page.goto(f"{console.url}/#/runs/{run}/step-2")
    await expect(console.page.locator(".step > details[open]")).to_contain_text("Approved in advance")
    await console.page.get_by_role("button", name="Take it back").click()
    await expect(console.page.locator(".run-head .stages")).to_contain_text("taken back by local")
    envelopes = gateway.get(f"/v1/runs/{run}")["run"]["envelopes"]
    assert [each["state"] for each in envelopes] == ["ENVELOPE_STATE_REVOKED"]


async def test_the_list_is_searched_and_filtered(gateway: Gateway, console: Console, goal: str) -> None:
    command = {"runCommand": {"argv": {"items": ["printf", "two\nlines"]}}}
    for name, each in (("edits", EDIT), ("commands", command)):
        started(gateway, f"{goal} {name}", each, labels={"team": goal.replace(" ", "-")})
    search = console.page.get_by_role("searchbox")
    kinds = console.page.get_by_label("Kind of step")
    cards = console.page.locator("section.list > .cards a.card")
    await search.fill(f"team={goal.replace(' ', '-')}")
    await expect(cards).to_have_count(2)
    await kinds.select_option("Commands")
    await expect(cards).to_contain_text([f"{goal} commands"])
    await search.fill(f"{goal} EDITS")
    await expect(cards).to_have_count(0)
    await expect(console.page.locator("section.list")).to_contain_text("None of what is pending matches.")
    await console.page.get_by_role("button", name="Show all").click()
    await expect(search).to_have_value("")
    await console.look_at(f"{goal} commands")
    await console.button("Edit")
    arguments = console.page.get_by_role("dialog").get_by_label("Arguments, as JSON")
    await expect(arguments).to_have_value('[\n "printf",\n "two\\nlines"\n]')
