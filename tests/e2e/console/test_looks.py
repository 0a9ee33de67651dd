"""Light and dark, desktop and phone: everything can be read, reached and named. The pictures are for people."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect
from tests.e2e.console.test_deciding import started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console, console_page
from tests.support.looks import too_faint, too_wide, unnamed

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = '''"""Prices."""

from decimal import Decimal


def parse(text: str) -> Decimal:
    """A price like "1,299.00"."""
    return Decimal(text.replace(",", ""))
'''
EDITED = CODE.replace(
    '    return Decimal(text.replace(",", ""))\n',
    '    amount = text.strip().removesuffix("EUR").strip()  # as people write it\n'
    '    if not amount:\n        raise ValueError("no price in an empty text")\n'
    '    return Decimal(amount.replace(",", ""))\n',
)
COMMAND = (
    "printf '\\033[1mtest session starts\\033[0m\\n\\033[32m12 passed\\033[0m, \\033[33m1 warning\\033[0m, "
    "\\033[31m0 failed\\033[0m, \\033[36mcyan\\033[0m \\033[34mblue\\033[0m \\033[35mmagenta\\033[0m\\n'; "
    "echo 'careful\x1b[K' >&2; rm -r src; mkdir out; echo done > out/log.txt"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def prices(gateway: Gateway, goal: str) -> str:
    """A run with an edit, a command that shows what it did, and one that will wait; its id."""
    directory = gateway.up.project(src___prices__py=CODE)
    source = {"source": {"directory": {"path": str(directory)}}}
    workspace = gateway.post("/v1/workspaces", source)["workspace"]["workspaceId"]
    steps = [
        {"input": {"readFile": {"path": "src/prices.py"}}},
        {"input": {"editFile": {"path": "src/prices.py", "newContent": EDITED}}},
        {"input": {"runCommand": {"command": COMMAND}}, "gate": "GATE_EFFECT"},
        {
            "input": {"runCommand": {"argv": {"items": ["python3", "-m", "unittest"]}}},
            "name": "Run the tests",
        },
    ]
    body = {"goal": goal, "workspaceId": workspace, "start": True, "steps": steps, "labels": {"team": "shop"}}
    return str(gateway.post("/v1/runs", body)["run"]["runId"])


async def looked_at(console: Console, name: str) -> None:
    """A picture, and nothing wrong with what is on it."""
    await console.keep(name)
    assert await too_faint(console.page) == []
    assert await unnamed(console.page) == []
    assert await too_wide(console.page) == []


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_on_a_desktop(browser: Browser, gateway: Gateway, goal: str, scheme: str) -> None:
    run = prices(gateway, f"Accept prices with a currency, {goal}")
    async with console_page(browser, gateway.url, color_scheme=scheme) as console:
        await console.page.goto(gateway.url)
        await expect(console.page.get_by_label("Token")).to_be_visible()
        await looked_at(console, f"sign-in-{scheme}")
        await console.sign_in(gateway.token)
        await console.page.get_by_role("searchbox").fill(goal)
        approval = await console.look_at(goal)
        await expect(approval.locator(".hljs-keyword").first).to_have_text("def")
        await looked_at(console, f"edit-{scheme}")
        await console.page.keyboard.press("d")
        await expect(approval.locator("table.split")).to_be_visible()
        await looked_at(console, f"side-by-side-{scheme}")
        await console.button("Reject")
        await looked_at(console, f"dialog-{scheme}")
        await console.page.keyboard.press("Escape")
        await console.button("Approve")
        await expect(console.card(goal)).to_contain_text("step 3")
        await console.look_at(goal)
        await looked_at(console, f"command-{scheme}")
        await console.page.goto(f"{gateway.url}/#/runs/{run}/step-3")
        await expect(console.page.locator(".step > details[open]")).to_contain_text("12 passed")
        await looked_at(console, f"run-{scheme}")
        await console.page.goto(f"{gateway.url}/#/runs")
        await expect(console.page.locator(".run-line").first).to_be_visible()
        await looked_at(console, f"runs-{scheme}")


async def test_on_a_phone(browser: Browser, gateway: Gateway, goal: str) -> None:
    """List and step one after the other; the decision is always within reach of a thumb."""
    run, _ = started(gateway, goal, {"editFile": {"path": "src/prices.py", "newContent": EDITED * 9}})
    async with console_page(browser, gateway.url, **PHONE) as console:
        await console.sign_in(gateway.token)
        await console.page.get_by_role("searchbox").fill(goal)
        await expect(console.card(goal)).to_be_visible()
        await looked_at(console, "phone-list")
        approval = await console.look_at(goal)
        await expect(console.page.get_by_role("searchbox")).to_be_hidden()
        await expect(approval.get_by_role("button", name="Approve")).to_be_in_viewport(ratio=1)
        await looked_at(console, "phone-step")
        heights = "all => all.map(each => each.getBoundingClientRect().height)"
        assert min(await approval.locator(".bar button").evaluate_all(heights)) >= 44
        await approval.get_by_role("link", name="All pending").tap()
        await console.card(goal).tap()
        await console.page.get_by_role("button", name="Approve").tap()
        await expect(console.card(goal)).to_have_count(0)
        await console.page.goto(f"{gateway.url}/#/runs/{run}/step-1")
        await expect(console.page.locator(".step > details[open]")).to_contain_text("Approved by")
        await looked_at(console, "phone-run")


async def test_the_choice_of_colours_is_kept(browser: Browser, gateway: Gateway) -> None:
    async with console_page(browser, gateway.url, color_scheme="light") as console:
        await console.sign_in(gateway.token)
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = await console.page.evaluate(ground)
        button = console.page.get_by_role("button", name="Colours")
        await button.click()
        await button.click()
        dark = await console.page.evaluate(ground)
        assert dark != light
        await console.page.reload()
        await expect(button).to_have_attribute("aria-label", "Colours: dark")
        assert await console.page.evaluate(ground) == dark
