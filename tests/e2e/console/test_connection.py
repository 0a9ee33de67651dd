"""The feed goes on by itself after the gateway was away, with nothing missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from tests.e2e.console.test_deciding import EDIT, asked, ended, started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import console_page
from tests.support.gateways import gateway_process

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_feed_goes_on_over_a_killed_gateway(
    browser: Browser, gateway: Gateway, goal: str, tmp_path: Path
) -> None:
    gone, _ = started(gateway, f"{goal} gone", EDIT)
    async with (
        gateway_process(gateway.up, tmp_path) as (child, address),
        console_page(browser, f"http://{address}") as console,
    ):
        await console.sign_in(gateway.token)
        await console.page.get_by_role("searchbox").fill(goal)
        await expect(console.card(f"{goal} gone")).to_be_visible()
        await console.look_at(f"{goal} gone")
        child.process.kill()
        await expect(console.page.get_by_text("Reconnecting…")).to_be_visible()
        found = asked(gateway, gone)
        answer = {"decision": {"approve": {}, "digest": found["digest"]}}
        gateway.post(f"/v1/approvals/{found['approvalId']}:decide", answer)
        came, _ = started(gateway, f"{goal} came", EDIT)
        asked(gateway, came)
        async with gateway_process(gateway.up, tmp_path, address):
            await expect(console.card(f"{goal} came")).to_be_visible()
            await expect(console.card(f"{goal} gone")).to_have_count(0)
            await expect(console.page.locator("article.approval .banner")).to_contain_text("Approved")
            await console.look_at(f"{goal} came")
            await console.button("Approve")
            await expect(console.card(f"{goal} came")).to_have_count(0)
    ended(gateway, came, "COMPLETED")
