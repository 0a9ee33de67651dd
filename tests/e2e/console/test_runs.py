"""Runs in the console: the timeline, live output, undo and fork."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.e2e.console.test_deciding import ended, started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

FREE = {"policy": {"stepsMayWeaken": True}}


def step(kind: str, gate: str = "GATE_NONE", /, **given: object) -> dict[str, object]:
    return {"input": {kind: given}, "gate": gate}


async def test_the_timeline_says_what_happened_and_undoes_it(
    gateway: Gateway, console: Console, goal: str
) -> None:
    edit = step("editFile", path="b.txt", newContent="new\n")
    command = step("runCommand", command="printf '\\033[31mred\\033[0m\\n'; echo more >> a.txt; exit 3")
    command["input"]["runCommand"]["allowedExitCodes"] = [3]  # type: ignore[index]
    run, directory = started(gateway, goal, edit, command, **FREE)
    ended(gateway, run, "COMPLETED")
    await console.page.keyboard.press("g")
    await console.page.get_by_role("searchbox").fill(goal)
    await console.page.get_by_role("link", name=goal).click()
    line = console.page.get_by_role("listitem").filter(has_text="echo more")
    await expect(line).to_contain_text("exit 3 · 1 path")
    await line.locator("summary").first.click()
    await expect(line.locator(".output .ansi.red")).to_have_text("red")
    await expect(line.locator("td.code.new")).to_have_text("added: +more")
    await line.get_by_role("button", name="Undo this step").click()
    dialog = console.page.get_by_role("dialog", name="Undo step 2")
    await expect(dialog.locator("td.code.old")).to_have_text("removed: −more")
    await console.keep("undo")
    assert (directory / "a.txt").read_text() == "a\nmore\n"
    await dialog.get_by_role("button", name="Undo").click()
    await expect(line).to_contain_text("undone")
    assert (directory / "a.txt").read_text() == "a\n"
    await console.page.get_by_role("button", name="Undo the whole run").click()
    dialog = console.page.get_by_role("dialog", name="Undo the whole run")
    await expect(dialog).to_contain_text("b.txt")
    await dialog.get_by_role("button", name="Undo").click()
    await expect(dialog).to_have_count(0)
    assert not (directory / "b.txt").exists()


async def test_what_cannot_be_undone_says_why(gateway: Gateway, console: Console, goal: str) -> None:
    run, directory = started(gateway, goal, step("editFile", path="a.txt", newContent="b\n"), **FREE)
    ended(gateway, run, "COMPLETED")
    (directory / "a.txt").write_text("somebody's\n")
    await console.page.goto(f"{console.url}/#/runs/{run}/step-1")
    await console.page.get_by_role("button", name="Undo this step").click()
    dialog = console.page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("a.txt")
    await expect(dialog.get_by_role("button", name="Undo")).to_be_disabled()
    await dialog.get_by_role("button", name="Cancel").click()
    assert (directory / "a.txt").read_text() == "somebody's\n"


async def test_a_fork_begins_where_the_step_ended(gateway: Gateway, console: Console, goal: str) -> None:
    edits = [step("editFile", path="a.txt", newContent=f"{n}\n") for n in (1, 2)]
    run, _ = started(gateway, goal, *edits, **FREE)
    ended(gateway, run, "COMPLETED")
    await console.page.goto(f"{console.url}/#/runs/{run}/step-1")
    await console.page.get_by_role("button", name="Fork from here").first.click()
    dialog = console.page.get_by_role("dialog", name="Fork after step 1")
    await dialog.get_by_role("button", name="Fork").click()
    await expect(console.page.locator(".run-head")).to_contain_text(f"{run} after step 1")
    states = console.page.locator(".timeline .state")
    await expect(states).to_have_text(["succeeded", "pending"])
    await expect(console.page.locator(".timeline li").first).to_contain_text("inherited")
    await console.page.get_by_role("button", name="Start").click()
    await expect(states).to_have_text(["succeeded", "succeeded"])
    await expect(console.page.locator(".run-head .state")).to_have_text("completed")


async def test_output_is_shown_while_the_step_runs(gateway: Gateway, console: Console, goal: str) -> None:
    """The command ends only when the page cancels its run."""
    wait = "printf '\\033[32mfirst\\033[0m line\\n'; sleep 600"
    run, _ = started(gateway, goal, step("runCommand", command=wait), **FREE)
    await console.page.goto(f"{console.url}/#/runs/{run}/step-1")
    live = console.page.locator(".output.live pre")
    await expect(live).to_have_text("first line")
    await expect(live.locator(".ansi.green")).to_have_text("first")
    await console.keep("live")
    await console.page.get_by_role("button", name="Cancel run").click()
    await expect(console.page.locator(".run-head .state")).to_have_text("cancelled")
