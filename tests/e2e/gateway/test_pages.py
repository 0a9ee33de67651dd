"""The API's description and its documentation, as a browser without a token gets them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.e2e.gateway.conftest import Gateway


def test_the_description_is_served(gateway: Gateway) -> None:
    answer = httpx.get(f"{gateway.url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    OpenAPIV31SpecValidator(answer.json()).validate()


def test_the_documentation_asks_nobody_else(gateway: Gateway) -> None:
    answer = httpx.get(f"{gateway.url}/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy
    assert "://" not in answer.text + policy
    for path in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
        asset = httpx.get(gateway.url + path)
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert len(asset.content) > 100


@pytest.mark.parametrize("path", ["/docs/%2e%2e/%2e%2e/etc/passwd", "/docs/index.html"])
def test_only_what_is_listed_is_served(gateway: Gateway, path: str) -> None:
    with httpx.Client() as client:
        request = client.build_request("GET", gateway.url)
        request.url = httpx.URL(gateway.url).copy_with(raw_path=path.encode())
        assert client.send(request).status_code == 404


@pytest.mark.parametrize(("port", "code"), [("", 0), ("1", 1)])
def test_a_containers_health_check_asks_it(gateway: Gateway, port: str, code: int) -> None:
    program = Path(__file__).resolve().parents[3] / "deploy/docker/healthcheck.py"
    address = f"127.0.0.1:{port}" if port else gateway.up.endpoints["gateway"]
    done = subprocess.run([sys.executable, program, "--http", address], capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
