"""The token: where it is kept, where it never goes, and what it allows."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from tests.e2e.console.test_deciding import EDIT, asked, ended, started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console, console_page
from tests.support.installation import INTERLOCK

pytestmark = pytest.mark.asyncio(loop_scope="session")


def issued(gateway: Gateway, subject: str, role: str) -> tuple[str, str]:
    """A new token's text and id."""
    made: dict[str, Any] = gateway.post("/v1/tokens", {"subject": subject, "roles": [f"ROLE_{role}"]})
    return made["text"], made["token"]["tokenId"]


def printed_link(gateway: Gateway) -> str:
    """What `interlock console` prints."""
    done = subprocess.run(
        [*INTERLOCK, "console"], env=gateway.up.env, capture_output=True, text=True, check=True, timeout=100
    )
    return done.stdout.strip()


async def test_the_link_signs_in_and_leaves_no_trace(browser: Browser, gateway: Gateway) -> None:
    link = printed_link(gateway)
    assert link == f"{gateway.url}/#token={gateway.token}"
    async with console_page(browser, gateway.url) as console:
        await console.sign_in("", fragment=link.removeprefix(f"{gateway.url}/"))
        assert console.page.url == f"{gateway.url}/#/pending"
        assert gateway.token not in await console.page.content()
        assert gateway.token not in " ".join(console.requests)
        await console.page.reload()
        await expect(console.page.get_by_role("searchbox")).to_be_visible()
        kept = "[Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        session, local, cookies = await console.page.evaluate(kept)
        assert (session, gateway.token in local, cookies) == ([gateway.token], False, "")
        await console.page.get_by_role("button", name="Sign out").click()
        assert await console.page.evaluate("sessionStorage.length") == 0
        await expect(console.page.get_by_label("Token")).to_be_visible()
    assert gateway.token not in gateway.up.log("gateway")


async def test_a_link_says_as_whom_it_signs_in(browser: Browser, gateway: Gateway) -> None:
    """A page of somebody else can lead here, with a token of theirs: to have others decide in their name."""
    async with console_page(browser, gateway.url) as console:
        await console.sign_in(issued(gateway, "ada", "APPROVER")[0])
        await expect(console.page.locator(".notice")).to_have_text(re.compile("signed in as ada, by a link"))
        mallory, _ = issued(gateway, "mallory", "APPROVER")
        await console.page.evaluate("(token) => { location.hash = `token=${token}`; }", mallory)
        notice = console.page.get_by_role("alert")
        await expect(notice).to_contain_text("signed in as mallory, by a link, instead of who was")
        assert mallory not in console.page.url


async def test_a_token_that_is_not_accepted_says_so(browser: Browser, gateway: Gateway) -> None:
    async with console_page(browser, gateway.url) as console:
        await console.page.goto(gateway.url)
        await console.page.get_by_label("Token").fill("nobody's")
        await console.page.get_by_role("button", name="Sign in").click()
        await expect(console.page.get_by_role("alert")).to_contain_text("token")
        await console.keep("sign-in")
        await console.page.get_by_label("Token").fill(gateway.token)
        await console.page.keyboard.press("Enter")
        await expect(console.page.get_by_role("searchbox")).to_be_visible()


async def test_a_viewer_looks_and_does_not_decide(browser: Browser, gateway: Gateway, goal: str) -> None:
    started(gateway, goal, EDIT)
    token, _ = issued(gateway, "vic", "VIEWER")
    async with console_page(browser, gateway.url) as console:
        await console.sign_in(token)
        await console.card(goal).click()
        bar = console.page.get_by_role("group", name="Decision")
        await expect(bar).to_contain_text("You may look, and not decide")
        await expect(bar.get_by_role("button", name="Approve")).to_be_disabled()


async def test_two_of_a_team_approve(browser: Browser, console: Console, gateway: Gateway, goal: str) -> None:
    """Each under their own name; the first approval leaves the question open, for all to see."""
    stages = [{"name": "team", "quorum": 2, "approvers": ["ada", "bob"]}]
    run, _ = started(gateway, goal, EDIT, policy={"stages": stages})
    await console.card(goal).click()
    watcher = console.page.locator("article.approval")
    for subject in ("ada", "bob"):
        async with console_page(browser, gateway.url) as page:
            await page.sign_in(issued(gateway, subject, "APPROVER")[0])
            approval = await page.look_at(goal)
            await expect(approval.locator(".stages")).to_contain_text("of 2 out of ada, bob")
            await page.button("Approve")
            if subject == "ada":
                await expect(approval.locator(".vote")).to_contain_text("ada console")
                await expect(approval.get_by_role("button", name="Approve")).to_be_disabled()
                await expect(approval.get_by_role("button", name="Reject")).to_be_enabled()
                await expect(watcher.locator(".vote")).to_contain_text("ada console")
                await expect(console.card(goal)).to_contain_text("1 of 2 approved")
                assert asked(gateway, run)["state"] == "APPROVAL_STATE_PENDING"
                await page.keep("votes")
            else:
                await expect(page.card(goal)).to_have_count(0)
    await expect(watcher.locator(".banner")).to_contain_text("Approved by")
    ended(gateway, run, "COMPLETED")
