"""The console in a real Chromium: pages that are signed in, and what must hold on each of them at its end."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "services/gateway/src/interlock/gateway/static"
SCREENSHOTS = ROOT / "build/screenshots"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
SECONDS = 30

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(
  `${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser; the test is skipped where there is none, or no console to look at."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium (scripts/runtimes installs it with apt-get, as root)")
    if not (STATIC / "app.js").exists():
        pytest.skip("the console is not built (make console)")
    expect.set_options(timeout=SECONDS * 1000)
    # Chromium's own sandbox does not run as root; only this installation's pages are opened.
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Console:
    """A signed-in page, and what was seen of its doings."""

    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def sign_in(self, token: str, fragment: str = "") -> None:
        """By the link that `interlock console` prints."""
        await self.page.goto(f"{self.url}/{fragment or f'#token={token}'}")
        await expect(self.page.get_by_text("Live", exact=True)).to_be_attached()

    def card(self, goal: str) -> Locator:
        """The pending step of the run with this goal."""
        return self.page.locator("section.list > .cards a.card").filter(has_text=goal)

    @property
    def approval(self) -> Locator:
        """The step that is looked at, once its preview is there and a decision can be made."""
        return self.page.locator("article.approval[data-ready]")

    async def look_at(self, goal: str) -> Locator:
        """Open the pending step of a run."""
        await self.card(goal).click()
        return await self.shown(goal)

    async def shown(self, goal: str) -> Locator:
        """The open step, which must be this run's."""
        await expect(self.approval).to_contain_text(goal)
        return self.approval

    async def button(self, name: str) -> None:
        """Press a button of the decision's bar."""
        await self.page.get_by_role("group", name="Decision").get_by_role("button", name=name).click()

    async def keep(self, name: str) -> None:
        """Keep a picture of the page for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    async def check(self) -> None:
        """Nothing of another origin was asked for, nothing forbidden was tried, nothing failed."""
        origin = urlsplit(self.url).netloc
        assert [each for each in self.requests if urlsplit(each).netloc != origin] == []
        assert await self.page.evaluate("[window.violations, window.hacked]") == [[], None]
        assert self.errors == []


@asynccontextmanager
async def console_page(browser: Browser, url: str, **context: Any) -> AsyncIterator[Console]:
    """A page in a context of its own; checked at its end."""
    options = {"viewport": {"width": 1280, "height": 820}, "locale": "en-GB", "reduced_motion": "reduce"}
    made = await browser.new_context(**{**options, **context})
    try:
        await made.add_init_script(_WATCH)
        page = await made.new_page()
        console = Console(page, url)
        page.on("request", lambda request: console.requests.append(request.url))
        page.on("pageerror", lambda error: console.errors.append(str(error)))
        yield console
        await console.check()
    finally:
        await made.close()
