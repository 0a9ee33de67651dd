"""Logging in at a real OpenID provider, with its browser played by the test."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.support.oidc import AUDIENCE, Provider, provider
from typer.testing import CliRunner

from interlock.cli.login.flow import SCOPE, log_in
from interlock.cli.main import app
from interlock.client import login as logins
from interlock.client.connection import Connection
from interlock.common.access.oidc.settings import OidcSettings
from interlock.common.access.oidc.tokens import OidcTokens
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason


@pytest.fixture(scope="module")
def started() -> Iterator[Provider]:
    with provider({"sub": "ada"}) as made:
        yield made


class Browser:
    """Agrees as ada and follows where it is sent; `first` changes the address that it asks at first."""

    def __init__(self, started: Provider, first: Callable[[str], str] = lambda back: "") -> None:
        self._started = started
        self._first = first
        self.seen: list[int] = []
        self.going: list[asyncio.Task[None]] = []

    def __call__(self, address: str) -> None:
        self.going.append(asyncio.create_task(self._go(address)))

    async def _go(self, address: str) -> None:
        back = await asyncio.to_thread(self._started.consent, address, "ada")
        async with httpx.AsyncClient() as client:
            for each in filter(None, (self._first(back), back)):
                self.seen.append((await client.get(each)).status_code)


async def logged_in(started: Provider, browser: Browser, seconds: float = 60.0) -> logins.Login:
    return await log_in(started.issuer, AUDIENCE, secret="any", scope=SCOPE, seconds=seconds, show=browser)


async def test_a_login_gives_a_token_that_the_services_take(started: Provider, tmp_path: Path) -> None:
    made = await logged_in(started, Browser(started))
    accepted = OidcTokens(OidcSettings(started.issuer, (AUDIENCE,)), SystemClock())
    metadata = {"authorization": f"Bearer {made.token}"}
    assert (await accepted.authenticate(metadata)).subject == "ada"
    assert made.token not in repr(made)
    logins.write(tmp_path, made)
    assert stat.S_IMODE((tmp_path / logins.FILE).stat().st_mode) == 0o600
    assert logins.current(tmp_path) == made.token
    async with Connection(directory=tmp_path) as connection:
        assert connection._token == made.token
    assert logins.remove(tmp_path)
    assert logins.current(tmp_path) == ""


def test_the_address_is_a_line_of_its_own(started: Provider, tmp_path: Path) -> None:
    """So that it can be copied, whatever the provider put into it."""
    env = {"INTERLOCK_DATA_DIR": str(tmp_path), "INTERLOCK_OIDC_AUDIENCE": AUDIENCE}
    line = ["login", "--issuer", started.issuer, "--no-browser", "--wait", "1s"]
    done = CliRunner().invoke(app, line, env=env, prog_name="interlock")
    assert [each for each in done.stderr.splitlines() if each.startswith(f"{started.issuer}/")]


async def test_another_ones_code_is_not_taken(started: Provider) -> None:
    """A page that sends the browser to the port with a code of its own: the state is not ours."""
    browser = Browser(started, lambda back: back.split("?")[0] + "?code=mine&state=guess")
    assert (await logged_in(started, browser)).token
    await asyncio.gather(*browser.going)
    assert browser.seen == [404, 200]


async def test_a_refusal_of_the_provider_ends_it(started: Provider) -> None:
    def refused(back: str) -> str:
        state = httpx.URL(back).params["state"]
        return f"{back.split('?', maxsplit=1)[0]}?error=access_denied&state={state}"

    with pytest.raises(InterlockError) as caught:
        await logged_in(started, Browser(started, refused))
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert "access_denied" in caught.value.message


async def test_nobody_comes_back(started: Provider) -> None:
    with pytest.raises(InterlockError) as caught:
        await log_in(
            started.issuer, AUDIENCE, secret="", scope=SCOPE, seconds=0.01, show=lambda address: None
        )
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


KEPT = logins.Login("https://id.example", "c", "old", 0, "https://id.example/token", "again")


def token(exp: int) -> str:
    import base64
    import json

    return f"e30.{base64.urlsafe_b64encode(json.dumps({'exp': exp}).encode()).decode().rstrip('=')}.x"


def test_a_login_that_ends_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def post(endpoint: str, data: dict[str, str], timeout: float) -> httpx.Response:
        sent.append(data)
        return httpx.Response(200, json={"id_token": token(1 << 40), "refresh_token": "next"})

    monkeypatch.setattr(httpx, "post", post)
    logins.write(tmp_path, KEPT)
    assert [logins.current(tmp_path) for _ in range(2)] == [token(1 << 40)] * 2
    assert sent == [{"grant_type": "refresh_token", "refresh_token": "again", "client_id": "c"}]
    kept = logins.read(tmp_path)
    assert kept is not None
    assert (kept.refresh, kept.expires) == ("next", 1 << 40)


@pytest.mark.parametrize("refresh", ["", "revoked"])
def test_a_login_that_has_ended_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refresh: str
) -> None:
    refused = httpx.Response(400, json={"error": "invalid_grant"})
    monkeypatch.setattr(httpx, "post", lambda *_, **__: refused)
    logins.write(tmp_path, replace(KEPT, refresh=refresh))
    with pytest.raises(InterlockError) as caught:
        logins.current(tmp_path)
    assert (caught.value.reason, "interlock login" in caught.value.fix) == (Reason.UNAUTHENTICATED, True)
    assert not {"old", "revoked"} & set(str(caught.value).split())


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    logins.write(tmp_path, KEPT)
    (tmp_path / logins.FILE).chmod(0o644)
    with pytest.raises(InterlockError) as caught:
        logins.current(tmp_path)
    assert caught.value.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"issuer": 1}', "\x00"])
def test_a_broken_file_asks_for_a_new_login(tmp_path: Path, content: str) -> None:
    path = tmp_path / logins.FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InterlockError) as caught:
        logins.current(tmp_path)
    assert caught.value.reason is Reason.UNAUTHENTICATED
