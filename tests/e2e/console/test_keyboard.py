"""Everything about a pending step can be done by keyboard, and nothing by accident."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.e2e.console.test_deciding import EDIT, asked, ended, started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_from_the_list_to_the_decision(gateway: Gateway, console: Console, goal: str) -> None:
    runs = [started(gateway, f"{goal} {name}", EDIT)[0] for name in ("first", "second", "third")]
    for run in runs:
        asked(gateway, run)
    press = console.page.keyboard.press
    await press("/")
    await console.page.keyboard.type(goal)
    await expect(console.page.locator("section.list > .cards a.card")).to_have_count(3)
    await press("Escape")
    await press("j")
    await console.shown(f"{goal} first")
    await press("j")
    await console.shown(f"{goal} second")
    await press("k")
    await console.shown(f"{goal} first")
    await press("a")
    await console.shown(f"{goal} second")
    await press("r")
    dialog = console.page.get_by_role("dialog", name="Reject this step")
    await expect(dialog.get_by_label("Comment", exact=True)).to_be_focused()
    await console.page.keyboard.type("a j k are letters here")
    await press("Control+Enter")
    await expect(dialog).to_have_count(0)  # while it is open, letters are no keys
    await console.shown(f"{goal} third")
    await press("e")
    await expect(console.page.get_by_role("dialog", name="Edit this step")).to_be_visible()
    await press("Escape")
    await press("?")
    await expect(console.page.get_by_role("dialog", name="Keyboard")).to_contain_text("approve what is shown")
    await console.keep("help")
    await press("Escape")
    await expect(console.page.get_by_role("dialog")).to_have_count(0)
    states = [gateway.get(f"/v1/runs/{run}")["run"]["state"] for run in runs[1:]]
    assert states == ["RUN_STATE_FAILED", "RUN_STATE_AWAITING_APPROVAL"]
    ended(gateway, runs[0], "COMPLETED")


async def test_letters_are_typed_where_something_is_typed(
    gateway: Gateway, console: Console, goal: str
) -> None:
    """The comment `ares` approves, rejects, edits and skips nothing; nor does a key of the browser."""
    run, _ = started(gateway, goal, EDIT)
    approval = await console.look_at(goal)
    await approval.get_by_label("Comment", exact=True).focus()
    await console.page.keyboard.type("ares")
    await expect(approval.get_by_label("Comment", exact=True)).to_have_value("ares")
    await console.page.keyboard.press("Escape")
    await console.page.keyboard.press("Control+a")
    await expect(console.page.get_by_role("dialog")).to_have_count(0)
    assert asked(gateway, run)["state"] == "APPROVAL_STATE_PENDING"


async def test_the_focus_stays_in_a_dialog_and_comes_back(
    gateway: Gateway, console: Console, goal: str
) -> None:
    started(gateway, goal, EDIT)
    approval = await console.look_at(goal)
    reject = approval.get_by_role("button", name="Reject")
    await reject.focus()
    await console.page.keyboard.press("Enter")
    dialog = console.page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    for _ in range(12):
        await console.page.keyboard.press("Tab")
        outside = "!!document.activeElement.closest('main') && !document.activeElement.closest('dialog')"
        assert not await console.page.evaluate(outside)
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(reject).to_be_focused()
