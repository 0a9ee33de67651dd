"""The console's files as the gateway serves them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.gateway.conftest import Gateway

from interlock.gateway.config import Limits
from interlock.gateway.console import pages
from interlock.gateway.http.exchange import Exchange


def test_the_page_allows_nothing_but_its_own_files(gateway: Gateway) -> None:
    for path in ("/", "/console/app.js", "/console/style.css", "/console/icon.svg"):
        answer = httpx.get(gateway.url + path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in answer.headers
    page = httpx.get(gateway.url).text
    assert "://" not in page
    assert "<script>" not in page
    assert " style=" not in page


def test_the_licences_of_its_parts_are_served(gateway: Gateway) -> None:
    text = httpx.get(f"{gateway.url}/console/licenses.txt").text
    for name in ("preact", "diff2html", "ansi_up", "lowlight", "highlight.js", "diff"):
        assert re.search(rf"^{name} [0-9.]+ \(", text, re.MULTILINE), name
    assert text.count("Permission is hereby granted") > 3


def test_another_host_is_not_served_the_page(gateway: Gateway) -> None:
    answer = httpx.get(gateway.url, headers={"host": "evil.example"})
    assert answer.status_code == 421


async def test_a_page_that_is_not_built_says_how(tmp_path: Path) -> None:
    page = pages(tmp_path)["/"]
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": b"/", "headers": []}
    await page(Exchange(scope, receive, send, Limits(), ""))
    assert sent[0]["status"] == 503
    assert b"make console" in sent[1]["body"]
