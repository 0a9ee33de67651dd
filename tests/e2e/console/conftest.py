"""A browser for all tests of a worker, and the gateway they ask."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.e2e.gateway.conftest import Gateway, token_of
from tests.support.console import Console, chromium, console_page
from tests.support.installation import Installation


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium; each test has a context of its own."""
    async with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def gateway(browser: Browser, up: Installation) -> Iterator[Gateway]:
    """The shared installation's; not started where there is no browser."""
    url, token = f"http://{up.endpoints['gateway']}", token_of(up)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        yield Gateway(up, url, token, http)


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, gateway: Gateway) -> AsyncIterator[Console]:
    """A page, signed in with the installation's token."""
    async with console_page(browser, gateway.url) as console:
        await console.sign_in(gateway.token)
        yield console


@pytest.fixture
def goal() -> str:
    """A goal that no other run of the shared installation has."""
    return f"goal {uuid.uuid4().hex[:12]}"
