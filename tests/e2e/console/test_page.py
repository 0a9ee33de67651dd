"""The console's files as the gateway serves them."""

from __future__ import annotations

import httpx
from tests.e2e.gateway.conftest import Gateway


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


def test_another_host_is_not_served_the_page(gateway: Gateway) -> None:
    answer = httpx.get(gateway.url, headers={"host": "evil.example"})
    assert answer.status_code == 421
