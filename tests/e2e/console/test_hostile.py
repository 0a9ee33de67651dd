"""What a step, a plan or a program controls is shown as text, and as the text that it is."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.e2e.console.test_deciding import asked, started
from tests.e2e.gateway.conftest import Gateway
from tests.support.console import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = '<img src=x onerror="window.hacked=1">'
CONTENT = (
    "access = 'user\u202e \u2066// admin\u2069'\n"
    "<script>window.hacked=1</script>\n"
    "\x1b]0;owned\x07zero\u200bwidth\n"
    "one\rdiff --git a/other b/other\r--- a/other\r+++ b/other\r@@ -1 +1 @@\n"
    "-- a/other\n++ b/other\n@@ -1 +1 @@\n"
)


async def test_hostile_names_goals_and_contents_are_inert(
    gateway: Gateway, console: Console, goal: str
) -> None:
    edit = {"editFile": {"path": f"{MARKUP} \u202egnp.txt", "newContent": CONTENT}}
    started(gateway, f"{goal} {MARKUP} \u202edlrow", edit, labels={"team": f"{MARKUP}\u2066"})
    approval = await console.look_at(goal)
    await expect(approval.locator("h2")).to_have_text(f"{MARKUP} \\u202egnp.txt")
    await expect(approval.locator(".facts").first).to_contain_text(f"{goal} {MARKUP} \\u202edlrow")
    await expect(approval.locator(".file summary .path")).to_have_text(f"{MARKUP} \\u202egnp.txt")
    await expect(approval.locator(".facts .label")).to_have_text(f"team={MARKUP}\\u2066")
    lines = await approval.locator("td.code").all_text_contents()
    assert [line.removeprefix("added: +") for line in lines] == [
        "access = 'user\\u202e \\u2066// admin\\u2069'",
        "<script>window.hacked=1</script>",
        "\\x1b]0;owned\\x07zero\\u200bwidth",
        "one\\x0ddiff --git a/other b/other\\x0d--- a/other\\x0d+++ b/other\\x0d@@ -1 +1 @@",
        "-- a/other",
        "++ b/other",
        "@@ -1 +1 @@",
    ]
    assert await approval.locator("details.file").count() == 1
    assert await console.page.locator("img[onerror], script:not([src])").count() == 0
    shown = await console.page.locator("body").inner_text()
    assert not {"\u202e", "\u2066", "\u2069", "\u200b", "\x1b", "\x07"} & set(shown)
    await console.keep("hostile")


async def test_output_acts_on_nothing(gateway: Gateway, console: Console, goal: str) -> None:
    """Colours are colours; titles, links, cursor moves and hidden text are shown as what they are."""
    output = (
        r"\033[31mred\033[0m \033]8;;https://evil.example/\033\\link\033]8;;\033\\ \033[2Jclear "
        r"\033[8;30;40mhidden\033[0m <b>bold</b> 10%%\r20%%\n"
    )
    command = {"command": f"printf '{output}'; exit 3", "allowedExitCodes": [3]}
    started(gateway, goal, {"input": {"runCommand": command}, "gate": "GATE_EFFECT"})
    approval = await console.look_at(goal)
    text = await approval.locator(".output pre").inner_text()
    assert text == (
        "red \\x1b]8;;https://evil.example/\\x1b\\link\\x1b]8;;\\x1b\\ \\x1b[2Jclear hidden <b>bold</b> 10%\\x0d20%\n"
    )
    await expect(approval.locator(".output .ansi.red")).to_have_text("red")
    assert await approval.locator(".output a, .output b, [style]").count() == 0
    await expect(approval.locator(".facts.strip")).to_contain_text("Exit code3")
    await console.keep("output")


async def test_a_comment_of_somebody_else_is_text(gateway: Gateway, console: Console, goal: str) -> None:
    run, _ = started(gateway, goal, {"editFile": {"path": "a.txt", "newContent": "b\n"}})
    await console.look_at(goal)
    found = asked(gateway, run)
    answer = {
        "reject": {},
        "digest": found["digest"],
        "channel": "\u202e<b>",
        "comment": f"{MARKUP}\u202e\nno",
    }
    gateway.post(f"/v1/approvals/{found['approvalId']}:decide", {"decision": answer})
    banner = console.page.locator("article.approval .banner")
    await expect(banner.locator("blockquote")).to_have_text(f"{MARKUP}\\u202e no")
    await expect(banner.locator("strong")).to_have_text("Rejected by local (\\u202e<b>)")


async def test_a_string_cannot_become_markup_even_by_a_mistake(console: Console) -> None:
    """What would be a hole in the page's code is refused by its policy; and these tests would see it."""
    tried = await console.page.evaluate(
        """() => ["innerHTML", "style", "script"].map((way) => {
          try {
            if (way === "innerHTML") document.body.innerHTML = "<img src=x onerror='window.hacked = 1'>";
            if (way === "style") document.body.setAttribute("style", "color: red");
            if (way === "script") document.createElement("script").text = "window.hacked = 1";
            return "went through";
          } catch (error) { return error.name; }
        })"""
    )
    assert tried == ["TypeError", "went through", "TypeError"]
    await console.page.wait_for_function("window.violations.some((each) => each.startsWith('style-src'))")
    with pytest.raises(AssertionError):
        await console.check()
    assert await console.page.evaluate("window.hacked") is None
    await console.page.evaluate("window.violations = []")
