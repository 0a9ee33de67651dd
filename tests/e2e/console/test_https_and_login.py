"""The console over HTTPS, by a person of an OpenID provider: the login, the link and a decision in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import Browser, Error, expect
from tests.e2e.console.test_deciding import EDIT, asked, ended, started
from tests.e2e.gateway.conftest import Gateway, token_of
from tests.support.console import console_page
from tests.support.installation import Installation, installed
from tests.support.oidc import AUDIENCE, Provider, provider

from interlock.cli.certs import directory as certs

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.torture,  # an installation of its own
    pytest.mark.timeout(300),
]


@dataclass
class Secure:
    """An installation with HTTPS in front, whose people are a provider's."""

    up: Installation
    provider: Provider
    gateway: Gateway


@pytest.fixture(scope="module")
def secure(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    place: Path = tmp_path_factory.mktemp("https")
    certs.init(place, datetime.now(UTC), days=2)
    with provider({"sub": "grace"}) as identity:
        settings = {
            "INTERLOCK_GATEWAY_TLS_CERT": str(place / "gateway.crt"),
            "INTERLOCK_GATEWAY_TLS_KEY": str(place / "gateway.key"),
            "INTERLOCK_OIDC_ISSUER": identity.issuer,
            "INTERLOCK_OIDC_AUDIENCE": AUDIENCE,
            "INTERLOCK_OIDC_ROLES": "*=approver",
            "INTERLOCK_OIDC_CLIENT_SECRET": "any",
        }
        with installed(**settings) as up:
            up.start()  # every service serves, the gateway asked over HTTPS
            url, token = f"https://{up.endpoints['gateway']}", token_of(up)
            trusted = ssl.create_default_context(cafile=place / "ca.crt")
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=headers, timeout=60, verify=trusted) as http:
                yield Secure(up, identity, Gateway(up, url, token, http))


async def interlock(up: Installation, *line: str) -> asyncio.subprocess.Process:
    env = {name: value for name, value in up.env.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "interlock.cli", *line),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_person_of_a_provider_decides_over_https(browser: Browser, secure: Secure, goal: str) -> None:
    run, _ = started(secure.gateway, goal, EDIT)
    login = await interlock(secure.up, "login", "--no-browser")
    assert login.stderr is not None
    said = b""
    while not (found := re.search(rb"^(http://\S+)$", said, re.MULTILINE)):
        line = await login.stderr.readline()
        assert line, said
        said += line
    person = await browser.new_context()
    # The provider's page has style sheets elsewhere.
    await person.route("https://**", lambda route: route.abort())
    page = await person.new_page()
    await page.goto(found[1].decode(), wait_until="domcontentloaded")
    await page.locator("input[name=sub]").fill("grace")
    await page.locator("input[name=sub]").press("Enter")
    await expect(page.get_by_text("You can close this page.")).to_be_visible()
    await person.close()
    assert await login.wait() == 0, await login.stderr.read()

    printed = await interlock(secure.up, "console", "-o", "json")
    link: str = json.loads((await printed.communicate())[0])["url"]
    url, _, fragment = link.partition("/#")
    assert url == secure.gateway.url
    assert secure.gateway.token not in link, "the link is the person's, not the machine's"
    stranger = await browser.new_context()
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        await (await stranger.new_page()).goto(url)
    await stranger.close()
    async with console_page(browser, url, ignore_https_errors=True) as console:
        await console.sign_in("", fragment=f"#{fragment}")
        assert await console.page.evaluate("window.isSecureContext && location.protocol") == "https:"
        await expect(console.page.get_by_role("button", name="You are grace")).to_be_visible()
        await console.look_at(goal)
        await console.button("Approve")
        await expect(console.card(goal)).to_have_count(0)
    decision = asked(secure.gateway, run, "APPROVED")["decision"]
    assert (decision["subject"], decision["channel"]) == ("grace", "console")
    assert decision["authentication"].startswith("oidc:")
    ended(secure.gateway, run, "COMPLETED")


async def test_the_page_signs_in_at_the_provider(browser: Browser, secure: Secure, goal: str) -> None:
    run, _ = started(secure.gateway, goal, EDIT)
    url = secure.gateway.url
    async with console_page(browser, url, ignore_https_errors=True) as console:
        page = console.page
        # The provider's page has style sheets elsewhere.
        await page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        await page.goto(url)
        await page.get_by_role("button", name="Sign in with 127.0.0.1").click()
        await page.locator("input[name=sub]").fill("grace")
        await page.locator("input[name=sub]").press("Enter")
        await expect(page.get_by_role("button", name="You are grace")).to_be_visible()
        assert page.url == f"{url}/#/pending", "no code stays in the address"
        assert await page.evaluate("Object.keys(sessionStorage)") == ["interlock.token"]
        back = next(
            n for n, each in enumerate(console.requests) if each.startswith(f"{url}/console/signed-in?")
        )
        gone = next(n for n, each in enumerate(console.requests) if each.startswith(secure.provider.issuer))
        code = parse_qs(urlsplit(console.requests[back]).query)["code"][0]
        assert code not in secure.up.log("gateway")
        del console.requests[gone:back]  # the provider's own; everything else is looked at in the end
        await console.look_at(goal)
        await console.button("Approve")
        await expect(console.card(goal)).to_have_count(0)
    decision = asked(secure.gateway, run, "APPROVED")["decision"]
    assert (decision["subject"], decision["channel"]) == ("grace", "console")
    assert decision["authentication"].startswith("oidc:")


@pytest.mark.parametrize(
    ("kept", "query", "said"),
    [
        (None, "code=theirs&state=theirs", "asked for no sign-in"),
        ({"state": "ours"}, "code=theirs&state=theirs", "asked for no sign-in"),
        ({"state": "ours"}, "error=access_denied&state=ours", "access_denied"),
        ({"state": "ours", "verifier": "v" * 43}, "code=nonsense&state=ours", "gave no token"),
    ],
    ids=["nothing begun", "another state", "refused", "unknown code"],
)
async def test_an_answer_that_is_not_ours_signs_nobody_in(
    browser: Browser, secure: Secure, kept: dict[str, str] | None, query: str, said: str
) -> None:
    async with console_page(browser, secure.gateway.url, ignore_https_errors=True) as console:
        await console.page.goto(secure.gateway.url)
        if kept is not None:
            set_item = "text => sessionStorage.setItem('interlock.signing-in', text)"
            await console.page.evaluate(set_item, json.dumps(kept))
        await console.page.goto(f"{secure.gateway.url}/console/signed-in?{query}")
        await expect(console.page.get_by_role("alert")).to_contain_text(said)
        assert await console.page.evaluate("sessionStorage.length") == 0


async def test_a_login_that_has_ended_says_so(browser: Browser, secure: Secure) -> None:
    token = secure.provider.token("grace")
    async with console_page(browser, secure.gateway.url, ignore_https_errors=True) as console:
        await console.sign_in(token)
        secure.provider.stop()
        secure.provider.start()  # with another key: what the old one signed is worth nothing
        head, _, signature = token.rpartition(".")
        spoilt = f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        await console.page.goto(f"{console.url}/#token={spoilt}")
        await expect(console.page.get_by_role("alert")).to_be_visible()
        await expect(console.page.get_by_label("Token")).to_be_visible()
        assert await console.page.evaluate("sessionStorage.length") == 0
