"""Deciding in somebody else's place: given, used and taken back on the page."""

from __future__ import annotations

import uuid

import pytest
from playwright.async_api import Browser, expect
from tests.e2e.console.test_deciding import EDIT, asked, started
from tests.e2e.console.test_signing_in import issued
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import console_page

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_somebody_decides_for_another(browser: Browser, gateway: Gateway, goal: str) -> None:
    ada, bob = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("ada", "bob"))
    stages = [{"name": "owner", "quorum": 1, "approvers": [ada]}]
    run, _ = started(gateway, goal, EDIT, policy={"stages": stages})
    async with (
        console_page(browser, gateway.url) as hers,
        console_page(browser, gateway.url) as his,
    ):
        await hers.sign_in(issued(gateway, ada, "APPROVER")[0])
        await hers.page.get_by_role("button", name=f"You are {ada}").click()
        dialog = hers.page.get_by_role("dialog", name="Deciding in each other's place")
        await dialog.get_by_label("Who").fill(bob)
        await dialog.get_by_label("Why").fill("away until Monday")
        await dialog.get_by_role("button", name="Let them decide").click()
        await expect(dialog.locator(".delegation")).to_contain_text(bob)
        await hers.keep("delegating")

        await his.sign_in(issued(gateway, bob, "APPROVER")[0])
        approval = await his.look_at(goal)
        approve = approval.get_by_role("button", name="Approve")
        await expect(approval).to_contain_text("You are not among those who have to approve.")
        await expect(approve).to_be_disabled()
        await approval.get_by_label("In whose place").select_option(ada)
        await expect(approve).to_be_enabled()
        await his.keep("in-her-place")
        await his.button("Approve")
        await expect(his.card(goal)).to_have_count(0)
        decision = asked(gateway, run, "APPROVED")["decision"]
        assert (decision["subject"], decision["onBehalfOf"]) == (bob, ada)

        await dialog.get_by_role("button", name="Take it back").click()
        await expect(dialog.locator(".delegation")).to_have_count(0)
        assert gateway.get("/v1/delegations", subject=ada).get("delegations", []) == []
